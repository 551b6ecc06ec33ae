//! Sessions in Redis: `WsSession#{sessionId}` → `{"userId","sessionId","hostId"}`, kept alive by rewriting them.
//!
//! Redis is a copy of [`Sessions`]. Changes are batched, at most one batch every [`BATCH_EVERY`], and everything is
//! rewritten every `SESSION_REFRESH`, so ten thousand sessions cost a few dozen requests. A key lives for three
//! refreshes, so the keys of a killed instance vanish by themselves. After a failure everything is rewritten, and
//! sessions that ended meanwhile are removed: a Redis that comes back may have kept them.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use service::backoff::Backoff;
use service::redis::{self, Cmd, MultiplexedConnection, Pipeline, RedisResult};
use service::sessions::listed::{self, Listed};
use service::{Phase, Readiness, Shutdown};
use tokio::sync::Semaphore;
use tracing::{info, warn};

use crate::metrics::Metrics;
use crate::sessions::{Changes, KEY_PREFIX, Session, Sessions};

/// Prefix of the keys of refused users; the balancer counts them too.
const REFUSED: &str = "WsRefused#";
/// The part that `/readyz` reports as degraded while Redis is away.
pub(crate) const PART: &str = "redis";
/// How long changes are collected after a write, before the next one.
const BATCH_EVERY: Duration = Duration::from_millis(20);
/// Commands in one request.
const BATCH: usize = 500;
/// A key outlives two failed refreshes.
const REFRESHES_PER_LIFE: u32 = 3;
/// Maximum number of concurrent requests for the sessions of all instances; the rest wait. Each holds all of them in
/// memory.
const READS_AT_A_TIME: usize = 4;
/// How long removing the last sessions may take at shutdown.
const FAREWELL: Duration = Duration::from_secs(1);

/// A session as stored in Redis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    #[serde(rename = "userId")]
    pub(crate) user: String,
    #[serde(rename = "sessionId")]
    pub(crate) session: String,
    #[serde(rename = "hostId")]
    pub(crate) host: String,
}

/// Copies the sessions of this instance to Redis, and reads those of all instances.
#[derive(Debug)]
pub(crate) struct Store {
    settings: redis::Settings,
    host_id: String,
    refresh: Duration,
    /// How long a refused user counts: until one and a half times the delay, when they should be back, and as long
    /// again.
    refused_for_ms: u64,
    sessions: Arc<Sessions>,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    reads: Semaphore,
    /// Present while Redis is reachable.
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl Store {
    pub(crate) fn new(
        settings: redis::Settings,
        host_id: String,
        (refresh, retry_after): (Duration, Duration),
        sessions: Arc<Sessions>,
        metrics: Arc<Metrics>,
        readiness: Readiness,
    ) -> Self {
        let reads = Semaphore::new(READS_AT_A_TIME);
        let refused_for_ms = (retry_after.as_millis() as u64).saturating_mul(3).max(1000);
        Self {
            settings,
            host_id,
            refresh,
            refused_for_ms,
            sessions,
            metrics,
            readiness,
            reads,
            connection: Mutex::new(None),
        }
    }

    /// Keeps Redis up to date until `gone` says that no session is left, and then removes the last ones. Finishes a
    /// write that has started, since its effect would otherwise be unknown.
    pub(crate) async fn mirror(&self, shutdown: &Shutdown, gone: impl Future<Output = ()>) {
        let ended = async {
            tokio::select! {
                () = gone => {}
                () = shutdown.reached(Phase::Forced) => {}
            }
        };
        let mut ended = std::pin::pin!(ended);
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            let connected = tokio::select! {
                connected = redis::connect(&self.settings) => connected,
                () = &mut ended => return,
            };
            let failure = match connected {
                Ok(connection) => match self.mirror_over(connection, &mut backoff, ended.as_mut()).await {
                    Ok(()) => return,
                    Err(error) => error,
                },
                Err(error) => error,
            };
            *self.connection.lock() = None;
            self.metrics.redis_failures.inc();
            let reason = format!("Redis at {}: {failure}", self.settings);
            if self.readiness.degrade(PART, &reason) {
                warn!(redis = %self.settings, error = %failure, "cannot write sessions to Redis");
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.wait()) => {}
                () = &mut ended => return,
            }
        }
    }

    /// Writes until something fails, or all sessions have ended.
    async fn mirror_over(
        &self,
        mut connection: MultiplexedConnection,
        backoff: &mut Backoff,
        mut ended: Pin<&mut impl Future<Output = ()>>,
    ) -> RedisResult<()> {
        let mut refresh = tokio::time::interval(self.refresh);
        refresh.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut pace = tokio::time::interval(BATCH_EVERY);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // The first tick comes at once.
            let changes = tokio::select! {
                _ = refresh.tick() => {
                    let mut changes = self.sessions.take_changes();
                    changes.added = self.sessions.all();
                    changes
                }
                () = self.sessions.changed() => {
                    // At once after a pause: who opens one session looks for it next.
                    pace.tick().await;
                    self.sessions.take_changes()
                }
                () = &mut ended => {
                    let changes = self.sessions.take_changes();
                    // Remaining ones expire by themselves.
                    let _ = tokio::time::timeout(FAREWELL, self.write(&mut connection, &changes)).await;
                    return Ok(());
                }
            };
            if let Err(error) = self.write(&mut connection, &changes).await {
                self.sessions.give_back(changes);
                return Err(error);
            }
            let mut shared = self.connection.lock();
            if shared.is_none() {
                *shared = Some(connection.clone());
                backoff.reset();
                if self.readiness.restore(PART) {
                    info!(redis = %self.settings, "writing sessions to Redis again");
                }
            }
        }
    }

    async fn write(&self, connection: &mut MultiplexedConnection, changes: &Changes) -> RedisResult<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let life_ms = (self.refresh * REFRESHES_PER_LIFE).as_millis() as u64;
        for part in changes.added.chunks(BATCH) {
            let mut batch = Pipeline::with_capacity(part.len());
            for session in part {
                batch
                    .cmd("SET")
                    .arg(key(&session.id))
                    .arg(self.value(session))
                    .arg("PX")
                    .arg(life_ms)
                    .ignore();
            }
            batch.query_async::<()>(connection).await?;
        }
        for part in changes.refused.chunks(BATCH) {
            let mut batch = Pipeline::with_capacity(part.len());
            for user in part {
                let key = format!("{REFUSED}{user}");
                batch.cmd("SET").arg(key).arg(&self.host_id).arg("PX").arg(self.refused_for_ms).ignore();
            }
            batch.query_async::<()>(connection).await?;
        }
        for part in changes.removed.chunks(BATCH) {
            let mut remove = Cmd::new();
            remove.arg("DEL").arg(part.iter().map(key).collect::<Vec<_>>());
            remove.query_async::<()>(connection).await?;
        }
        Ok(())
    }

    fn value(&self, session: &Session) -> String {
        let stored = Stored {
            user: session.user.to_string(),
            session: session.id.to_string(),
            host: self.host_id.clone(),
        };
        // A struct of strings always has a JSON form.
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// The sessions of all instances, in no particular order.
    ///
    /// # Errors
    /// Redis is away.
    pub(crate) async fn all(&self) -> Result<Vec<Stored>, String> {
        // Fails only if the semaphore is closed, which never happens.
        let _turn = self.reads.acquire().await.map_err(|error| error.to_string())?;
        let connection = self.connection.lock().clone();
        let Some(mut connection) = connection else {
            return Err(format!("Redis at {} is away", self.settings));
        };
        match listed::read(&mut connection, KEY_PREFIX).await {
            Ok(Listed { sessions, left_out }) => {
                self.metrics.left_out.note(&left_out);
                Ok(sessions.into_values().collect())
            }
            Err(error) => {
                self.metrics.redis_failures.inc();
                Err(format!("Redis at {}: {error}", self.settings))
            }
        }
    }
}

fn key(id: &uuid::Uuid) -> String {
    format!("{KEY_PREFIX}{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_the_form_existing_readers_expect() {
        let stored = Stored { user: "u".into(), session: "s".into(), host: "10.0.0.1".into() };
        let text = serde_json::to_string(&stored).unwrap();
        assert_eq!(text, r#"{"userId":"u","sessionId":"s","hostId":"10.0.0.1"}"#);
        // Fields of other writers do not matter.
        let more = r#"{"hostId":"10.0.0.1","sessionId":"s","userId":"u","since":7}"#;
        assert_eq!(serde_json::from_str::<Stored>(more).unwrap(), stored);
    }
}
