//! The backend thread: memcached and Kafka on their own runtime, next to the service's event loops.
//!
//! Event loops submit requests to [`Requests`] without blocking; the service's [`Jobs`] carry them out. The number in
//! flight is bounded: further requests are refused, and the client sees the same error as when the backend is down.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::reply;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tracing::{error, info};

use crate::background::Background;
use crate::cache::{self, Cache, Refusal};
use crate::kafka::{self, Producer};
use crate::logs;
use crate::readiness::{Awaited, Readiness};

/// Maximum number of requests queued for the thread.
const REQUESTS_MAX: usize = 4096;
/// Maximum number of concurrent requests to the cache, not counting those queued for the thread.
const REQUESTS_AT_A_TIME: usize = 16_384;
/// Time limit for shipping the last log lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// A client's reply to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Nothing,
    Fixed(&'static [u8]),
    Made(Box<[u8]>),
}

impl Reply {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Nothing => &[],
            Self::Fixed(bytes) => bytes,
            Self::Made(bytes) => bytes,
        }
    }
}

/// A service's work on the thread.
pub trait Jobs: Send + Sync + 'static {
    type Request: Send + 'static;

    /// Handles the next request. The one after it waits until this returns; tasks started here may outlive the call.
    fn take(self: &Arc<Self>, request: Self::Request) -> impl Future<Output = ()> + Send;

    /// Handles a broadcast. Only called if the service consumes them.
    fn broadcast(&self, value: &[u8]) -> impl Future<Output = ()> + Send;
}

/// The clients of the backends.
pub struct Parts {
    pub cache: Option<Cache>,
    pub kafka: Option<Kafka>,
    permits: Arc<Semaphore>,
    cache_timeout: Duration,
    readiness: Readiness,
    pod: String,
}

/// The clients of Kafka.
pub struct Kafka {
    pub settings: kafka::Settings,
    pub producer: Producer,
    watch: kafka::Watch,
}

impl Parts {
    /// Creates the clients without connecting. A command may take `cache_timeout` in total; `pod` is this replica's
    /// name in logs.
    ///
    /// # Errors
    /// The Kafka client rejects its configuration.
    pub fn new(
        cache: Option<cache::Settings>,
        cache_timeout: Duration,
        kafka: Option<kafka::Settings>,
        pod: String,
        readiness: Readiness,
    ) -> Result<Self, kafka::ConfigError> {
        let kafka = kafka.map(|settings| {
            let watch = kafka::Watch::default();
            let producer = Producer::new(&settings, watch.clone())?;
            Ok(Kafka { settings, producer, watch })
        });
        Ok(Self {
            cache: cache.map(|settings| Cache::new(settings, readiness.clone())),
            kafka: kafka.transpose()?,
            permits: Arc::new(Semaphore::new(REQUESTS_AT_A_TIME)),
            cache_timeout,
            readiness,
            pod,
        })
    }

    /// When a request that was read at `received` must be answered.
    pub fn deadline(&self, received: Instant) -> tokio::time::Instant {
        (received + self.cache_timeout).into()
    }

    /// Waits for room for one more request to the cache; hold the permit until the request is done.
    pub async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }

    /// # Errors
    /// There is no cache.
    pub fn cache(&self) -> Result<&Cache, Refusal> {
        self.cache.as_ref().ok_or(reply::CACHE_UNAVAILABLE)
    }
}

/// The event loops' handle to the thread.
pub struct Requests<R>(Option<mpsc::Sender<R>>);

impl<R> Requests<R> {
    /// Returns `false` if the thread has ended or too many requests are in flight.
    #[must_use]
    pub fn submit(&self, request: R) -> bool {
        self.0.as_ref().is_some_and(|requests| requests.try_send(request).is_ok())
    }
}

/// Starts the thread if a backend is configured. It determines readiness: the service is ready once the backends and
/// other `awaited` parts were reached or have timed out, and at once if there are none.
///
/// # Errors
/// The thread or its runtime cannot be created.
pub fn start<J: Jobs>(
    parts: Arc<Parts>,
    jobs: Arc<J>,
    consumes_broadcasts: bool,
    awaited: Vec<Awaited>,
) -> io::Result<(Requests<J::Request>, Option<Background>)> {
    if parts.cache.is_none() && parts.kafka.is_none() && awaited.is_empty() {
        parts.readiness.ready();
        info!("ready");
        return Ok((Requests(None), None));
    }
    let (sender, requests) = mpsc::channel(REQUESTS_MAX);
    let serve = move |stopped| serve(parts, jobs, consumes_broadcasts, awaited, requests, stopped);
    let background = Background::start("backend", serve)?;
    Ok((Requests(Some(sender)), Some(background)))
}

async fn serve<J: Jobs>(
    parts: Arc<Parts>,
    jobs: Arc<J>,
    consumes_broadcasts: bool,
    mut awaited: Vec<Awaited>,
    mut requests: mpsc::Receiver<J::Request>,
    stopped: oneshot::Receiver<()>,
) {
    if let Some(cache) = parts.cache.clone() {
        let (tell, told) = oneshot::channel();
        awaited.push((cache::PART, told));
        tokio::spawn(cache.watch(move || _ = tell.send(())));
    }
    let stop_logs = Arc::new(Notify::new());
    let shipping = parts.kafka.as_ref().map(|Kafka { settings, producer, .. }| {
        let stop = Arc::clone(&stop_logs);
        let (topic, pod) = (settings.logging_topic.clone(), parts.pod.clone());
        tokio::spawn(logs::ship(producer.clone(), topic, pod, async move { stop.notified().await }))
    });
    let (assigned, told) = oneshot::channel();
    let source = parts.kafka.as_ref().filter(|_| consumes_broadcasts);
    awaited.extend(source.map(|_| (kafka::PART, told)));
    let readiness = parts.readiness.clone();
    tokio::spawn(async move { readiness.ready_after(awaited).await });
    tokio::spawn({
        let jobs = Arc::clone(&jobs);
        async move {
            while let Some(request) = requests.recv().await {
                jobs.take(request).await;
            }
        }
    });

    tokio::select! {
        // A message and a dropped sender both mean: stop.
        _ = stopped => {}
        () = receive(source, &parts.readiness, &*jobs, || _ = assigned.send(())) => {}
    }
    stop_logs.notify_one();
    if let Some(shipping) = shipping {
        // Late lines are lost: shutdown does not wait for a broker.
        let _ = timeout(LAST_LINES, shipping).await;
    }
}

/// Passes broadcasts from Kafka to the service. Never returns.
async fn receive(source: Option<&Kafka>, readiness: &Readiness, jobs: &impl Jobs, assigned: impl FnOnce()) {
    if let Some(Kafka { settings, watch, .. }) = source {
        let hand_on = async |value: &[u8]| jobs.broadcast(value).await;
        let outcome = kafka::broadcasts(settings, watch.clone(), readiness.clone(), assigned, hand_on).await;
        if let Err(error) = outcome {
            error!(%error, "cannot receive broadcasts");
        }
    }
    std::future::pending::<()>().await;
}
