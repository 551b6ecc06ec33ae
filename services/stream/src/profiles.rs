//! Asks `profiles` whether a user and a profile belong together: `GET /profiles/{profileId}` lists the profile's users.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use service::Readiness;
use service::http::{self, Origin};
use service::readiness::State;
use tokio::sync::{Semaphore, oneshot};
use tracing::{info, warn};
use uuid::Uuid;

use crate::metrics::Metrics;

/// The part that `/readyz` reports as degraded while `profiles` does not answer.
pub(crate) const PART: &str = "profiles";
/// Maximum number of concurrent requests; the rest wait, within their own time limit.
const AT_A_TIME: usize = 64;
/// How often to check that `profiles` is reachable, and to retry until its first answer.
const CHECK_EVERY: Duration = Duration::from_secs(10);
const FIRST_CHECK_EVERY: Duration = Duration::from_millis(100);

/// The address of `profiles` and how to query it.
#[derive(Debug)]
pub(crate) struct Profiles {
    base: Origin,
    timeout: Duration,
    turns: Semaphore,
    metrics: Arc<Metrics>,
    readiness: Readiness,
}

/// The relevant part of a profile.
#[derive(Debug, Deserialize)]
struct Profile {
    #[serde(default)]
    users: Option<Vec<Uuid>>,
}

impl Profiles {
    pub(crate) fn new(base: Origin, timeout: Duration, metrics: Arc<Metrics>, readiness: Readiness) -> Self {
        Self { base, timeout, turns: Semaphore::new(AT_A_TIME), metrics, readiness }
    }

    /// Whether the profile has the user.
    ///
    /// # Errors
    /// The answer is unknown; says why.
    pub(crate) async fn are_bound(&self, user: Uuid, profile: Uuid) -> Result<bool, String> {
        let outcome = match tokio::time::timeout(self.timeout, self.ask(user, profile)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("{} did not answer within {:?}", self.base, self.timeout)),
        };
        match &outcome {
            Ok(_) => {
                if self.readiness.restore(PART) {
                    info!(profiles = %self.base, "profiles answers again");
                }
            }
            Err(error) => {
                self.metrics.profiles_failures.inc();
                // It may start later than this service; the caller decides how long to wait for it.
                if self.readiness.state() != State::Starting && self.readiness.degrade(PART, error) {
                    warn!(profiles = %self.base, %error, "no stream can be opened: profiles does not answer");
                }
            }
        }
        outcome
    }

    async fn ask(&self, user: Uuid, profile: Uuid) -> Result<bool, String> {
        // Fails only if the semaphore is closed, which never happens.
        let _turn = self.turns.acquire().await.map_err(|error| error.to_string())?;
        let url = self.base.at(format_args!("/profiles/{profile}")).map_err(|error| error.to_string())?;
        let answer = http::get(url.clone(), self.timeout).await.map_err(|error| error.to_string())?;
        match answer.status {
            200 => match serde_json::from_str::<Profile>(&answer.body) {
                Ok(profile) => Ok(profile.users.is_some_and(|users| users.contains(&user))),
                Err(error) => Err(format!("{url}: the answer is not a profile: {error}")),
            },
            404 => Ok(false),
            status => Err(format!("{url} answered {status}")),
        }
    }

    /// Checks forever whether it answers, for `/readyz`. Notifies `answered` the first time it does.
    pub(crate) async fn watch(&self, answered: oneshot::Sender<()>) {
        let mut answered = Some(answered);
        loop {
            // Nobody has the nil UUID. What matters is that there is an answer.
            if self.are_bound(Uuid::nil(), Uuid::nil()).await.is_ok()
                && let Some(answered) = answered.take()
            {
                // The receiver may be gone.
                let _ = answered.send(());
            }
            let is_first = answered.is_some();
            tokio::time::sleep(if is_first { FIRST_CHECK_EVERY } else { CHECK_EVERY }).await;
        }
    }
}
