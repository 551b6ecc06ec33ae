//! Starts, runs and drains a server.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use prometheus_client::registry::Registry;
use rand::seq::SliceRandom;
use service::admin::Pages;
use service::logs::{self, LogLines};
use service::sessions::{host_id, orders};
use service::{Phase, Readiness, Shutdown, limits, listen, web};
use tokio::sync::{Semaphore, oneshot};
use tracing::{info, warn};
use uuid::Uuid;

use crate::events::Parts;
use crate::feed::Feed;
use crate::locks::{Locks, Terms};
use crate::metrics::Metrics;
use crate::profiles::Profiles;
use crate::routes::{self, App};
use crate::settings::Settings;
use crate::streams::{Order, Streams};
use crate::{Error, locks, profiles};

/// Connections in addition to those of streams: health checks, requests, clients that are refused.
const OTHER_CONNECTIONS_MAX: usize = 4096;
/// Send buffer in the kernel for a client that does not read; the kernel doubles it, for its own overhead. Smaller ones
/// cost more wake-ups per event.
const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// The channel of the balancer's orders.
const CHANNEL: &str = "drop-persistent-sse-sessions";
/// Maximum interval between checks for streams that must end.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Steps in which a drain asks its streams to leave.
const DRAIN_STEP: Duration = Duration::from_millis(50);

/// A bound server: clients can connect and wait for [`Server::run`] to serve them.
pub struct Server {
    bound: web::Bound,
    app: Arc<App>,
    host_id: String,
    settings: Settings,
    lines: LogLines,
    shutdown: Shutdown,
}

impl Server {
    /// Binds the service's port and the admin port. None of Redis, `profiles` and Kafka needs to be reachable.
    ///
    /// # Errors
    /// Why it cannot start: see [`Error`].
    pub fn bind(settings: Settings, shutdown: Shutdown) -> Result<Self, Error> {
        limits::raise_open_files();
        let listeners =
            web::Listeners::bind((settings.host, settings.port), (settings.admin_host, settings.admin_port))?;
        listen::bound_buffers_at(listeners.clients(), SEND_BUFFER_BYTES).map_err(Error::Listen)?;

        let readiness = Readiness::new();
        let mut registry = Registry::default();
        let streams = Arc::new(Streams::default());
        let metrics = Arc::new(Metrics::register(&mut registry, &streams));
        let pod = logs::pod_name(settings.pod_name.as_deref());
        let server_id = Uuid::new_v4().to_string();
        let pages = Pages::new(readiness.clone(), registry).with_info("stream", &pod, Some(&server_id));
        let shed_by = Arc::clone(&streams);
        let pages = pages.with_shed(settings.shed_token.clone(), move |count| {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            std::future::ready(shed_by.shed(count, clock::runtime_now()) as u64)
        });
        let bound = listeners.start(readiness.clone(), pages, settings.workers.get())?;
        let host_id = host_id::resolve(settings.host_id.as_deref(), settings.host, &settings.redis);
        let inside = bound.enter();
        let lines = LogLines::new(settings.kafka.as_ref(), &pod)?;
        drop(inside);
        let terms = Terms {
            life: settings.lock_life,
            refresh: settings.lock_refresh,
            release: settings.lock_release,
        };
        let locks = Arc::new(Locks::new(
            settings.redis.clone(),
            host_id.clone(),
            terms,
            Arc::clone(&streams),
            Arc::clone(&metrics),
            readiness.clone(),
        ));
        info!(
            %pod, server = %server_id, %host_id, address = %bound.address(), admin = %bound.admin_address(), redis = %settings.redis,
            profiles = %settings.profiles, "started"
        );
        let profiles = Profiles::new(
            settings.profiles.clone(),
            settings.profiles_timeout,
            Arc::clone(&metrics),
            readiness.clone(),
        );
        let feed = Arc::new(Feed::new(&pod, TimeZone::system()));
        let parts = Parts { feed, streams, locks, metrics, retry_after: settings.retry_after };
        let places = Arc::new(Semaphore::new(settings.streams_max.get()));
        let app = Arc::new(App { host: pod, parts, profiles, places });
        Ok(Self { bound, app, host_id, settings, lines, shutdown })
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
        let Self { bound, app, host_id, settings, lines, shutdown } = self;
        let readiness = bound.readiness().clone();
        let work = async |listener| {
            let (end, ended) = tokio::sync::watch::channel(false);
            let connections_max = settings.streams_max.get().saturating_add(OTHER_CONNECTIONS_MAX);
            let accepting =
                tokio::spawn(web::serve(listener, routes::router(Arc::clone(&app)), connections_max));
            let ((locks_tried, locks_known), (profiles_tried, profiles_known)) =
                (oneshot::channel(), oneshot::channel());
            let keeper = tokio::spawn({
                let (app, shutdown, ended) = (Arc::clone(&app), shutdown.clone(), ended.clone());
                async move { app.parts.locks.keep(&shutdown, locks_tried, until(ended)).await }
            });
            let others = [
                tokio::spawn(obey(Arc::clone(&app), readiness.clone(), host_id, settings.clone())),
                tokio::spawn(sweep(Arc::clone(&app), settings.clone())),
                tokio::spawn({
                    let app = Arc::clone(&app);
                    async move { app.profiles.watch(profiles_tried).await }
                }),
            ];
            let awaited = vec![(locks::PART, locks_known), (profiles::PART, profiles_known)];
            tokio::select! {
                () = readiness.ready_after(awaited) => shutdown.reached(Phase::Draining).await,
                () = shutdown.reached(Phase::Draining) => {}
            }
            readiness.draining();
            let streams = &app.parts.streams;
            info!(streams = streams.count(), "draining");
            tokio::select! {
                () = drain(streams, &settings, accepting.abort_handle()) => {}
                () = shutdown.reached(Phase::Forced) => {}
            }
            let left = streams.count();
            if left > 0 {
                warn!(streams = left, "ended and cut off streams");
            } else {
                info!("ended");
            }
            accepting.abort();
            others.iter().for_each(tokio::task::JoinHandle::abort);
            // Fails only if all waiters are gone.
            let _ = end.send(true);
            let _ = keeper.await;
        };
        bound.run(|listener| lines.shipped_during(work(listener)))
    }
}

async fn until(mut ended: tokio::sync::watch::Receiver<bool>) {
    // The sender's end means the same.
    let _ = ended.wait_for(|ended| *ended).await;
}

async fn obey(app: Arc<App>, readiness: Readiness, host_id: String, settings: Settings) {
    let source = orders::Source { redis: settings.redis, channel: CHANNEL, host_id };
    let Parts { streams, locks, .. } = &app.parts;
    let shed = |count| streams.shed(count, clock::runtime_now());
    // This connection learns at once what the others would only notice with their next command.
    orders::obey(&source, &readiness, shed, || locks.is_interrupted()).await;
}

async fn sweep(app: Arc<App>, settings: Settings) {
    let mut sweep = tokio::time::interval(SWEEP_EVERY.min(settings.lock_life / 20));
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        sweep.tick().await;
        app.parts.streams.sweep(clock::runtime_now(), settings.drain_grace);
    }
}

/// Waits until balancers have noticed, stops accepting, ends the streams in random order over the window, and waits
/// until their clients have read the end.
async fn drain(streams: &Streams, settings: &Settings, accepting: tokio::task::AbortHandle) {
    tokio::time::sleep(settings.sigterm_timeout).await;
    accepting.abort();
    let mut staying = streams.all();
    staying.shuffle(&mut rand::rng());
    let (step_size, step) = pace(staying.len(), settings.drain_spread);
    for group in staying.chunks(step_size) {
        for stream in group {
            stream.end(Order::ShutDown, clock::runtime_now());
        }
        tokio::time::sleep(step).await;
    }
    let gone = async {
        loop {
            // Some were admitted at the last moment.
            for stream in streams.all() {
                stream.end(Order::ShutDown, clock::runtime_now());
            }
            if streams.count() == 0 {
                return;
            }
            tokio::time::sleep(DRAIN_STEP).await;
        }
    };
    // Clients that do not read are cut off after the grace period; allow one more sweep for that.
    let _ = tokio::time::timeout(settings.drain_grace + 2 * SWEEP_EVERY, gone).await;
}

/// How many streams to end at a time, and the interval: however many there are, they take the whole window.
fn pace(streams: usize, window: Duration) -> (usize, Duration) {
    let steps_most = (window.as_millis() / DRAIN_STEP.as_millis()).max(1) as usize;
    let size = streams.div_ceil(steps_most).max(1);
    (size, window / u32::try_from(streams.div_ceil(size).max(1)).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_or_many_streams_end_over_the_whole_window() {
        let window = Duration::from_secs(10);
        for streams in [1, 3, 12, 99, 100, 101, 10_000] {
            let (size, step) = pace(streams, window);
            let steps = streams.div_ceil(size) as u32;
            let took = step * steps;
            assert!(took <= window && took > window * 99 / 100, "{streams}: {steps} of {step:?}");
            assert!(step >= DRAIN_STEP, "{streams}: {step:?}");
        }
        assert_eq!(pace(0, window).0, 1);
        assert_eq!(pace(50, Duration::ZERO), (50, Duration::ZERO));
    }
}
