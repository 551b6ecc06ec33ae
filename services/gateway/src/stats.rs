//! What the gateway counts.
//!
//! Connections are counted by two numbers that only grow, opened and closed: a gauge alone hides what happened
//! between two scrapes.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::shortages::Shortages;

/// A number that only grows. Relaxed ordering suffices: no decision combines two counts.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn increment(&self) {
        self.add(1);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts of one process, over all its workers.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    /// Clients' connections that are open. Workers compare it with the limit before they accept.
    active: AtomicUsize,
    pub(crate) opened: Counter,
    pub(crate) closed: Counter,
    pub(crate) shortages: Shortages,
    /// Clients' connections that waited for their turn.
    pub(crate) delayed: Counter,
    /// Connects that were tried again at another backend.
    pub(crate) retried: Counter,
    /// Sessions that ended by a reset of either side.
    pub(crate) reset: Counter,
    /// Resets because a side stopped reading for the stall time-out, or vanished.
    pub(crate) timed_out: Counter,
    /// Sessions closed because neither side sent anything for the tunnel time-out.
    pub(crate) silent: Counter,
    /// Sessions cut off by the end of a drain.
    pub(crate) cut: Counter,
    /// Turns of the workers' event loops: stands still while nothing happens.
    pub(crate) turns: Counter,
    /// Versions of the endpoints file that could not be read.
    pub(crate) endpoints_rejected: Counter,
    /// Sources of endpoints whose current state could not be read, so that an older one is in use.
    endpoints_stale: AtomicUsize,
    /// What only HTTP has.
    pub(crate) http: HttpStats,
    /// What only UDP has.
    pub(crate) packets: PacketStats,
}

/// Counts of requests and answers.
#[derive(Debug, Default)]
pub(crate) struct HttpStats {
    pub(crate) requests: Counter,
    /// Answers to clients by the first digit of their status, from 1xx to 5xx.
    answers: [Counter; 5],
    /// Requests that a replica took and did not answer.
    pub(crate) unanswered: Counter,
    /// Answers that ended before their end: a replica or a client was gone.
    pub(crate) broken: Counter,
}

impl HttpStats {
    pub(crate) fn answered(&self, status: u16) {
        let class = usize::from(status / 100).clamp(1, self.answers.len());
        self.answers[class - 1].increment();
    }

    /// The classes of status, such as `2xx`, with their counts.
    pub(crate) fn answers(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(self.answers.iter().map(Counter::get))
    }
}

/// Counts of packets and of the ends of their sessions.
#[derive(Debug, Default)]
pub(crate) struct PacketStats {
    /// Packets that came from clients.
    pub(crate) received: Counter,
    /// Packets that were sent to clients.
    pub(crate) answered: Counter,
    /// Packets of clients that have no session, with no room for one.
    pub(crate) no_session: Counter,
    /// Packets from addresses that cannot be a client's: an answer to them would loop for ever.
    pub(crate) loops: Counter,
    /// Packets that the kernel did not take.
    pub(crate) unsent: Counter,
    /// Sessions that ended because they were idle.
    pub(crate) expired: Counter,
    /// Sessions that made room for others.
    pub(crate) evicted: Counter,
    /// Sessions that went to another replica.
    pub(crate) moved: Counter,
    /// Sessions that began at the replica that they had through another gateway.
    pub(crate) resumed: Counter,
}

impl Stats {
    pub(crate) fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    pub(crate) fn connection_opened(&self) {
        self.active.fetch_add(1, Ordering::Relaxed);
        self.opened.increment();
    }

    pub(crate) fn connection_closed(&self) {
        self.active.fetch_sub(1, Ordering::Relaxed);
        self.closed.increment();
    }

    pub(crate) fn endpoints_stale(&self) -> bool {
        self.endpoints_stale.load(Ordering::Relaxed) > 0
    }

    /// A source of endpoints became stale, or no longer is.
    pub(crate) fn endpoints_became_stale(&self, stale: bool) {
        if stale {
            self.endpoints_stale.fetch_add(1, Ordering::Relaxed);
        } else {
            self.endpoints_stale.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
