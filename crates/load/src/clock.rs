//! The run's clock: nanoseconds of the monotonic clock since the run's first due time.
//!
//! The monotonic clock is the machine's, so worker processes with the same origin share one time.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds per millisecond, the grid of the schedule.
pub(crate) const MS: u64 = 1_000_000;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin_ns: u64,
}

impl Clock {
    /// A clock whose zero is `origin_ns` of the monotonic clock, see [`monotonic_ns`].
    pub(crate) fn starting_at(origin_ns: u64) -> Self {
        Self { origin_ns }
    }

    /// Time since the origin; zero before it.
    pub(crate) fn now_ns(self) -> u64 {
        monotonic_ns().saturating_sub(self.origin_ns)
    }

    /// Time until the origin; zero after it.
    pub(crate) fn until_origin_ns(self) -> u64 {
        self.origin_ns.saturating_sub(monotonic_ns())
    }
}

/// The machine's monotonic clock.
pub(crate) fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The first whole millisecond at or after `ns`.
pub(crate) fn ceil_ms(ns: u64) -> u32 {
    u32::try_from(ns.div_ceil(MS)).unwrap_or(u32::MAX)
}
