//! Commands to a running worker, without a lock on its path.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};

use crate::messages::{Command, Task};

/// Maximum number of pending tasks: more than there are actions.
const TASKS_MAX: usize = 1024;

/// Set by the coordinator, read by the worker after each wake-up.
#[derive(Debug)]
pub(crate) struct Commands {
    close_at_ms: AtomicU32,
    at_once: AtomicBool,
    has_tasks: AtomicBool,
    tasks: Mutex<VecDeque<Task>>,
    waker: OwnedFd,
}

impl Commands {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            close_at_ms: AtomicU32::new(u32::MAX),
            at_once: AtomicBool::new(false),
            has_tasks: AtomicBool::new(false),
            tasks: Mutex::default(),
            waker: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    pub(crate) fn obey(&self, command: Command) {
        match command {
            Command::CloseAt(ms) => {
                self.close_at_ms.fetch_min(ms, Ordering::AcqRel);
            }
            Command::Task(task) => {
                let mut tasks = self.tasks.lock();
                if tasks.len() < TASKS_MAX {
                    tasks.push_back(task);
                }
                self.has_tasks.store(true, Ordering::Release);
            }
            Command::Stop => self.close_at_ms.store(0, Ordering::Release),
            Command::StopAtOnce => {
                self.at_once.store(true, Ordering::Release);
                self.close_at_ms.store(0, Ordering::Release);
            }
        }
        // Fails only if the counter is full, and then the worker is being woken anyway. The worker never reads it:
        // registered edge-triggered, each write wakes it once.
        let _ = rustix::io::write(&self.waker, &1_u64.to_ne_bytes());
    }

    pub(super) fn take_tasks(&self) -> VecDeque<Task> {
        if self.has_tasks.swap(false, Ordering::AcqRel) {
            std::mem::take(&mut *self.tasks.lock())
        } else {
            VecDeque::new()
        }
    }

    pub(crate) fn close_time_ms(&self) -> u32 {
        self.close_at_ms.load(Ordering::Acquire)
    }

    /// Whether the close does not wait even for outstanding answers.
    pub(crate) fn is_at_once(&self) -> bool {
        self.at_once.load(Ordering::Acquire)
    }

    pub(super) fn waker(&self) -> BorrowedFd<'_> {
        self.waker.as_fd()
    }
}
