//! Errors as shown to clients: problem details (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// When a client should retry after 503.
const RETRY_AFTER_SECONDS: u32 = 5;

/// A client's mistake, or a request that is impossible now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    faults: Vec<Fault>,
}

/// A problem with a part of a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// A JSON pointer (RFC 6901).
    pub pointer: String,
    pub detail: String,
}

#[derive(Serialize)]
struct Details<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    errors: &'a [Fault],
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), faults: Vec::new() }
    }

    /// A body with faults; there is at least one.
    pub fn invalid(faults: Vec<Fault>) -> Self {
        let detail = "the body cannot be stored: see errors".to_owned();
        Self { status: StatusCode::BAD_REQUEST, detail, faults }
    }

    /// For an unknown path. `known` says where to learn the existing ones.
    pub fn not_found(known: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is nothing here; {known}"))
    }

    pub fn method_not_allowed() -> Self {
        let detail = "this path does not know the method; Allow names those it knows";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, detail)
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let details = Details {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            detail: &self.detail,
            errors: &self.faults,
        };
        // Strings and numbers always have a JSON form.
        let body = serde_json::to_string(&details).unwrap_or_default();
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (self.status, kind, body).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        response
    }
}
