//! The body of a stream's answer: an event a second, generated when the connection has room for it.
//!
//! The connection asks for the next piece when all but a few KiB have been written. A client that does not read
//! therefore causes no work: when it reads again, it gets the event that is due then, and skips those in between.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame};
use tokio::time::{Instant, Sleep};

use crate::feed::{Event, Shared};
use crate::locks::{Held, Locks};
use crate::metrics::{Ended, Metrics};
use crate::streams::{EVERY, Order, Stream, Streams};

/// If the clock deviates by more than this, it was set.
const CLOCK_SLACK_S: i64 = 1;

/// What a stream needs from the service.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub(crate) feed: Shared,
    pub(crate) streams: Arc<Streams>,
    pub(crate) locks: Arc<Locks>,
    pub(crate) metrics: Arc<Metrics>,
    /// When a client that is sent away should come back.
    pub(crate) retry_after: Duration,
}

/// An open stream, until it is dropped.
pub(crate) struct Events {
    parts: Parts,
    stream: Arc<Stream>,
    /// Released, or left to expire, when the stream ends.
    held: Held,
    due: Pin<Box<Sleep>>,
    /// The second of the wall clock at turn 0.
    first_second: i64,
    next: Next,
    ended: Ended,
}

/// The next piece.
enum Next {
    Event,
    Message(Event),
    Tail(Bytes),
    Nothing,
}

impl Events {
    pub(crate) fn new(parts: Parts, held: Held) -> Self {
        let stream = Arc::clone(held.stream());
        parts.streams.add(Arc::clone(&stream));
        parts.locks.is_open(&stream);
        parts.metrics.opened.inc();
        let first_second = clock::wall().as_second();
        let due = Box::pin(tokio::time::sleep_until(stream.opened + EVERY));
        Self { parts, stream, held, due, first_second, next: Next::Event, ended: Ended::Client }
    }

    /// The wall-clock second of a turn, so that IDs are consecutive without gaps or repetitions, wherever in a second
    /// the turns are. They follow the clock only when it was set.
    fn second(&mut self, turn: u32) -> i64 {
        let (now, expected) = (clock::wall().as_second(), self.first_second + i64::from(turn));
        if (now - expected).abs() > CLOCK_SLACK_S {
            self.first_second = now - i64::from(turn);
            return now;
        }
        expected
    }

    /// The last message, and its reason.
    fn farewell(&mut self, order: Order) -> Bytes {
        self.next = Next::Nothing;
        self.ended = Ended::from(order);
        if !order.frees_the_pair() {
            return format!(": {}\n\n", order.words()).into();
        }
        self.held.release_at_end();
        // Clients that are sent away together must not come back together.
        let retry_ms = self.parts.retry_after.mul_f64(rand::random_range(1.0..=1.5)).as_millis();
        format!("retry:{retry_ms}\n: {}\n\n", order.words()).into()
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        this.stream.is_asked_by(context.waker());
        let piece = match std::mem::replace(&mut this.next, Next::Event) {
            // Finish an event that was started: half of one would be useless.
            Next::Message(event) => {
                this.next = Next::Tail(event.tail);
                event.message
            }
            Next::Tail(tail) => tail,
            Next::Nothing => {
                this.next = Next::Nothing;
                return Poll::Ready(None);
            }
            Next::Event => match this.stream.order() {
                Some(order) => this.farewell(order),
                None => match this.poll_event(context) {
                    Poll::Ready(Err(order)) => this.farewell(order),
                    Poll::Ready(Ok(event)) => {
                        let head = event.head.clone();
                        this.next = Next::Message(event);
                        head
                    }
                    Poll::Pending => return Poll::Pending,
                },
            },
        };
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl Events {
    /// The event that is due, or why there are no more.
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Result<Event, Order>> {
        loop {
            std::task::ready!(self.due.as_mut().poll(context));
            let now = clock::runtime_now();
            // On a replica that was stalled for long, this may be the first code to run.
            if let Some(order) = self.stream.order_at(now) {
                return Poll::Ready(Err(order));
            }
            let turn = self.stream.turn(now);
            let next: Instant = self.stream.opened + EVERY * turn.saturating_add(1);
            self.due.as_mut().reset(next);
            // A timer may fire slightly early.
            if turn == 0 {
                continue;
            }
            self.stream.began(turn);
            let second = self.second(turn);
            let event = self.parts.feed.of(second);
            self.parts.metrics.sent(event.len());
            return Poll::Ready(Ok(event));
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let order = self.stream.order();
        // A client that is cut off could not be notified.
        if let Some(order) = order.filter(|_| self.ended == Ended::Client) {
            self.ended = Ended::from(order);
            if order.frees_the_pair() {
                self.held.release_at_end();
            }
        }
        self.parts.streams.remove(&self.stream, clock::runtime_now());
        self.parts.metrics.ended(self.ended);
    }
}
