//! Locks and sessions in Redis: `userId:profileId` → the session that has the pair, and `SseSession#{sessionId}` →
//! `{"userId","sessionId","hostId"}`.
//!
//! * A lock is acquired by `SET … NX` with a TTL, and ends when Redis says so. Its TTL is refreshed while its stream is
//!   open, for all locks of a replica in one batch, and only if it still has its owner's value
//!   ([`service::redis::owned`]): if another owner has it, the stream ends.
//! * If Redis has not confirmed a lock for most of its TTL, the replica ends the stream, because it might be open
//!   elsewhere by now. When a connection breaks, all locks are checked as soon as Redis is back.
//! * A departing client leaves its lock to expire. A stream that the server ends frees its pair, since the client
//!   should come back at once.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use service::backoff::Backoff;
use service::redis::{self, Cmd, MultiplexedConnection, Pipeline, RedisResult, owned};
use service::web::Reset;
use service::{Phase, Readiness, Shutdown};
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};
use tracing::{info, warn};
use uuid::Uuid;

use crate::metrics::Metrics;
use crate::streams::{Order, Stream, Streams};

/// Prefix of the sessions' keys. The balancer relies on it.
const SESSION: &str = "SseSession#";
/// The part that `/readyz` reports as degraded while Redis is away.
pub(crate) const PART: &str = "redis";
/// How long changes are collected before they are written.
const BATCH_EVERY: Duration = Duration::from_millis(20);
/// Commands in one request.
const BATCH: usize = 500;
/// A session's key outlives two failed refreshes.
const REFRESHES_PER_SESSION: u32 = 3;
/// Maximum number of changes that wait for Redis; the keys of further ones expire by themselves.
const CHANGES_MAX: usize = 20_000;
/// Time limit for removing the last keys at shutdown.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long locks live, and how they end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) life: Duration,
    pub(crate) refresh: Duration,
    /// Whether a departing client frees its pair.
    pub(crate) release: bool,
}

impl Terms {
    /// How long a lock is certainly ours, counted from the request to Redis: less than its TTL, to allow for the time
    /// between two clock readings and for clocks of different speed.
    fn certain_for(self) -> Duration {
        self.life * 5 / 6
    }
}

/// Changes since the last write to Redis.
#[derive(Debug, Default)]
struct Changes {
    opened: Vec<Arc<Stream>>,
    ended: Vec<Arc<Stream>>,
    released: Vec<Arc<Stream>>,
}

/// The locks and sessions of this replica.
#[derive(Debug)]
pub(crate) struct Locks {
    settings: redis::Settings,
    host_id: String,
    terms: Terms,
    streams: Arc<Streams>,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    /// Present while Redis is reachable.
    connection: Mutex<Option<MultiplexedConnection>>,
    changes: Mutex<Changes>,
    /// Whether the connection may be broken.
    is_in_doubt: AtomicBool,
    wake: Notify,
}

/// An acquired lock. Dropping it means that its stream has ended.
#[derive(Debug)]
pub(crate) struct Held {
    stream: Arc<Stream>,
    locks: Arc<Locks>,
    releases: bool,
    _place: OwnedSemaphorePermit,
}

impl Held {
    pub(crate) fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Frees the pair as soon as the stream has ended.
    pub(crate) fn release_at_end(&mut self) {
        self.releases = true;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.locks.note(|changes| {
            changes.ended.push(Arc::clone(&self.stream));
            if self.releases {
                changes.released.push(Arc::clone(&self.stream));
            }
        });
    }
}

impl Locks {
    pub(crate) fn new(
        settings: redis::Settings,
        host_id: String,
        terms: Terms,
        streams: Arc<Streams>,
        metrics: Arc<Metrics>,
        readiness: Readiness,
    ) -> Self {
        Self {
            settings,
            host_id,
            terms,
            streams,
            metrics,
            readiness,
            connection: Mutex::new(None),
            changes: Mutex::default(),
            is_in_doubt: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    /// Tries to acquire the lock of a pair for a new stream; `None`: somebody else has it. The place goes with the
    /// lock.
    ///
    /// # Errors
    /// Redis is away.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        (user, profile): (Uuid, Uuid),
        place: OwnedSemaphorePermit,
        reset: Reset,
    ) -> Result<Option<Held>, String> {
        let locks = Arc::clone(self);
        // A client that leaves meanwhile cancels the caller, but an acquired lock must be tracked nevertheless.
        let acquiring = tokio::spawn(async move { locks.win(user, profile, place, reset).await });
        acquiring.await.map_err(|error| error.to_string())?
    }

    async fn win(
        self: Arc<Self>,
        user: Uuid,
        profile: Uuid,
        place: OwnedSemaphorePermit,
        reset: Reset,
    ) -> Result<Option<Held>, String> {
        let connection = self.connection.lock().clone();
        let Some(mut connection) = connection else {
            return Err(format!("Redis at {} is away", self.settings));
        };
        let (id, pair) = (Uuid::new_v4().to_string(), format!("{user}:{profile}"));
        let asked = clock::runtime_now();
        let mut set = Cmd::new();
        set.arg("SET").arg(&pair).arg(&id).arg("NX").arg("PX").arg(self.terms.life.as_millis() as u64);
        match set.query_async::<Option<String>>(&mut connection).await {
            Ok(Some(_)) => {
                let stream = Stream::new(id, user, pair, reset, asked, self.terms.certain_for());
                let releases = self.terms.release;
                Ok(Some(Held { stream: Arc::new(stream), locks: self, releases, _place: place }))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                self.metrics.redis_failures.inc();
                self.is_interrupted();
                Err(format!("Redis at {}: {error}", self.settings))
            }
        }
    }

    /// Notes that a stream has started.
    pub(crate) fn is_open(&self, stream: &Arc<Stream>) {
        self.note(|changes| changes.opened.push(Arc::clone(stream)));
    }

    /// Notes that a connection to Redis broke, perhaps all of them.
    pub(crate) fn is_interrupted(&self) {
        self.is_in_doubt.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    fn note(&self, change: impl FnOnce(&mut Changes)) {
        let mut changes = self.changes.lock();
        if changes.opened.len() + changes.ended.len() < CHANGES_MAX {
            change(&mut changes);
        }
        drop(changes);
        self.wake.notify_one();
    }

    /// Keeps locks and sessions alive until `gone` says that no stream is left, and then removes the last ones.
    /// Notifies `tried` when the first attempt to reach Redis has succeeded or failed.
    pub(crate) async fn keep(
        &self,
        shutdown: &Shutdown,
        tried: oneshot::Sender<()>,
        gone: impl Future<Output = ()>,
    ) {
        let mut tried = Some(tried);
        let ended = async {
            tokio::select! {
                () = gone => {}
                () = shutdown.reached(Phase::Forced) => {}
            }
        };
        let mut ended = std::pin::pin!(ended);
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            let connecting = async {
                // The second is for watching keys, which is a property of a connection.
                Ok((redis::connect(&self.settings).await?, redis::connect(&self.settings).await?))
            };
            let connected: RedisResult<_> = tokio::select! {
                connected = connecting => connected,
                () = &mut ended => return,
            };
            let failure = match connected {
                Ok(connections) => {
                    let reached = || _ = tried.take().map(|tried| tried.send(()));
                    let kept = self.keep_over(connections, &mut backoff, reached, ended.as_mut()).await;
                    match kept {
                        Ok(()) => return,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            *self.connection.lock() = None;
            self.metrics.redis_failures.inc();
            let reason = format!("Redis at {}: {failure}", self.settings);
            if self.readiness.degrade(PART, &reason) {
                warn!(redis = %self.settings, error = %failure, "no stream can be opened: Redis does not answer");
            }
            // The receiver may be gone.
            let _ = tried.take().map(|tried| tried.send(()));
            tokio::select! {
                () = tokio::time::sleep(backoff.wait()) => {}
                () = &mut ended => return,
            }
        }
    }

    /// Runs until something fails, or all streams have ended.
    async fn keep_over(
        &self,
        (mut connection, mut watching): (MultiplexedConnection, MultiplexedConnection),
        backoff: &mut Backoff,
        mut reached: impl FnMut(),
        mut ended: Pin<&mut impl Future<Output = ()>>,
    ) -> RedisResult<()> {
        let mut refresh = tokio::time::interval(self.terms.refresh);
        refresh.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // The first tick comes at once.
                _ = refresh.tick() => self.refresh(&mut connection, &mut watching).await?,
                () = self.wake.notified() => {
                    tokio::time::sleep(BATCH_EVERY).await;
                    if self.is_in_doubt.swap(false, Ordering::Relaxed) {
                        self.refresh(&mut connection, &mut watching).await?;
                    }
                }
                () = &mut ended => {
                    // Remaining ones expire by themselves.
                    let last = self.write_changes(&mut connection, &mut watching);
                    let _ = tokio::time::timeout(FAREWELL, last).await;
                    return Ok(());
                }
            }
            self.write_changes(&mut connection, &mut watching).await?;
            let mut shared = self.connection.lock();
            if shared.is_none() {
                *shared = Some(connection.clone());
                backoff.reset();
                reached();
                if self.readiness.restore(PART) {
                    info!(redis = %self.settings, "Redis answers again");
                }
            }
        }
    }

    /// Refreshes all locks and sessions, and ends streams that have lost their locks.
    async fn refresh(
        &self,
        connection: &mut MultiplexedConnection,
        watching: &mut MultiplexedConnection,
    ) -> RedisResult<()> {
        for each in [&mut *connection, &mut *watching] {
            let mut ping = Cmd::new();
            ping.arg("PING").query_async::<()>(each).await?;
        }
        let streams = self.streams.all();
        for part in streams.chunks(BATCH) {
            let keys: Vec<owned::Owned<'_>> =
                part.iter().map(|stream| (stream.pair.as_str(), stream.id.as_str())).collect();
            let asked = clock::runtime_now();
            let extended = owned::extend(watching, &keys, self.terms.life).await?;
            for (stream, is_ours) in part.iter().zip(extended) {
                if is_ours {
                    stream.is_confirmed(asked, self.terms.certain_for());
                } else if stream.end(Order::LockLost, asked) {
                    warn!(pair = %stream.pair, session = %stream.id, "the lock is lost");
                }
            }
            self.write_sessions(connection, part).await?;
        }
        Ok(())
    }

    async fn write_changes(
        &self,
        connection: &mut MultiplexedConnection,
        watching: &mut MultiplexedConnection,
    ) -> RedisResult<()> {
        let Changes { opened, ended, released } = std::mem::take(&mut *self.changes.lock());
        for part in opened.chunks(BATCH) {
            self.write_sessions(connection, part).await?;
        }
        // In this order, so that sessions that came and went in between are removed.
        for part in ended.chunks(BATCH) {
            let mut remove = Cmd::new();
            remove.arg("DEL").arg(part.iter().map(|stream| session_key(stream)).collect::<Vec<_>>());
            remove.query_async::<()>(connection).await?;
        }
        let keys: Vec<owned::Owned<'_>> =
            released.iter().map(|stream| (stream.pair.as_str(), stream.id.as_str())).collect();
        owned::remove(watching, &keys).await.map(drop)
    }

    async fn write_sessions(
        &self,
        connection: &mut MultiplexedConnection,
        streams: &[Arc<Stream>],
    ) -> RedisResult<()> {
        let life_ms = (self.terms.refresh * REFRESHES_PER_SESSION).as_millis() as u64;
        let mut batch = Pipeline::with_capacity(streams.len());
        for stream in streams {
            let key = session_key(stream);
            batch.cmd("SET").arg(key).arg(session(stream, &self.host_id)).arg("PX").arg(life_ms).ignore();
        }
        batch.query_async::<()>(connection).await
    }
}

fn session_key(stream: &Stream) -> String {
    format!("{SESSION}{}", stream.id)
}

/// A session as stored in Redis.
#[derive(Serialize)]
struct Session<'a> {
    #[serde(rename = "userId")]
    user: String,
    #[serde(rename = "sessionId")]
    id: &'a str,
    #[serde(rename = "hostId")]
    host: &'a str,
}

fn session(stream: &Stream, host: &str) -> String {
    let session = Session { user: stream.user.to_string(), id: &stream.id, host };
    // A struct of strings always has a JSON form.
    serde_json::to_string(&session).unwrap_or_default()
}
