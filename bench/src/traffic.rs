//! The load that contestants are put under: threads of this process, the same for all contestants.

pub(crate) mod blocks;
pub(crate) mod connects;
pub(crate) mod datagrams;
pub(crate) mod dial;
pub(crate) mod events;
pub(crate) mod held;
pub(crate) mod ping_pong;
pub(crate) mod stamped;
pub(crate) mod stream;
pub(crate) mod trickle;
pub(crate) mod websocket;

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Result, bail};
use rustix::event::Timespec;

use crate::measure::wait;

/// Time limit for opening all connections.
const READY_WITHIN: Duration = Duration::from_mins(1);
/// The longest wait, so that a stop is noticed.
const LOOK_UP: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// State shared between a thread and its watchers.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    stop: AtomicBool,
    units: AtomicU64,
    ready: AtomicUsize,
    failure: OnceLock<String>,
}

impl Meter {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn add(&self, units: u64) {
        self.units.fetch_add(units, Ordering::Relaxed);
    }

    /// Signals that this thread's connections are open and traffic begins.
    fn ready(&self) {
        self.ready.fetch_add(1, Ordering::Relaxed);
    }
}

/// Traffic that flows until this is dropped.
#[derive(Debug)]
pub(crate) struct Traffic {
    meter: Arc<Meter>,
    threads: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// Runs `pattern` on several threads and returns when all of them have opened their connections.
    pub(crate) fn start<P>(threads: usize, pattern: P) -> Result<Self>
    where
        P: Fn(&Meter) -> io::Result<()> + Send + Sync + 'static,
    {
        let meter = Arc::new(Meter::default());
        let pattern = Arc::new(pattern);
        let handles = (0..threads)
            .map(|_| {
                let (meter, pattern) = (Arc::clone(&meter), Arc::clone(&pattern));
                thread::spawn(move || {
                    if let Err(error) = pattern(&meter) {
                        // The first failure is the cause of the others.
                        drop(meter.failure.set(error.to_string()));
                    }
                })
            })
            .collect();
        let traffic = Self { meter, threads: handles };
        let deadline = clock::now() + READY_WITHIN;
        while traffic.meter.ready.load(Ordering::Relaxed) < threads {
            traffic.check()?;
            if clock::now() > deadline {
                bail!("the connections were not open within {READY_WITHIN:?}");
            }
            wait(Duration::from_millis(1));
        }
        Ok(traffic)
    }

    /// Messages, connections or bytes so far, as the pattern counts.
    pub(crate) fn units(&self) -> u64 {
        self.meter.units.load(Ordering::Relaxed)
    }

    /// Fails if a thread has failed.
    pub(crate) fn check(&self) -> Result<()> {
        match self.meter.failure.get() {
            Some(failure) => bail!("the load failed: {failure}"),
            None => Ok(()),
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.meter.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

fn unexpected_end() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "a connection was closed by the other side")
}

#[cfg(test)]
mod tests;
