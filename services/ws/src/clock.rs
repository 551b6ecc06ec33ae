//! The service's one clock: milliseconds since its start.

use tokio::time::Instant;

/// The service's start; copies agree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(::clock::runtime_now())
    }

    pub(crate) fn now_ns(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }

    pub(crate) fn now_ms(self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
}
