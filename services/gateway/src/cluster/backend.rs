//! One replica behind the gateway, and its counts.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use ring::digest::{SHA256, digest};
use serde::Serialize;

use crate::counter::Counter;

/// A replica as the data plane sees it: its address and its counts.
///
/// It lives as long as a session refers to it, so a removed replica is still counted until its last session ends.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    /// Its key in cookies: the same in every gateway, and different for a successor at another address.
    pub(crate) key: String,
    counters: Counters,
    /// Connects that failed since the last success; passive ejection uses it.
    failures_in_a_row: AtomicU32,
}

#[derive(Debug, Default)]
struct Counters {
    active: AtomicU64,
    opened: Counter,
    closed: Counter,
    failed: Counter,
    expired: Counter,
    bytes_to: Counter,
    bytes_from: Counter,
    packets_to: Counter,
    packets_from: Counter,
    packets_dropped: Counter,
}

/// The counts of one backend at one moment. `opened = closed + failed + active` once nothing is in motion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct BackendCounts {
    /// Its sessions that have not ended.
    pub active: u64,
    /// Sessions given to it, including failed connects.
    pub opened: u64,
    /// Sessions that ended after the connect succeeded.
    pub closed: u64,
    /// Connects that were refused, reset or timed out; with UDP, sessions whose packets were refused.
    pub failed: u64,
    /// UDP only: closed sessions that ended because they were idle.
    pub expired: u64,
    /// Bytes forwarded from clients to it.
    pub bytes_to: u64,
    /// Bytes forwarded from it to clients.
    pub bytes_from: u64,
    /// UDP only: packets forwarded to it.
    pub packets_to: u64,
    /// UDP only: packets received from it.
    pub packets_from: u64,
    /// UDP only: packets for it that could not be sent.
    pub packets_dropped: u64,
}

impl Backend {
    pub(crate) fn new(name: String, address: SocketAddr) -> Self {
        let key = key(&name, address);
        Self { name, address, key, counters: Counters::default(), failures_in_a_row: AtomicU32::new(0) }
    }

    /// Its sessions through this process: the load that least-request compares.
    pub(crate) fn active(&self) -> u64 {
        self.counters.active.load(Ordering::Relaxed)
    }

    /// Counts a new session. It counts as load immediately, even before it is connected, so that a burst of accepts
    /// does not go to one backend.
    pub(crate) fn session_opened(&self) {
        self.counters.opened.increment();
        self.counters.active.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn session_closed(&self) {
        self.counters.closed.increment();
        self.counters.active.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a failed connect and removes its session. A shortage in the gateway (no port, no open file) fails the
    /// session too, but then `blame` is false, and the backend is not ejected for it.
    pub(crate) fn session_failed(&self, blame: bool) -> u32 {
        self.counters.failed.increment();
        self.counters.active.fetch_sub(1, Ordering::Relaxed);
        let before = self.failures_in_a_row.load(Ordering::Relaxed);
        if !blame {
            return before;
        }
        self.failures_in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    pub(crate) fn connect_succeeded(&self) {
        // Read first: usually the cache line then stays shared between the threads.
        if self.failures_in_a_row.load(Ordering::Relaxed) != 0 {
            self.failures_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// Resets the count of failures, for instance after an ejection.
    pub(crate) fn forgive(&self) {
        self.failures_in_a_row.store(0, Ordering::Relaxed);
    }

    pub(crate) fn passed_to(&self, bytes: u64) {
        self.counters.bytes_to.add(bytes);
    }

    pub(crate) fn passed_from(&self, bytes: u64) {
        self.counters.bytes_from.add(bytes);
    }

    pub(crate) fn session_expired(&self) {
        self.counters.expired.increment();
        self.session_closed();
    }

    pub(crate) fn packets_passed_to(&self, packets: u64, bytes: u64) {
        self.counters.packets_to.add(packets);
        self.passed_to(bytes);
    }

    pub(crate) fn packets_passed_from(&self, packets: u64, bytes: u64) {
        self.counters.packets_from.add(packets);
        self.passed_from(bytes);
    }

    pub(crate) fn packets_dropped(&self, packets: u64) {
        self.counters.packets_dropped.add(packets);
    }

    pub(crate) fn counts(&self) -> BackendCounts {
        BackendCounts {
            active: self.active(),
            opened: self.counters.opened.get(),
            closed: self.counters.closed.get(),
            failed: self.counters.failed.get(),
            expired: self.counters.expired.get(),
            bytes_to: self.counters.bytes_to.get(),
            bytes_from: self.counters.bytes_from.get(),
            packets_to: self.counters.packets_to.get(),
            packets_from: self.counters.packets_from.get(),
            packets_dropped: self.counters.packets_dropped.get(),
        }
    }
}

/// Bytes of a digest that distinguishes replicas; written as hexadecimal digits.
pub(crate) const KEY_BYTES: usize = 8;

fn key(name: &str, address: SocketAddr) -> String {
    use std::fmt::Write as _;
    let digest = digest(&SHA256, format!("{name} {address}").as_bytes());
    digest.as_ref()[..KEY_BYTES].iter().fold(String::new(), |mut key, byte| {
        // Writing to a string cannot fail.
        let _ = write!(key, "{byte:02x}");
        key
    })
}
