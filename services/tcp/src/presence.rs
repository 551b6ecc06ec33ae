//! Presence: the clients of all servers, kept in etcd, so that `WHO` speaks for all of them.
//!
//! ```text
//! /sockets/presence/SERVER         "417", its number of clients      ┐ on the lease of that server: they vanish
//! /sockets/presence/SERVER/CHUNK   up to 128 of them, packed         │ together when it was killed
//! /sockets/client_list_cnt         "1251", the total; on the lease   ┘
//!                                  of the server that was there first
//! ```
//!
//! *Writing* ([`registrar`]). A client's place in the roster decides its chunk, and a change rewrites the chunk. Changes
//! are collected for a fifth of a second and written in one transaction. Each transaction writes `/SERVER` and happens
//! only if that key is as this server left it: a request that a member held up cannot overwrite a later one.
//!
//! *Reading* ([`watcher`], [`others`]). Each server watches `/sockets/` and keeps what the others wrote, still packed.
//!
//! *The total* has one writer, the server whose key is the oldest. All servers see the same keys in the same order, so
//! they agree on who that is without an election; it watches its total, too, and puts right what anybody else writes.
//! The total hangs on its lease, so that nothing counts when the last server was killed; the next one writes it again
//! when it sees the keys of its predecessor vanish.
//!
//! *A lease that is lost* while the server lives is replaced, and everything is written again. While etcd is away, the
//! view of the others is kept for the life of a lease, for as long as it may be right; then it is dropped, and `WHO`
//! answers as a server without etcd does. `/readyz` and the log say so.

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

/// Everything that is watched.
const ROOT: &str = "/sockets/";
/// The total, as existing dashboards read it.
const TOTAL: &str = "/sockets/client_list_cnt";
/// What servers write begins with this.
const SERVERS: &str = "/sockets/presence/";

/// The part that awaits the first word from etcd.
pub(crate) const AWAITED: &str = watcher::PART;

/// How long a member has for an answer. All of three members can be asked before a lease runs out.
const ANSWER_LEAST: Duration = Duration::from_millis(500);
const ANSWER_MOST: Duration = Duration::from_secs(2);
/// How long giving the lease back may take at the end.
const FAREWELL: Duration = Duration::from_secs(1);

/// What makes the registrar look for something to write.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    notify: Notify,
    /// Write this server's key though nothing has changed.
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

/// Keeps etcd and the roster's view of the other servers up to date on a thread of its own. `told` gets the word that
/// etcd was reached or not.
///
/// # Errors
/// The thread or its runtime cannot be made.
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
            // If nobody takes it back, it runs out.
            let _ = tokio::time::timeout(FAREWELL, client.revoke(lease)).await;
        }
    })
}
