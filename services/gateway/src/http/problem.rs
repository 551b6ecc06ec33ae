//! The gateway's own answers: problem details (RFC 9457).

use hyper::body::Bytes;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::json;

use super::answer_body::Answer;
use crate::shortages::Shortage;

/// Why a replica does not answer a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    /// The request cannot be forwarded; says why.
    Bad(&'static str),
    /// Its body has an unknown encoding.
    Encoding,
    /// No route matches its path.
    NoRoute,
    /// No replica of this service accepted it.
    Shortage { service: String, shortage: Shortage },
    /// A replica of this service accepted it, and ended the connection without an answer.
    NoAnswer { service: String },
    /// A replica's answer has an encoding that the gateway cannot pass on.
    AnswerEncoding { service: String },
}

impl Problem {
    pub(super) fn into_response(self) -> Response<Answer> {
        let (status, detail) = match &self {
            Self::Bad(why) => (StatusCode::BAD_REQUEST, (*why).to_owned()),
            Self::Encoding => {
                (StatusCode::NOT_IMPLEMENTED, "Transfer-Encoding is chunked or nothing here".to_owned())
            }
            Self::NoRoute => (StatusCode::NOT_FOUND, "no service has this path".to_owned()),
            Self::Shortage { service, shortage } => {
                (StatusCode::SERVICE_UNAVAILABLE, format!("{service}: {}", why(*shortage)))
            }
            Self::NoAnswer { service } => (
                StatusCode::BAD_GATEWAY,
                format!("{service}: the replica ended the connection without an answer"),
            ),
            Self::AnswerEncoding { service } => (
                StatusCode::BAD_GATEWAY,
                format!("{service}: the replica's Transfer-Encoding is neither chunked nor nothing"),
            ),
        };
        let title = status.canonical_reason().unwrap_or_default();
        let text =
            json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
        let mut response = Response::new(Answer::own(Bytes::from(text.to_string())));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self {
            Self::Shortage { .. } => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            // The start of the next request is uncertain.
            Self::Bad(_) | Self::Encoding => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Self::NoRoute | Self::NoAnswer { .. } | Self::AnswerEncoding { .. } => {}
        }
        response
    }
}

fn why(shortage: Shortage) -> &'static str {
    match shortage {
        Shortage::NoEndpoint => "no replica is ready",
        Shortage::CircuitOpen => "every replica is full",
        Shortage::ConnectFailed => "no replica can be reached",
        Shortage::SourcePorts | Shortage::Resources | Shortage::Connections => "the gateway is full",
    }
}
