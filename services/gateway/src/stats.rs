//! The gateway's counts.
//!
//! Connections are counted by two counters, opened and closed: a gauge alone hides what happened between two scrapes.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::counter::Counter;
use crate::shortages::Shortages;

/// Counts of one process, over all its workers.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    /// Open client connections. Workers compare it with the limit before they accept.
    active: AtomicUsize,
    pub(crate) opened: Counter,
    pub(crate) closed: Counter,
    pub(crate) shortages: Shortages,
    /// Client connections that waited for their turn.
    pub(crate) delayed: Counter,
    /// Connects retried at another backend.
    pub(crate) retried: Counter,
    /// Sessions reset by either side.
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
    /// Only for HTTP.
    pub(crate) http: HttpStats,
    /// Only for UDP.
    pub(crate) packets: PacketStats,
}

/// Counts of requests and answers.
#[derive(Debug, Default)]
pub(crate) struct HttpStats {
    pub(crate) requests: Counter,
    /// Answers to clients by the first digit of their status, from 1xx to 5xx.
    answers: [Counter; 5],
    /// Requests that a replica accepted but did not answer.
    pub(crate) unanswered: Counter,
    /// Incomplete answers: a replica or a client was gone.
    pub(crate) broken: Counter,
}

impl HttpStats {
    pub(crate) fn answered(&self, status: u16) {
        let class = usize::from(status / 100).clamp(1, self.answers.len());
        self.answers[class - 1].increment();
    }

    /// The status classes, such as `2xx`, with their counts.
    pub(crate) fn answers(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(self.answers.iter().map(Counter::get))
    }
}

/// Counts of packets and of the ends of their sessions.
#[derive(Debug, Default)]
pub(crate) struct PacketStats {
    /// Packets received from clients.
    pub(crate) received: Counter,
    /// Packets sent to clients.
    pub(crate) answered: Counter,
    /// Packets of clients without a session, when there is no room for one.
    pub(crate) no_session: Counter,
    /// Packets from addresses that cannot be a client's: an answer to them would loop forever.
    pub(crate) loops: Counter,
    /// Packets that the kernel did not accept.
    pub(crate) unsent: Counter,
    /// Sessions ended because they were idle.
    pub(crate) expired: Counter,
    /// Sessions evicted to make room for others.
    pub(crate) evicted: Counter,
    /// Sessions moved to another replica.
    pub(crate) moved: Counter,
    /// Sessions resumed at the replica that they had through another gateway.
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

    /// Notes that a source of endpoints became stale, or no longer is.
    pub(crate) fn endpoints_became_stale(&self, stale: bool) {
        if stale {
            self.endpoints_stale.fetch_add(1, Ordering::Relaxed);
        } else {
            self.endpoints_stale.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
