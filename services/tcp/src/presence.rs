//! Presence: the clients of all servers, kept in etcd so that `WHO` can list them all.
//!
//! ```text
//! /sockets/presence/SERVER         "417", its number of clients      ┐ on the lease of that server: they vanish
//! /sockets/presence/SERVER/CHUNK   up to 128 of them, packed         │ together when it was killed
//! /sockets/client_list_cnt         "1251", the total; on the lease   ┘
//!                                  of the server that was there first
//! ```
//!
//! *Writing* ([`registrar`]). A client's place in the roster determines its chunk, and a change rewrites the chunk.
//! Changes are collected for a fifth of a second and written in one transaction. Each transaction writes `/SERVER` and
//! succeeds only if that key is as this server left it: a request delayed in a member cannot overwrite a later one.
//!
//! *Reading* ([`watcher`], [`others`]). Each server watches `/sockets/` and keeps what the others wrote, still packed.
//!
//! *The total* has one writer, the server with the oldest key. All servers see the same keys in the same order, so they
//! agree on the writer without an election; it also watches the total and corrects what others write. The total is
//! attached to the writer's lease, so it disappears when the last server is killed; its successor writes the total
//! again when it sees the predecessor's keys vanish.
//!
//! *A lost lease* is replaced while the server lives, and everything is written again. While etcd is away, the view of
//! the others is kept for the lifetime of a lease, as long as it may be right; then it is dropped, and `WHO` answers as
//! a server without etcd does. `/readyz` and the log say so.

mod chunk;
mod others;
mod registrar;
mod watcher;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use service::Readiness;
use service::background::Background;
use service::etcd::{Client, Settings};
use tokio::sync::{Notify, oneshot};

pub(crate) use self::chunk::{CLIENTS_MAX as CHUNK_CLIENTS_MAX, Packed};
pub(crate) use self::others::{Others, View};
use self::registrar::Registrar;
use self::watcher::Watcher;
use crate::metrics::Metrics;
use crate::roster::Roster;

/// The prefix to watch.
const ROOT: &str = "/sockets/";
/// The total, as existing dashboards read it.
const TOTAL: &str = "/sockets/client_list_cnt";
/// Prefix of the keys that servers write.
const SERVERS: &str = "/sockets/presence/";

/// The part whose first answer from etcd is awaited.
pub(crate) const AWAITED: &str = watcher::PART;

/// Minimum time that a member has to answer. All of three members can be tried before a lease expires.
const ANSWER_LEAST: Duration = Duration::from_millis(500);
const ANSWER_MOST: Duration = Duration::from_secs(2);
/// Time limit for revoking the lease at the end.
const FAREWELL: Duration = Duration::from_secs(1);

/// Wakes the registrar when there may be something to write.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    notify: Notify,
    /// Write this server's key even if nothing has changed.
    touch: AtomicBool,
}

impl Wake {
    pub(crate) fn wake(&self) {
        self.notify.notify_one();
    }

    fn touch(&self) {
        self.touch.store(true, Ordering::Relaxed);
        self.wake();
    }
}

/// Keeps etcd and the roster's view of the other servers up to date on its own thread. `told` resolves as soon as it is
/// known whether etcd is reachable.
///
/// # Errors
/// The thread or its runtime cannot be created.
pub(crate) fn start(
    settings: &Settings,
    server_id: &str,
    (roster, others): (Arc<Roster>, Arc<Others>),
    metrics: Arc<Metrics>,
    readiness: Readiness,
    told: oneshot::Sender<()>,
) -> io::Result<Background> {
    let lease_ttl = settings.lease_ttl;
    let client = Client::new(settings, (lease_ttl / 5).clamp(ANSWER_LEAST, ANSWER_MOST));
    let wake = Arc::clone(others.wake());
    let registrar = Registrar {
        client: client.clone(),
        lease_ttl,
        key: format!("{SERVERS}{server_id}"),
        roster: Arc::clone(&roster),
        others: Arc::clone(&others),
        wake: Arc::clone(&wake),
        metrics: Arc::clone(&metrics),
        readiness: readiness.clone(),
        lease: parking_lot::Mutex::new(None),
    };
    let watcher = Watcher {
        client: client.clone(),
        lease_ttl,
        roster,
        others,
        wake,
        metrics,
        readiness,
        told: Default::default(),
    };
    Background::start("presence", move |stopped| async move {
        tokio::select! {
            // A message and a dropped sender both mean: stop.
            _ = stopped => {}
            () = registrar.run() => {}
            () = watcher.run(told) => {}
        }
        let lease = *registrar.lease.lock();
        if let Some(lease) = lease {
            // If it cannot be revoked, it expires.
            let _ = tokio::time::timeout(FAREWELL, client.revoke(lease)).await;
        }
    })
}
