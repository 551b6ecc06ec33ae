//! memcached, as services use it: every command has a deadline, and none waits for a server that is known to be
//! away.
//!
//! The cache is *up* or *down*. Down, commands fail at once, and a watcher ([`Cache::watch`]) tries to reach the
//! server with jittered, doubling pauses of at most a second, looking its name up anew each time. A command that
//! fails for want of the server makes it down. So a server that hangs costs one deadline, not one per command.
//!
//! Connections come from a small pool of the `memcache` crate's asynchronous client, which speaks the meta
//! protocol (memcached 1.6 or newer).

mod commands;
mod settings;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use memcache::exp::{AsyncMetaClient, Error as ClientError, MetaClientBuilder, MutationStatus, Ttl};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, info, warn};

pub use self::commands::{Holder, Refusal};
pub use self::settings::{CACHE_TIMEOUT, MEMCACHED_PORT, MEMCACHED_SERVICE, Settings};
use crate::backoff::Backoff;
use crate::readiness::Readiness;

/// Its name in `/readyz`.
pub const PART: &str = "cache";
/// Connections at a time; commands queue for them within their deadline.
const CONNECTIONS_MAX: usize = 8;
/// How long one attempt to reach a server that is down may take.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);
const PROBE_PAUSE_LEAST: Duration = Duration::from_millis(50);
const PROBE_PAUSE_LONGEST: Duration = Duration::from_secs(1);

/// The cache is down or did not answer in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cache unavailable")]
pub struct Unavailable;

struct Inner {
    settings: Settings,
    readiness: Readiness,
    /// The client while the cache is up.
    client: Mutex<Option<AsyncMetaClient>>,
    went_down: Notify,
}

/// A handle on the cache; clones share its connections.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

impl Cache {
    /// A cache that is down until [`Cache::watch`] has reached it. No I/O.
    pub fn new(settings: Settings, readiness: Readiness) -> Self {
        Self(Arc::new(Inner { settings, readiness, client: Mutex::new(None), went_down: Notify::new() }))
    }

    /// The value under `key`, `None` if there is none.
    ///
    /// # Errors
    /// The cache is down or did not answer by `deadline`.
    pub async fn get(&self, key: &[u8], deadline: Instant) -> Result<Option<Vec<u8>>, Unavailable> {
        let client = self.client()?;
        let result = timeout_at(deadline, client.get(key).send()).await;
        self.settle(result).map(|found| found.value)
    }

    /// Stores `value` under `key` for `ttl`.
    ///
    /// # Errors
    /// The cache is down, did not answer by `deadline`, or refused to store.
    pub async fn set(
        &self,
        key: &[u8],
        value: &[u8],
        ttl: Duration,
        deadline: Instant,
    ) -> Result<(), Unavailable> {
        let client = self.client()?;
        let result = timeout_at(deadline, client.set(key, value).ttl(Ttl::from(ttl)).send()).await;
        match self.settle(result)?.status {
            MutationStatus::Applied => Ok(()),
            _ => Err(Unavailable),
        }
    }

    fn client(&self) -> Result<AsyncMetaClient, Unavailable> {
        self.0.client.lock().clone().ok_or(Unavailable)
    }

    fn settle<T>(
        &self,
        result: Result<Result<T, ClientError>, tokio::time::error::Elapsed>,
    ) -> Result<T, Unavailable> {
        match result {
            Ok(Ok(value)) => Ok(value),
            // The server is there and says no to this one command: out of memory, most likely.
            Ok(Err(ClientError::Server(reason) | ClientError::Rejected(reason))) => {
                debug!(reason, "cache refused a command");
                Err(Unavailable)
            }
            Ok(Err(error)) => {
                self.down(&error.to_string());
                Err(Unavailable)
            }
            Err(_) => {
                self.down("no answer in time");
                Err(Unavailable)
            }
        }
    }

    fn down(&self, reason: &str) {
        *self.0.client.lock() = None;
        if self.0.readiness.degrade(PART, reason) {
            warn!(server = %self.0.settings, reason, "cache down");
        }
        self.0.went_down.notify_one();
    }

    /// Keeps the cache up: reaches the server now and whenever it went down. `first_attempt` is told when the
    /// first attempt is over, however it ended. Never returns; to be run as a task and dropped.
    pub async fn watch(self, first_attempt: impl FnOnce()) {
        let mut pause = Backoff::new(PROBE_PAUSE_LEAST, PROBE_PAUSE_LONGEST);
        let mut first_attempt = Some(first_attempt);
        loop {
            match self.reach().await {
                Ok(client) => {
                    *self.0.client.lock() = Some(client);
                    if self.0.readiness.restore(PART) {
                        info!(server = %self.0.settings, "cache up");
                    }
                    pause.reset();
                    if let Some(told) = first_attempt.take() {
                        told();
                    }
                    self.0.went_down.notified().await;
                }
                Err(reason) => {
                    if self.0.readiness.degrade(PART, reason.as_str()) {
                        warn!(server = %self.0.settings, reason, "cache down");
                    }
                    if let Some(told) = first_attempt.take() {
                        told();
                    }
                }
            }
            tokio::time::sleep(pause.wait()).await;
        }
    }

    /// A client that has had an answer from the server.
    async fn reach(&self) -> Result<AsyncMetaClient, String> {
        let attempt = async {
            let server = (self.0.settings.host.as_str(), self.0.settings.port);
            let addresses = tokio::net::lookup_host(server).await.map_err(|error| error.to_string())?;
            let mut refused = "its name has no address".to_owned();
            for address in addresses {
                match reach_address(address).await {
                    Ok(client) => return Ok(client),
                    Err(error) => refused = format!("{address}: {error}"),
                }
            }
            Err(refused)
        };
        timeout(PROBE_TIMEOUT, attempt).await.unwrap_or_else(|_| Err("no answer in time".into()))
    }
}

async fn reach_address(address: SocketAddr) -> Result<AsyncMetaClient, ClientError> {
    let client = MetaClientBuilder::new()
        .max_idle(CONNECTIONS_MAX)
        .max_connections(Some(CONNECTIONS_MAX))
        // Deadlines are the callers'.
        .connect_timeout(None)
        .io_timeout(None)
        .connect_async(address.to_string())
        .await?;
    client.noop().await?;
    Ok(client)
}
