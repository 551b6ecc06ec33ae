//! Commands to a running worker, without a lock on its path.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};
use scenario::Rate;
use serde::{Deserialize, Serialize};

/// Maximum number of pending tasks: more than there are actions.
const TASKS_MAX: usize = 1024;

/// Something that a client sends in addition to its messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Repeated in the report of its outcome.
    pub(crate) id: u32,
    /// The client's number in the run, from 0.
    pub(crate) client: u64,
    /// With `{token}` in it, and escapes.
    pub(crate) payload: String,
    /// What the answer must contain, with `{connections}` in it.
    pub(crate) answer: Option<String>,
    /// The number of the broadcast: every worker receives the order and watches for it.
    pub(crate) broadcast: Option<u16>,
}

/// Users who join. Each worker handles those with its own numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Join {
    /// Repeated in the report that all of them have arrived.
    pub(crate) id: u32,
    /// The first one's number in the run, from 0.
    pub(crate) first: u64,
    pub(crate) users: u64,
    /// `None`: all at once.
    pub(crate) rate: Option<Rate>,
}

/// Users who leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leave {
    /// Repeated in the report of how many left.
    pub(crate) id: u32,
    /// Users of these replicas, by the replicas' own names; `None`: any users.
    pub(crate) of: Option<Vec<String>>,
    /// Maximum number from each worker.
    pub(crate) shares: Vec<u64>,
}

/// A worker's part of an action, in the order received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Task {
    Send(Order),
    /// Report the current state, and then that this was done. The next command relies on it.
    Muster(u32),
    Join(Join),
    Leave(Leave),
}

/// Commands to a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Command {
    /// Close the connections at that time of the run, unless an earlier one was set.
    CloseAt(u32),
    Task(Task),
    /// Close them now. Outstanding messages may still be answered.
    Stop,
    /// Close without waiting even for those.
    StopAtOnce,
}

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
