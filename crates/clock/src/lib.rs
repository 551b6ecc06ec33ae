//! The one place that asks the time.
//!
//! `clippy.toml` bans every other call, so a crate's `Cargo.toml` says whether it has a clock. What decides
//! (`autoscale`, `balance`, `controller`, `scenario` and what they build on) has none and takes the time as a value;
//! that is why it can be replayed, simulated and tested without waiting.

use std::time::Instant;

use jiff::Timestamp;

/// The monotonic clock, for everything that is measured: durations, deadlines, verdicts.
#[expect(clippy::disallowed_methods, reason = "the one call")]
pub fn now() -> Instant {
    Instant::now()
}

/// The wall clock, for people and for records. It jumps when it is set, so nothing is measured with it.
#[expect(clippy::disallowed_methods, reason = "the one call")]
pub fn wall() -> Timestamp {
    Timestamp::now()
}

/// The runtime's monotonic clock, for asynchronous code: a test that pauses it need not wait.
#[cfg(feature = "runtime")]
#[expect(clippy::disallowed_methods, reason = "the one call")]
pub fn runtime_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}
