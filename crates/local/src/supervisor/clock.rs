//! The supervisor's one clock.

use std::time::Instant;

use controller::Time;
use jiff::Timestamp;

/// Counts from the start of the run; never jumps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    began: Instant,
    began_wall: Timestamp,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { began: clock::now(), began_wall: clock::wall() }
    }

    pub(crate) fn now(&self) -> Time {
        self.at(clock::now())
    }

    /// A time that was read elsewhere.
    pub(crate) fn at(&self, instant: Instant) -> Time {
        let passed = instant.saturating_duration_since(self.began);
        Time::from_nanos(u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX))
    }

    pub(crate) fn instant(&self, at: Time) -> Instant {
        self.began + at.since(Time::ZERO)
    }

    /// Wall-clock time at the start.
    pub(crate) fn began(&self) -> Timestamp {
        self.began_wall
    }
}
