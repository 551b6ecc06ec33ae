//! Which profiles are open: those whose lock is in Redis.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use service::Readiness;
use service::readiness::State;
use service::redis::{self, Cmd, MultiplexedConnection, Pipeline, RedisResult, Settings};
use tokio::sync::oneshot;
use tracing::{info, warn};
use uuid::Uuid;

use crate::metrics::Metrics;

/// The part that `/readyz` reports as degraded while Redis is away.
pub(crate) const PART: &str = "redis";
/// Locks queried per request.
const BATCH: usize = 500;
/// How often to check that Redis is reachable, and to retry until its first answer.
const CHECK_EVERY: Duration = Duration::from_secs(2);
const FIRST_CHECK_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Opened {
    settings: Settings,
    /// Present while it works; clones share it.
    connection: Mutex<Option<MultiplexedConnection>>,
    metrics: Arc<Metrics>,
    readiness: Readiness,
}

impl Opened {
    pub(crate) fn new(settings: Settings, metrics: Arc<Metrics>, readiness: Readiness) -> Self {
        Self { settings, connection: Mutex::new(None), metrics, readiness }
    }

    /// Checks forever whether Redis is reachable. Notifies `answered` the first time it is.
    pub(crate) async fn watch(&self, answered: oneshot::Sender<()>) {
        let mut answered = Some(answered);
        loop {
            let ping = async |mut connection: MultiplexedConnection| {
                Cmd::new().arg("PING").query_async::<()>(&mut connection).await
            };
            // `ask` notes a failure.
            if self.ask(ping).await.is_ok()
                && let Some(answered) = answered.take()
            {
                // The receiver may be gone.
                let _ = answered.send(());
            }
            let is_first = answered.is_some();
            tokio::time::sleep(if is_first { FIRST_CHECK_EVERY } else { CHECK_EVERY }).await;
        }
    }

    /// The given profiles that the user has open, in the given order.
    ///
    /// # Errors
    /// Redis is away; says why.
    pub(crate) async fn of(&self, user: Uuid, profiles: &[Uuid]) -> Result<Vec<Uuid>, String> {
        self.ask(async |mut connection| {
            let mut open = Vec::new();
            for some in profiles.chunks(BATCH) {
                let mut asked = Pipeline::with_capacity(some.len());
                for profile in some {
                    asked.cmd("EXISTS").arg(format!("{user}:{profile}"));
                }
                let locked: Vec<bool> = asked.query_async(&mut connection).await?;
                open.extend(some.iter().zip(locked).filter(|(_, locked)| *locked).map(|(id, _)| *id));
            }
            Ok(open)
        })
        .await
    }

    async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<T, String> {
        let answer = async {
            let present = self.connection.lock().clone();
            let connection = if let Some(connection) = present {
                connection
            } else {
                let made = redis::connect(&self.settings).await?;
                self.connection.lock().insert(made).clone()
            };
            question(connection).await
        };
        match answer.await {
            Ok(answer) => {
                if self.readiness.restore(PART) {
                    info!(redis = %self.settings, "Redis is available again");
                }
                Ok(answer)
            }
            Err(error) => {
                // The next query opens another one.
                *self.connection.lock() = None;
                self.metrics.redis_failures.inc();
                let reason = format!("Redis at {}: {error}", self.settings);
                // Redis may start later than this service; the caller decides how long to wait for it.
                if self.readiness.state() != State::Starting && self.readiness.degrade(PART, &reason) {
                    warn!(%reason, "Redis is away");
                }
                Err(reason)
            }
        }
    }
}
