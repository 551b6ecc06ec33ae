//! Which profiles are open: those whose lock is in Redis.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use service::Readiness;
use service::redis::{self, Cmd, MultiplexedConnection, Pipeline, RedisResult, Settings};
use tracing::{info, warn};
use uuid::Uuid;

use crate::metrics::Metrics;

/// The part that `/readyz` calls degraded while Redis is away.
const PART: &str = "redis";
/// Locks asked for in one request.
const BATCH: usize = 500;
/// How often it is asked whether it is there.
const CHECK_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Opened {
    settings: Settings,
    /// While it works; clones share it.
    connection: Mutex<Option<MultiplexedConnection>>,
    metrics: Arc<Metrics>,
    readiness: Readiness,
}

impl Opened {
    pub(crate) fn new(settings: Settings, metrics: Arc<Metrics>, readiness: Readiness) -> Self {
        Self { settings, connection: Mutex::new(None), metrics, readiness }
    }

    /// Asks again and again whether Redis is there, for ever.
    pub(crate) async fn watch(&self) {
        loop {
            let ping = async |mut connection: MultiplexedConnection| {
                Cmd::new().arg("PING").query_async::<()>(&mut connection).await
            };
            // The outcome is noted on the way.
            let _ = self.ask(ping).await;
            tokio::time::sleep(CHECK_EVERY).await;
        }
    }

    /// The profiles among these that the user has open, in their order.
    ///
    /// # Errors
    /// Redis is away, for the reason.
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
                    info!(redis = %self.settings, "Redis is there again");
                }
                Ok(answer)
            }
            Err(error) => {
                // The next question makes another one.
                *self.connection.lock() = None;
                self.metrics.redis_failures.inc();
                let reason = format!("Redis at {}: {error}", self.settings);
                if self.readiness.degrade(PART, &reason) {
                    warn!(%reason, "Redis is away");
                }
                Err(reason)
            }
        }
    }
}
