//! Waiting for events, the same way in every loop here.

use std::{io, os::fd::OwnedFd};

use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, Event},
    },
    io::Errno,
};

/// Maximum number of events per wait.
const BATCH: usize = 256;

/// Room for the events of one wait.
pub(crate) fn events() -> Vec<Event> {
    Vec::with_capacity(BATCH)
}

/// Fills `events`; leaves it empty after a time-out or a signal, such as when a tracer attaches.
pub(crate) fn wait(epoll: &OwnedFd, events: &mut Vec<Event>, timeout: Option<&Timespec>) -> io::Result<()> {
    events.clear();
    match epoll::wait(epoll, spare_capacity(events), timeout) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
