//! Bodies of requests and answers, which count as held by their client while in transit.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    Extension,
    body::{Body, Bytes, HttpBody, to_bytes},
    extract::Request,
    http::StatusCode,
    middleware::Next,
    response::Response,
};
use hyper::body::{Frame, SizeHint};

use super::refused;
use crate::embedded::guests::{Guest, Hold};

/// Maximum length of a request.
const REQUEST_MAX: usize = 8 * 1024 * 1024;
/// Up to this length, an oversized request is read to its end, so that the client reads the refusal.
const SKIPPED_MAX: usize = 64 * 1024 * 1024;
/// An answer is sent in pieces, as the client reads them.
const PIECE: usize = 16 * 1024;

/// Reads the whole request before its handler runs, and counts the answer until it is written.
pub(super) async fn within_bounds(
    Extension(guest): Extension<Guest>,
    request: Request,
    next: Next,
) -> Response {
    let (head, body) = request.into_parts();
    let mut held = guest.hold();
    let mut turn = None;
    let answer = match whole(body, &mut held).await {
        Ok(Some(body)) => {
            guest.served();
            turn = Some(guest.turn().await);
            next.run(Request::from_parts(head, Body::from(body))).await
        }
        Ok(None) => {
            let reason = format!("a request may have at most {REQUEST_MAX} bytes here");
            refused(StatusCode::PAYLOAD_TOO_LARGE, "content_too_long_exception", &reason)
        }
        Err(error) => refused(StatusCode::BAD_REQUEST, "parse_exception", &error.to_string()),
    };
    let (head, body) = answer.into_parts();
    // It is already in memory; searches and bulks bound it.
    let answer = match to_bytes(body, usize::MAX).await {
        Ok(left) => held.set(left.len()).await.map(|()| left),
        Err(error) => Err(io::Error::other(error)),
    };
    drop(turn);
    match answer {
        Ok(left) => Response::from_parts(head, Body::new(Answer { left, held, guest })),
        Err(error) => refused(StatusCode::SERVICE_UNAVAILABLE, "io_exception", &error.to_string()),
    }
}

/// The whole body; `None`: it is too long.
async fn whole(mut body: Body, held: &mut Hold) -> io::Result<Option<Vec<u8>>> {
    let (mut bytes, mut skipped) = (Vec::new(), 0);
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(data) = frame.map_err(io::Error::other)?.into_data() else { continue };
        if skipped > 0 || bytes.len() + data.len() > REQUEST_MAX {
            skipped += bytes.len() + data.len();
            bytes = Vec::new();
            held.set(1).await?;
            if skipped > SKIPPED_MAX {
                return Err(io::Error::other(format!("a request of more than {SKIPPED_MAX} bytes")));
            }
            continue;
        }
        held.grow(&mut bytes, data.len()).await?;
        bytes.extend_from_slice(&data);
    }
    Ok((skipped == 0).then_some(bytes))
}

/// The body of an answer.
struct Answer {
    left: Bytes,
    held: Hold,
    guest: Guest,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        self.guest.served();
        let piece = self.left.len().min(PIECE);
        let piece = self.left.split_to(piece);
        let left = self.left.len();
        self.held.shrink(left);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}
