//! What a worker is told while it runs, without a lock on its path.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use rustix::event::{EventfdFlags, eventfd};

use crate::control::Stop;

/// Set by the coordinator, read by the worker after each wake-up.
#[derive(Debug)]
pub(crate) struct Commands {
    close_at_ms: AtomicU32,
    at_once: AtomicBool,
    waker: OwnedFd,
}

impl Commands {
    pub(crate) fn new() -> io::Result<Self> {
        let waker = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { close_at_ms: AtomicU32::new(u32::MAX), at_once: AtomicBool::new(false), waker })
    }

    /// Has the worker close its connections at that time of the run, unless it was told an earlier one.
    pub(crate) fn close_at(&self, ms: u32) {
        self.close_at_ms.fetch_min(ms, Ordering::AcqRel);
        self.wake();
    }

    pub(crate) fn stop(&self, how: Stop) {
        if how == Stop::AtOnce {
            self.at_once.store(true, Ordering::Release);
        }
        self.close_at(0);
    }

    pub(crate) fn close_time_ms(&self) -> u32 {
        self.close_at_ms.load(Ordering::Acquire)
    }

    /// Not even outstanding answers are waited for.
    pub(crate) fn is_at_once(&self) -> bool {
        self.at_once.load(Ordering::Acquire)
    }

    pub(super) fn waker(&self) -> BorrowedFd<'_> {
        self.waker.as_fd()
    }

    fn wake(&self) {
        // Fails only when the counter is full, and then the worker is being woken anyway. The worker never reads
        // it: registered edge-triggered, each write wakes it once.
        let _ = rustix::io::write(&self.waker, &1_u64.to_ne_bytes());
    }
}
