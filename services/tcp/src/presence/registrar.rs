//! Keeps this server's clients in etcd, on its lease.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use service::Readiness;
use service::backoff::Backoff;
use service::etcd::{Client, Committed, Error, Lease, Txn};
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::{Others, Packed, TOTAL, Wake};
use crate::metrics::Metrics;
use crate::roster::Roster;

/// The part that `/readyz` reports as degraded while this server's clients cannot be written.
const PART: &str = "presence";
/// How long changes are collected before they are written.
const GATHER: Duration = Duration::from_millis(200);
/// Chunks in one transaction. With the server's key and the total, this stays below etcd's 128 operations, and with
/// full chunks of IPv6 clients below 0.25 MiB of its 1.5 MiB.
const CHUNKS_PER_TXN: usize = 100;
/// Delays after a failure.
const WAIT_LEAST: Duration = Duration::from_millis(100);
const WAIT_MOST: Duration = Duration::from_secs(1);

pub(super) struct Registrar {
    pub(super) client: Client,
    pub(super) lease_ttl: Duration,
    /// The key of this server.
    pub(super) key: String,
    pub(super) roster: Arc<Roster>,
    pub(super) others: Arc<Others>,
    pub(super) wake: Arc<Wake>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) readiness: Readiness,
    /// The current lease, to revoke at the end.
    pub(super) lease: Mutex<Option<Lease>>,
}

impl Registrar {
    /// Registers this server again whenever its lease is lost. Never returns.
    pub(super) async fn run(&self) {
        let mut backoff = Backoff::new(WAIT_LEAST, WAIT_MOST);
        loop {
            match self.client.grant(self.lease_ttl).await {
                Ok(lease) => {
                    backoff.reset();
                    *self.lease.lock() = Some(lease);
                    self.roster.mark_all();
                    self.wake.touch();
                    tokio::select! {
                        () = self.keep_alive(lease) => {}
                        () = self.write(lease) => {}
                    }
                    *self.lease.lock() = None;
                    warn!(ttl_s = self.lease_ttl.as_secs(), "the lease in etcd is lost: registering again");
                }
                Err(error) => {
                    self.failed(&error);
                    sleep(backoff.wait()).await;
                }
            }
        }
    }

    /// Returns when the lease is lost.
    async fn keep_alive(&self, lease: Lease) {
        let (interval, again) = (self.lease_ttl / 3, self.lease_ttl / 10);
        let mut wait = interval;
        loop {
            sleep(wait).await;
            wait = match self.client.keep_alive(lease).await {
                Ok(()) => interval,
                Err(Error::LeaseGone) => return,
                Err(error) => {
                    self.metrics.presence_failures.inc();
                    debug!(%error, "the lease was not kept alive");
                    again
                }
            };
        }
    }

    /// Writes changes. Returns when the lease is lost.
    async fn write(&self, lease: Lease) {
        let mut backoff = Backoff::new(WAIT_LEAST, WAIT_MOST);
        // The last known revision of this server's key.
        let mut revision = 0;
        loop {
            let touched = self.wake.touch.swap(false, Ordering::Relaxed);
            let (clients, chunks) = self.roster.take_changes(CHUNKS_PER_TXN);
            let total = self.others.total_due(clients);
            if !touched && chunks.is_empty() && total.is_none() {
                self.wake.notify.notified().await;
                sleep(GATHER).await;
                continue;
            }
            let txn = self.transaction(revision, (lease, clients), &chunks, total);
            match self.client.commit(&txn).await {
                Ok(Committed::Done(at)) => {
                    revision = at;
                    self.metrics.presence_writes.inc();
                    if let Some(total) = total {
                        self.others.total_written(at, total);
                    }
                    backoff.reset();
                    if self.readiness.restore(PART) {
                        info!(clients, "this server's clients are in etcd again");
                    }
                    sleep(GATHER).await;
                    continue;
                }
                // At first, and after a request whose outcome was unknown.
                Ok(Committed::Outdated(at)) if at != revision => revision = at,
                Ok(Committed::Outdated(_)) => {
                    self.failed(&Error::Refused("a transaction whose condition holds".into()));
                }
                Err(Error::LeaseGone) => return,
                Err(error) => self.failed(&error),
            }
            self.roster.mark(chunks.iter().map(|(number, _)| *number));
            self.wake.touch();
            sleep(backoff.wait()).await;
        }
    }

    fn transaction(
        &self,
        revision: i64,
        (lease, clients): (Lease, usize),
        chunks: &[(u32, Packed)],
        total: Option<usize>,
    ) -> Txn {
        let mut txn = Txn::when(self.key.as_bytes(), revision);
        txn.put(self.key.as_bytes(), clients.to_string().as_bytes(), lease);
        for (number, packed) in chunks {
            let key = format!("{}/{number}", self.key);
            if packed.is_empty() {
                txn.delete(key.as_bytes());
            } else {
                txn.put(key.as_bytes(), packed.bytes(), lease);
            }
        }
        if let Some(total) = total {
            txn.put(TOTAL.as_bytes(), total.to_string().as_bytes(), lease);
        }
        txn
    }

    fn failed(&self, error: &Error) {
        self.metrics.presence_failures.inc();
        let reason = format!("etcd: {error}; the lists of other servers may lack the clients of this one");
        if self.readiness.degrade(PART, reason) {
            warn!(%error, "this server's clients cannot be written to etcd");
        }
    }
}
