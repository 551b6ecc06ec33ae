//! What a worker is told while it runs, without a lock on its path.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};
use serde::{Deserialize, Serialize};

use crate::control::Stop;

/// More orders than actions there are never wait.
const ORDERS_MAX: usize = 1024;

/// Something that a client is to send beside its messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Told again with what came of it.
    pub(crate) id: u32,
    /// The client's number in the run, from 0.
    pub(crate) client: u64,
    /// With `{token}` in it, and escapes.
    pub(crate) payload: String,
    /// The number of the broadcast that it is: every worker gets the order and looks out for it.
    pub(crate) broadcast: Option<u16>,
}

/// Set by the coordinator, read by the worker after each wake-up.
#[derive(Debug)]
pub(crate) struct Commands {
    close_at_ms: AtomicU32,
    at_once: AtomicBool,
    has_orders: AtomicBool,
    orders: Mutex<VecDeque<Order>>,
    waker: OwnedFd,
}

impl Commands {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            close_at_ms: AtomicU32::new(u32::MAX),
            at_once: AtomicBool::new(false),
            has_orders: AtomicBool::new(false),
            orders: Mutex::default(),
            waker: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
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

    pub(crate) fn order(&self, order: Order) {
        let mut orders = self.orders.lock();
        if orders.len() < ORDERS_MAX {
            orders.push_back(order);
        }
        drop(orders);
        self.has_orders.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn take_orders(&self) -> VecDeque<Order> {
        if self.has_orders.swap(false, Ordering::AcqRel) {
            std::mem::take(&mut *self.orders.lock())
        } else {
            VecDeque::new()
        }
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
