//! Starts, runs and drains a server.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use rand::seq::SliceRandom;
use service::admin::Pages;
use service::logs::{self, LogLines};
use service::sessions::{host_id, orders};
use service::{Phase, Readiness, Shutdown, listen, web};
use tracing::{info, warn};
use uuid::Uuid;

use crate::Error;
use crate::accept_rate::AcceptRate;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::routes::{self, App};
use crate::session::Rules;
use crate::sessions::{Sessions, shut_down};
use crate::settings::Settings;
use crate::store::Store;

/// Connections in addition to those of sessions: health checks, requests, clients waiting for their turn.
const OTHER_CONNECTIONS_MAX: usize = 4096;
/// How often to look for silent peers, and for remaining sessions during a drain.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// The channel of the balancer's orders.
const CHANNEL: &str = "drop-persistent-sessions";
/// Steps in which a drain asks its sessions to leave.
const DRAIN_STEP: Duration = Duration::from_millis(50);

/// A bound server: clients can connect and wait for [`Server::run`] to serve them.
pub struct Server {
    bound: web::Bound,
    app: Arc<App>,
    settings: Settings,
    lines: LogLines,
    shutdown: Shutdown,
}

impl Server {
    /// Binds the service's port and the admin port. Neither Redis nor Kafka needs to be reachable.
    ///
    /// # Errors
    /// Why it cannot start: see [`Error`].
    pub fn bind(settings: Settings, shutdown: Shutdown) -> Result<Self, Error> {
        let listeners =
            web::Listeners::bind((settings.host, settings.port), (settings.admin_host, settings.admin_port))?;
        listen::bound_buffers(listeners.clients()).map_err(Error::Listen)?;

        let readiness = Readiness::new();
        let mut registry = Registry::default();
        let sessions = Arc::new(Sessions::new(settings.sessions_max.get()));
        let metrics = Arc::new(Metrics::register(&mut registry, &sessions));
        let pod = logs::pod_name(settings.pod_name.as_deref());
        let server_id = Uuid::new_v4().to_string();
        let pages = Pages::new(readiness.clone(), registry).with_info("ws", &pod, Some(&server_id));
        let shed_by = Arc::clone(&sessions);
        let pages = pages.with_shed(settings.shed_token.clone(), move |count| {
            std::future::ready(shed_by.shed(usize::try_from(count).unwrap_or(usize::MAX)) as u64)
        });
        let bound = listeners.start(readiness.clone(), pages, settings.workers.get())?;
        let inside = bound.enter();
        let host_id = host_id::resolve(settings.host_id.as_deref(), settings.host, &settings.redis);
        let lines = LogLines::new(settings.kafka.as_ref(), &pod)?;
        let store = Arc::new(Store::new(
            settings.redis.clone(),
            host_id.clone(),
            (settings.session_refresh, settings.retry_after),
            Arc::clone(&sessions),
            Arc::clone(&metrics),
            readiness.clone(),
        ));
        info!(%pod, server = %server_id, %host_id, address = %bound.address(), admin = %bound.admin_address(), redis = %settings.redis, "started");
        let rules = Rules { clock: Clock::start(), write_timeout: settings.write_timeout, retry_after: None };
        let app = Arc::new(App {
            host_id,
            message_bytes_max: settings.message_bytes_max,
            retry_after: settings.retry_after,
            rules,
            accept_rate: AcceptRate::new(settings.accept_rate, settings.accept_wait),
            sessions,
            store,
            metrics,
        });
        drop(inside);
        Ok(Self { bound, app, settings, lines, shutdown })
    }

    /// Its ports, and the state that `/readyz` reports.
    pub fn bound(&self) -> &web::Bound {
        &self.bound
    }

    /// Serves until the shutdown is complete.
    ///
    /// # Errors
    /// The listener cannot be used.
    pub fn run(self) -> Result<(), Error> {
        let Self { bound, app, settings, lines, shutdown } = self;
        let readiness = bound.readiness().clone();
        let connections_max = settings.sessions_max.get().saturating_add(OTHER_CONNECTIONS_MAX);
        let work = async |listener| {
            let (end, ended) = tokio::sync::watch::channel(false);
            let accepting =
                tokio::spawn(web::serve(listener, routes::router(Arc::clone(&app)), connections_max));
            let mirror = tokio::spawn({
                let (app, shutdown, ended) = (Arc::clone(&app), shutdown.clone(), ended.clone());
                async move { app.store.mirror(&shutdown, until(ended)).await }
            });
            let orders = tokio::spawn({
                let (app, readiness, redis) = (Arc::clone(&app), readiness.clone(), settings.redis.clone());
                let source = orders::Source { redis, channel: CHANNEL, host_id: app.host_id.clone() };
                async move { orders::obey(&source, &readiness, |count| app.sessions.shed(count), || {}).await }
            });
            let peers = tokio::spawn(check_peers(Arc::clone(&app), settings.ping_interval));
            readiness.ready();
            info!("ready");

            shutdown.reached(Phase::Draining).await;
            readiness.draining();
            info!(sessions = app.sessions.count(), "draining");
            tokio::select! {
                () = drain(&app, &settings, accepting.abort_handle()) => {}
                () = shutdown.reached(Phase::Forced) => {}
            }
            let left = app.sessions.count();
            if left > 0 {
                warn!(sessions = left, "ended and cut off sessions");
            } else {
                info!("ended");
            }
            for task in [accepting, orders, peers] {
                task.abort();
            }
            // Fails only if all waiters are gone.
            let _ = end.send(true);
            let _ = mirror.await;
        };
        bound.run(|listener| lines.shipped_during(work(listener)))
    }
}

async fn until(mut ended: tokio::sync::watch::Receiver<bool>) {
    // The sender's end means the same.
    let _ = ended.wait_for(|ended| *ended).await;
}

async fn check_peers(app: Arc<App>, ping_interval: Duration) {
    let interval_ms = (ping_interval.as_millis() as u64).max(1);
    let mut check = tokio::time::interval(CHECK_EVERY.min(ping_interval));
    check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        check.tick().await;
        app.sessions.check_peers(app.rules.clock.now_ms(), interval_ms);
    }
}

/// Waits until balancers have noticed, stops accepting, asks all sessions to leave in random order over the window, and
/// waits until they have.
async fn drain(app: &App, settings: &Settings, accepting: tokio::task::AbortHandle) {
    tokio::time::sleep(settings.sigterm_timeout).await;
    accepting.abort();
    let mut staying = app.sessions.all();
    staying.shuffle(&mut rand::rng());
    let steps = (settings.drain_spread.as_millis() / DRAIN_STEP.as_millis()).max(1) as usize;
    let step_size = staying.len().div_ceil(steps).max(1);
    for group in staying.chunks(step_size) {
        for session in group {
            shut_down(session);
        }
        tokio::time::sleep(DRAIN_STEP).await;
    }
    // Some were admitted at the last moment.
    for session in app.sessions.all() {
        shut_down(&session);
    }
    let gone = async {
        while app.sessions.count() > 0 {
            // Each session that ends is a change; let the copy in Redis take it first.
            tokio::time::sleep(DRAIN_STEP).await;
        }
    };
    let _ = tokio::time::timeout(settings.drain_grace, gone).await;
}
