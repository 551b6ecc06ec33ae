//! Keeps the view of the other servers up to date.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use service::Readiness;
use service::backoff::Backoff;
use service::etcd::{Client, Error, Watch};
use tokio::sync::oneshot;
use tokio::time::{sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::others::{Consequences, LeftOut, TooMany};
use super::{Others, ROOT, View, Wake};
use crate::metrics::Metrics;
use crate::roster::Roster;

/// The part that `/readyz` reports as degraded while other servers' clients are unknown.
pub(super) const PART: &str = "presence of others";
/// Delays after a failure.
const WAIT_LEAST: Duration = Duration::from_millis(100);
const WAIT_MOST: Duration = Duration::from_secs(1);

pub(super) struct Watcher {
    pub(super) client: Client,
    pub(super) lease_ttl: Duration,
    pub(super) roster: Arc<Roster>,
    pub(super) others: Arc<Others>,
    pub(super) wake: Arc<Wake>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) readiness: Readiness,
    /// Whether left-out keys, and left-out chunks, have been logged.
    pub(super) told: [AtomicBool; 2],
}

impl From<TooMany> for Error {
    fn from(_: TooMany) -> Self {
        Self::TooMuch(format!("more clients or keys under {ROOT} than a server holds"))
    }
}

impl Watcher {
    /// Lists and watches, again whenever the watch ends. Never returns; reports once whether etcd was reached.
    pub(super) async fn run(&self, told: oneshot::Sender<()>) {
        let mut told = Some(told);
        let mut backoff = Backoff::new(WAIT_LEAST, WAIT_MOST);
        let mut known_at: Option<Instant> = None;
        loop {
            let opened = tokio::select! {
                opened = self.open() => opened,
                never = self.forget_in_time(known_at) => never,
            };
            if let Some(told) = told.take() {
                // The receiver may be gone.
                let _ = told.send(());
            }
            let error = match opened {
                Ok(watch) => {
                    backoff.reset();
                    if self.readiness.restore(PART) {
                        info!("the clients of all servers are known again");
                    }
                    let (error, known_until) = self.follow(watch).await;
                    known_at = Some(known_until);
                    debug!(%error, "the watch has ended");
                    error
                }
                Err(error) => {
                    self.failed(&error);
                    error
                }
            };
            if matches!(error, Error::TooMuch(_)) {
                self.others.forget();
                self.failed(&error);
            }
            sleep(backoff.wait()).await;
        }
    }

    /// Drops the view once it is older than a lease: until then it may be right.
    async fn forget_in_time<T>(&self, known_at: Option<Instant>) -> T {
        if let Some(known_at) = known_at {
            sleep_until((known_at + self.lease_ttl).into()).await;
            self.others.forget();
            self.metrics.presence_servers.set(0);
        }
        std::future::pending().await
    }

    async fn open(&self) -> Result<Watch, Error> {
        let list = self.client.list(ROOT.as_bytes()).await?;
        let next = list.revision + 1;
        let consequences = self.others.replace(list)?;
        self.follow_up(&consequences);
        self.client.watch(ROOT.as_bytes(), next).await
    }

    /// Applies changes until the watch ends. Returns why it ended, and until when it was certainly up to date.
    async fn follow(&self, mut watch: Watch) -> (Error, Instant) {
        // A member that is cut off is as silent as one without news. So this server writes something, and sees it if
        // the watch is alive. The first server to do so spares the others the same.
        let mut asked = false;
        let mut heard = clock::now();
        loop {
            let patience = self.lease_ttl.mul_f64(rand::random_range(0.4..0.6));
            match timeout(patience, watch.next()).await {
                Ok(Ok(batch)) => {
                    asked = false;
                    heard = clock::now();
                    match self.others.apply(batch.changes) {
                        Ok(consequences) => self.follow_up(&consequences),
                        Err(error) => return (error.into(), heard),
                    }
                }
                Ok(Err(error)) => return (error, clock::now()),
                Err(_) if asked => {
                    return (Error::Away("the watch does not show a write".into()), heard);
                }
                Err(_) => {
                    asked = true;
                    self.wake.touch();
                }
            }
        }
    }

    fn follow_up(&self, consequences: &Consequences) {
        if consequences.own_is_gone {
            self.roster.mark_all();
            self.wake.touch();
        }
        self.note(&consequences.left_out);
        self.metrics.presence_servers.set(self.others.look(|view| view.map_or(0, View::servers)) as i64);
        if self.others.total_due(self.roster.len()).is_some() {
            self.wake.wake();
        }
    }

    /// Counts left-out entries; logs the first of each kind.
    fn note(&self, left_out: &LeftOut) {
        let LeftOut { keys, chunks } = left_out;
        let kinds = [
            (keys, "a key in etcd does not belong to a server: it is ignored, like all others of this kind"),
            (chunks, "clients in etcd are in another format: they are ignored, like all others of this kind"),
        ];
        for (index, ((count, first), words)) in kinds.into_iter().enumerate() {
            self.metrics.presence_left_out[index].inc_by(*count);
            if let Some(key) = first
                && !self.told[index].swap(true, Ordering::Relaxed)
            {
                warn!(key, "{words}");
            }
        }
    }

    fn failed(&self, error: &Error) {
        self.metrics.presence_failures.inc();
        let known = self.others.look(|view| view.is_some());
        let speaks = if known { "for other servers as they last were" } else { "for this server alone" };
        if self.readiness.degrade(PART, format!("etcd: {error}; WHO speaks {speaks}")) {
            warn!(%error, "other servers' clients are unknown: WHO will speak for this server alone");
        }
    }
}
