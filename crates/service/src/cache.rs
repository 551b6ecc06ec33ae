//! memcached, as services use it: every command has a deadline, and none waits for a server that is known to be
//! down.
//!
//! There may be several servers: all addresses of the hosts in the settings. Each key lives on one of them
//! ([`placement`]), so services that are given the same hosts find each other's keys, and a server that is down takes
//! its own keys with it and no others.
//!
//! A server is *up* or *down*. While it is down its commands fail at once, and a watcher ([`Cache::watch`]) tries to
//! reach it with jittered, doubling pauses of at most a second, looking the hosts up again each time. A command that
//! cannot reach the server marks it down. So a server that hangs costs one deadline, not one per command.

mod commands;
mod connection;
mod placement;
mod server;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use memcache::exp::{GetOptions, MetaCommand, ReturnCode, SetOptions, build_get, build_set};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, info, warn};

pub use self::commands::{Holder, Refusal};
#[doc(hidden)]
pub use self::connection::fuzz_reply;
use self::connection::{Failure, Reply};
use self::placement::Resolver;
use self::server::Server;
pub use self::settings::{CACHE_TIMEOUT, MEMCACHED_PORT, MEMCACHED_SERVICE, Settings};
use crate::backoff::Backoff;
use crate::readiness::Readiness;

/// Its name in `/readyz`.
pub const PART: &str = "cache";
/// How long one attempt to reach a server that is down may take.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);
const PROBE_PAUSE_LEAST: Duration = Duration::from_millis(50);
const PROBE_PAUSE_LONGEST: Duration = Duration::from_secs(1);
/// How often the hosts are looked up while all servers are up.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(30);

/// The cache is down or did not answer in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cache unavailable")]
pub struct Unavailable;

/// The contents of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    Nothing,
    Value(Vec<u8>),
    /// A value that is longer than any service sends back.
    TooLong,
}

type Servers = Arc<[Arc<Server>]>;

struct Inner {
    settings: Settings,
    readiness: Readiness,
    /// In the order that places keys; empty until the first lookup.
    servers: Mutex<Servers>,
    went_down: Notify,
}

/// A handle on the cache; clones share its connections.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

impl Cache {
    /// A cache that is down until [`Cache::watch`] has reached it. No I/O.
    pub fn new(settings: Settings, readiness: Readiness) -> Self {
        let servers = Mutex::new(Servers::default());
        Self(Arc::new(Inner { settings, readiness, servers, went_down: Notify::new() }))
    }

    /// Reads the value of `key`.
    ///
    /// # Errors
    /// The key's server is down or did not answer by `deadline`.
    pub async fn get(&self, key: &[u8], deadline: Instant) -> Result<Found, Unavailable> {
        let command = build_get(key, &GetOptions::default()).map_err(|_| Unavailable)?;
        match self.run(key, &command, deadline).await? {
            Reply::Value(value) => Ok(Found::Value(value)),
            Reply::ValueTooLong => Ok(Found::TooLong),
            Reply::Code(_) => Ok(Found::Nothing),
        }
    }

    /// Stores `value` under `key` for `ttl`, rounded down to seconds.
    ///
    /// # Errors
    /// The key's server is down, did not answer by `deadline`, or refused to store.
    pub async fn set(
        &self,
        key: &[u8],
        value: &[u8],
        ttl: Duration,
        deadline: Instant,
    ) -> Result<(), Unavailable> {
        let mut options = SetOptions::default();
        options.ttl = u32::try_from(ttl.as_secs()).ok();
        let command = build_set(key, value, &options).map_err(|_| Unavailable)?;
        match self.run(key, &command, deadline).await? {
            Reply::Code(ReturnCode::Hd) => Ok(()),
            _ => Err(Unavailable),
        }
    }

    async fn run(&self, key: &[u8], command: &MetaCommand, deadline: Instant) -> Result<Reply, Unavailable> {
        let servers = Arc::clone(&self.0.servers.lock());
        if servers.is_empty() {
            return Err(Unavailable);
        }
        let server = &servers[placement::place(key, servers.len())];
        let pool = server.pool().ok_or(Unavailable)?;
        let reason = match timeout_at(deadline, pool.run(command)).await {
            Ok(Ok(reply)) => return Ok(reply),
            Ok(Err(Failure::Refused(reason))) => {
                debug!(server = %server.address, reason, "cache refused a command");
                return Err(Unavailable);
            }
            Ok(Err(Failure::Broken(reason))) => reason,
            Err(_) => "no answer in time".into(),
        };
        server.lost(&pool);
        self.degraded(&format!("{}: {reason}", server.address));
        self.0.went_down.notify_one();
        Err(Unavailable)
    }

    fn degraded(&self, reason: &str) {
        if self.0.readiness.degrade(PART, reason) {
            warn!(servers = %self.0.settings, reason, "cache down");
        }
    }

    /// Keeps the cache up: connects to the servers now and whenever one went down. Calls `first_attempt` when the first
    /// attempt is over, however it ended. Never returns: run it as a task and drop it.
    pub async fn watch(self, first_attempt: impl FnOnce()) {
        let mut pause = Backoff::new(PROBE_PAUSE_LEAST, PROBE_PAUSE_LONGEST);
        let mut first_attempt = Some(first_attempt);
        let mut resolver = Resolver::default();
        loop {
            let outcome = self.reach(&mut resolver).await;
            match &outcome {
                Ok(()) => {
                    if self.0.readiness.restore(PART) {
                        info!(servers = %self.0.settings, "cache up");
                    }
                    pause.reset();
                }
                Err(reason) => self.degraded(reason),
            }
            if let Some(call) = first_attempt.take() {
                call();
            }
            let all_is_well =
                outcome.is_ok() && timeout(LOOKUP_INTERVAL, self.0.went_down.notified()).await.is_err();
            if !all_is_well {
                tokio::time::sleep(pause.wait()).await;
            }
        }
    }

    /// Resolves the servers and connects to those that are down.
    ///
    /// # Errors
    /// The problem, if not all of them are up now.
    async fn reach(&self, resolver: &mut Resolver) -> Result<(), String> {
        let known = Arc::clone(&self.0.servers.lock());
        let families = match resolver.resolve(&self.0.settings).await {
            Ok(families) => families,
            Err(reason) if known.is_empty() => return Err(reason),
            Err(reason) => {
                // The name service is down, but the servers may be up.
                debug!(reason, "cache servers not looked up");
                vec![known.iter().map(|server| server.address).collect()]
            }
        };
        let mut chosen: Option<(Servers, Vec<String>)> = None;
        for addresses in families {
            let servers: Servers =
                addresses.into_iter().map(|address| with_address(&known, address)).collect();
            let failures = reach_all(&servers).await;
            let any_is_up = failures.len() < servers.len();
            if any_is_up || chosen.is_none() {
                chosen = Some((servers, failures));
            }
            if any_is_up {
                break;
            }
        }
        let (servers, failures) = chosen.unwrap_or_default();
        let count = servers.len();
        *self.0.servers.lock() = servers;
        match &failures[..] {
            [] => Ok(()),
            [failure] if count == 1 => Err(failure.clone()),
            [failure, ..] => Err(format!("{} of {count} servers down: {failure}", failures.len())),
        }
    }
}

fn with_address(known: &Servers, address: std::net::SocketAddr) -> Arc<Server> {
    let found = known.iter().find(|server| server.address == address);
    found.map_or_else(|| Arc::new(Server::new(address)), Arc::clone)
}

/// Connects to the servers that are down, concurrently. Returns the failures, with addresses.
async fn reach_all(servers: &Servers) -> Vec<String> {
    let mut attempts = JoinSet::new();
    for server in servers.iter().filter(|server| server.pool().is_none()) {
        let server = Arc::clone(server);
        attempts.spawn(async move {
            let reason = match timeout(PROBE_TIMEOUT, server.reach()).await {
                Ok(Ok(())) => return None,
                Ok(Err(failure)) => failure.to_string(),
                Err(_) => "no answer in time".into(),
            };
            Some(format!("{}: {reason}", server.address))
        });
    }
    let mut failures: Vec<String> = attempts.join_all().await.into_iter().flatten().collect();
    failures.sort_unstable();
    failures
}
