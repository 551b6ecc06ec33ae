//! The end of a worker: keep accepting for a while, then tell each client to reconnect, then close it.
//!
//! ```text
//! SIGTERM ──SIGTERM_TIMEOUT──▶ no more accepting ──DRAIN_SPREAD──▶ all have their notice ──DRAIN_GRACE──▶ all closed
//! ```
//!
//! The notices are spread over the window, each at a random point of its own share: evenly, yet not in step with other
//! draining replicas.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use protocol::reply;
use rand::seq::SliceRandom;
use service::Phase;
use tracing::info;

use super::Worker;
use super::connection::Life;
use crate::metrics::CloseReason;
use crate::request::Handle;

/// A worker's progress in a drain.
pub(super) enum Drain {
    NotBegun,
    /// New connections are still accepted, by the accepting worker until the given time.
    Accepting {
        until: Instant,
    },
    Noticing(Notices),
}

/// Which connections to notify when, and to close when. Both in order of time.
pub(super) struct Notices {
    to_notice: VecDeque<(Instant, Handle)>,
    to_close: VecDeque<(Instant, Handle)>,
    window_end: Instant,
}

impl Drain {
    pub(super) fn has_begun(&self) -> bool {
        !matches!(self, Self::NotBegun)
    }

    pub(super) fn accepting_ended(&self) -> bool {
        matches!(self, Self::Noticing(_))
    }

    pub(super) fn due(&self) -> Option<Instant> {
        match self {
            Self::NotBegun => None,
            Self::Accepting { until } => Some(*until),
            Self::Noticing(Notices { to_notice, to_close, .. }) => {
                [to_notice, to_close].into_iter().filter_map(|list| list.front()).map(|(at, _)| *at).min()
            }
        }
    }
}

/// `count` times within `window`, in order, each at random within its own share.
fn spread(count: usize, window: Duration) -> impl Iterator<Item = Duration> {
    let share = window.as_secs_f64() / count.max(1) as f64;
    (0..count).map(move |index| Duration::from_secs_f64((index as f64 + rand::random::<f64>()) * share))
}

pub(super) fn pop_due(list: &mut VecDeque<(Instant, Handle)>, now: Instant) -> Option<Handle> {
    list.pop_front_if(|(at, _)| *at <= now).map(|(_, handle)| handle)
}

impl Worker {
    /// Checks whether a drain was requested.
    pub(super) fn follow_shutdown(&mut self) {
        if self.shared.shutdown.phase() < Phase::Draining || !matches!(self.drain, Drain::NotBegun) {
            return;
        }
        let until = self.clock.now + self.shared.settings.sigterm_timeout;
        self.drain = Drain::Accepting { until };
        if self.acceptor.is_some() {
            self.shared.readiness.draining();
            info!(
                connections = self.shared.roster.len(),
                accept_s = self.shared.settings.sigterm_timeout.as_secs_f64(),
                spread_s = self.shared.settings.drain_spread.as_secs_f64(),
                "draining"
            );
        }
    }

    /// No more connections will come: schedules the notices. A second call does nothing.
    pub(super) fn begin_notices(&mut self) {
        if self.drain.accepting_ended() {
            return;
        }
        let mut handles: Vec<Handle> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.life == Life::Open && !connection.was_shed)
            .map(|(index, connection)| connection.handle(index))
            .collect();
        handles.shuffle(&mut rand::rng());
        let (now, window) = (self.clock.now, self.shared.settings.drain_spread);
        let to_notice =
            spread(handles.len(), window).zip(handles).map(|(after, handle)| (now + after, handle)).collect();
        self.drain =
            Drain::Noticing(Notices { to_notice, to_close: VecDeque::new(), window_end: now + window });
    }

    /// A connection that another worker accepted just before accepting ended gets the last place in the window.
    pub(super) fn notice_latecomer(&mut self, index: usize) {
        if let Drain::Noticing(notices) = &mut self.drain {
            let handle = self.connections[index].handle(index);
            notices.to_notice.push_back((notices.window_end, handle));
        }
    }

    pub(super) fn fire_drain(&mut self) {
        let now = self.clock.now;
        if let Drain::Accepting { until } = self.drain {
            if until > now {
                return;
            }
            if self.acceptor.is_some() {
                self.end_accepting();
            } else {
                // The accepting worker will say so, perhaps slightly late.
                self.drain = Drain::Accepting { until: now + Duration::from_secs(1) };
            }
        }
        let grace = self.shared.settings.drain_grace;
        while let Drain::Noticing(notices) = &mut self.drain {
            if let Some(handle) = pop_due(&mut notices.to_close, now) {
                if let Some(index) = self.find(handle) {
                    self.begin_close(index, CloseReason::Drain);
                }
            } else if let Some(handle) = pop_due(&mut notices.to_notice, now) {
                notices.to_close.push_back((now + grace, handle));
                if let Some(index) =
                    self.find(handle).filter(|index| self.connections[*index].life == Life::Open)
                {
                    self.send_reply(index, reply::RECONNECT);
                }
            } else {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_fill_the_window_evenly() {
        let window = Duration::from_secs(10);
        let times: Vec<Duration> = spread(1000, window).collect();
        assert!(times.is_sorted());
        assert!(times.iter().all(|time| *time < window));
        for second in 0..10 {
            let within = times.iter().filter(|time| time.as_secs() == second).count();
            assert!((99..=101).contains(&within), "{within} in second {second}");
        }
    }

    #[test]
    fn no_connections_and_no_window_are_fine() {
        assert_eq!(spread(0, Duration::from_secs(10)).count(), 0);
        assert!(spread(5, Duration::ZERO).all(|time| time.is_zero()));
    }
}
