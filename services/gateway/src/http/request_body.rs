//! The body of a request on its way to a replica: nothing is held back.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

use crate::cluster::backend::Backend;

/// The next piece of a body.
pub(super) type Polled = Poll<Option<Result<Frame<Bytes>, hyper::Error>>>;

/// See the module.
#[derive(Debug)]
pub(super) struct Asked {
    /// `None`: it has none.
    body: Option<Incoming>,
    /// The recipient.
    backend: Option<Arc<Backend>>,
    /// The client's side of it is not a body, or broke off.
    broken: Arc<AtomicBool>,
}

impl Asked {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body: Some(body).filter(|body| !body.is_end_stream()), ..Self::none() }
    }

    pub(super) fn none() -> Self {
        Self { body: None, backend: None, broken: Arc::default() }
    }

    pub(super) fn goes_to(&mut self, backend: &Arc<Backend>) {
        self.backend = Some(Arc::clone(backend));
    }

    /// Tells, also when the body is gone, whether the client broke it: then a missing answer is not the replica's fault.
    pub(super) fn broken(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.broken)
    }
}

impl Body for Asked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = ready!(Pin::new(body).poll_frame(context));
        if let (Some(bytes), Some(backend)) = (data(polled.as_ref()), &self.backend) {
            backend.passed_to(bytes);
        }
        if matches!(polled, Some(Err(_))) {
            self.broken.store(true, Ordering::Relaxed);
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// The length of a piece of data; `None` for anything else.
pub(super) fn data(polled: Option<&Result<Frame<Bytes>, hyper::Error>>) -> Option<u64> {
    polled?.as_ref().ok()?.data_ref().map(|data| data.len() as u64)
}
