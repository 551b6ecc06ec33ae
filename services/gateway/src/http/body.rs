//! Bodies in transit: nothing is held back, and the end of a body frees the replica's connection.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

use super::client::Link;
use super::replicas::{Replicas, Sender, Session};
use crate::cluster::backend::Backend;
use crate::stats::Stats;

type Polled = Poll<Option<Result<Frame<Bytes>, hyper::Error>>>;

/// The body of a request on its way to a replica.
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

/// The body of an answer to a client.
#[derive(Debug)]
pub(super) enum Answer {
    Own(Option<Bytes>),
    Passed(Box<Passed>),
}

/// The body of a replica's answer.
#[derive(Debug)]
pub(super) struct Passed {
    body: Incoming,
    /// Ends with the body; `None` once it has.
    exchange: Option<Exchange>,
}

/// A request and its answer, until the answer's last byte has arrived.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) session: Session,
    pub(super) sender: Sender,
    pub(super) replicas: Arc<Replicas>,
    pub(super) link: Arc<Link>,
    pub(super) stats: Arc<Stats>,
}

impl Answer {
    pub(super) fn own(text: Bytes) -> Self {
        Self::Own(Some(text))
    }

    pub(super) fn none() -> Self {
        Self::Own(None)
    }

    pub(super) fn passed(body: Incoming, exchange: Exchange) -> Self {
        exchange.link.answer_begins();
        let mut passed = Passed { body, exchange: Some(exchange) };
        passed.look();
        Self::Passed(Box::new(passed))
    }
}

impl Passed {
    /// Ends the exchange if everything has arrived. hyper does not ask again once it knows that.
    fn look(&mut self) {
        if self.body.is_end_stream() {
            self.end();
        }
    }

    fn end(&mut self) {
        if let Some(Exchange { session, sender, replicas, link, .. }) = self.exchange.take() {
            link.answer_ended();
            replicas.keep(session.backend().address, sender);
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Polled {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let (Some(bytes), Some(exchange)) = (data(polled.as_ref()), &self.exchange) {
            exchange.session.backend().passed_from(bytes);
        }
        match &polled {
            Some(Ok(_)) => self.look(),
            Some(Err(_)) => {}
            None => self.end(),
        }
        Poll::Ready(polled)
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        if let Some(exchange) = &self.exchange {
            exchange.stats.http.broken.increment();
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        match &mut *self {
            Self::Own(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Passed(passed) => passed.poll(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(text) => text.is_none(),
            Self::Passed(passed) => passed.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
            Self::Passed(passed) => passed.body.size_hint(),
        }
    }
}

fn data(polled: Option<&Result<Frame<Bytes>, hyper::Error>>) -> Option<u64> {
    polled?.as_ref().ok()?.data_ref().map(|data| data.len() as u64)
}
