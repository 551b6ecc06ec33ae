//! The backend thread: its runtime, its tasks and its end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::reply;
use service::background::Background;
use service::cache::{Cache, Holder, Refusal};
use service::kafka::{self, Producer};
use service::{Readiness, cache, logs};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tracing::{error, info};

use super::published::Lane;
use super::{Backend, Completion, REQUESTS_MAX, Reply, Request, Work};
use crate::inbox::{Broadcast, Inbox, News};
use crate::metrics::Metrics;
use crate::settings::Settings;

/// Requests to the cache on their way at a time, besides those that wait for the thread.
const REQUESTS_AT_A_TIME: usize = 16_384;
/// Broadcasts on their way at a time; more are refused. They are counted by themselves, since they last much longer
/// than anything else while Kafka is away, and must not hold up requests to the cache.
const BROADCASTS_AT_A_TIME: usize = 16_384;
/// The longest value that is sent back.
const FOUND_BYTES_MAX: usize = 1024;
/// How long the last log lines may take.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The clients of the backends.
pub(crate) struct Parts {
    pub(super) cache: Option<Cache>,
    pub(super) producer: Option<Producer>,
    pub(super) broadcast_topic: String,
    kafka: Option<(kafka::Settings, kafka::Watch)>,
    pod: String,
    cache_timeout: Duration,
    readiness: Readiness,
}

impl Parts {
    /// Makes the clients; reaches nobody yet.
    ///
    /// # Errors
    /// The Kafka client refuses its configuration.
    pub(crate) fn new(settings: &Settings, readiness: &Readiness) -> Result<Self, kafka::ConfigError> {
        let cache = settings.cache.clone().map(|cache: cache::Settings| Cache::new(cache, readiness.clone()));
        let kafka = settings.kafka.clone().map(|kafka| (kafka, kafka::Watch::default()));
        let producer =
            kafka.as_ref().map(|(kafka, watch)| Producer::new(kafka, watch.clone())).transpose()?;
        Ok(Self {
            cache,
            producer,
            broadcast_topic: settings
                .kafka
                .as_ref()
                .map(|kafka| kafka.broadcast_topic.clone())
                .unwrap_or_default(),
            kafka,
            pod: logs::pod_name(settings.pod_name.as_deref()),
            cache_timeout: settings.cache_timeout,
            readiness: readiness.clone(),
        })
    }
}

/// What the tasks of the thread share.
pub(super) struct Context {
    pub(super) parts: Parts,
    inboxes: Vec<Arc<Inbox>>,
    metrics: Arc<Metrics>,
}

impl Context {
    pub(super) fn deadline(&self, request: &Request) -> Instant {
        (request.received + self.parts.cache_timeout).into()
    }

    pub(super) fn complete(&self, request: &Request, reply: Reply) {
        match reply {
            Reply::Fixed(reply::CACHE_UNAVAILABLE) => _ = self.metrics.cache_failures.inc(),
            Reply::Fixed(reply::BROADCAST_UNAVAILABLE) => _ = self.metrics.broadcast_failures.inc(),
            _ => {}
        }
        let completion = Completion { handle: request.handle, ordered: request.work.is_ordered(), reply };
        self.inboxes[request.worker].tell(News::Done(completion));
    }
}

/// Starts the thread, if there is a backend for it. Readiness comes from it: once the backends were reached or the
/// time for that is over; without any, at once.
///
/// # Errors
/// The thread or its runtime cannot be made.
pub(crate) fn start(
    parts: Parts,
    inboxes: Vec<Arc<Inbox>>,
    metrics: Arc<Metrics>,
) -> io::Result<(Backend, Option<Background>)> {
    let (has_cache, has_kafka) = (parts.cache.is_some(), parts.kafka.is_some());
    if !has_cache && !has_kafka {
        parts.readiness.ready();
        info!("ready");
        return Ok((Backend { requests: None, has_cache, has_kafka, metrics }, None));
    }
    let (sender, requests) = mpsc::channel(REQUESTS_MAX);
    let context = Arc::new(Context { parts, inboxes, metrics: Arc::clone(&metrics) });
    let running = Background::start("backend", |stopped| serve(context, requests, stopped))?;
    Ok((Backend { requests: Some(sender), has_cache, has_kafka, metrics }, Some(running)))
}

async fn serve(context: Arc<Context>, requests: mpsc::Receiver<Request>, stopped: oneshot::Receiver<()>) {
    let mut awaited = Vec::new();
    if let Some(cache) = context.parts.cache.clone() {
        let (tell, told) = oneshot::channel();
        awaited.push((cache::PART, told));
        tokio::spawn(cache.watch(move || _ = tell.send(())));
    }
    let stop_logs = Arc::new(Notify::new());
    let mut shipping = None;
    if let (Some((kafka, _)), Some(producer)) = (&context.parts.kafka, context.parts.producer.clone()) {
        let stop = Arc::clone(&stop_logs);
        let stop = async move { stop.notified().await };
        let (topic, pod) = (kafka.logging_topic.clone(), context.parts.pod.clone());
        shipping = Some(tokio::spawn(logs::ship(producer, topic, pod, stop)));
    }
    let (assigned, told) = oneshot::channel();
    awaited.extend(context.parts.kafka.is_some().then_some((kafka::PART, told)));
    let readiness = context.parts.readiness.clone();
    tokio::spawn(async move { readiness.ready_after(awaited).await });
    tokio::spawn(carry_out(Arc::clone(&context), requests));

    tokio::select! {
        // Both a message and the sender's end mean: stop.
        _ = stopped => {}
        () = receive(&context, || _ = assigned.send(())) => {}
    }
    stop_logs.notify_one();
    if let Some(shipping) = shipping {
        // Lines that are late are lost: the end does not wait for a broker.
        let _ = timeout(LAST_LINES, shipping).await;
    }
}

/// Takes broadcasts from Kafka to the workers. Never returns.
async fn receive(context: &Context, assigned: impl FnOnce()) {
    if let Some((kafka, watch)) = &context.parts.kafka {
        let readiness = context.parts.readiness.clone();
        let hand_on = async |value: &[u8]| {
            context.metrics.broadcasts.inc();
            let broadcast = Broadcast::new(value);
            for inbox in &context.inboxes {
                inbox.broadcast(broadcast.clone()).await;
            }
        };
        if let Err(error) = kafka::broadcasts(kafka, watch.clone(), readiness, assigned, hand_on).await {
            error!(%error, "broadcasts are not received");
        }
    }
    std::future::pending::<()>().await;
}

async fn carry_out(context: Arc<Context>, mut requests: mpsc::Receiver<Request>) {
    let permits = Arc::new(Semaphore::new(REQUESTS_AT_A_TIME));
    let broadcasts = Arc::new(Semaphore::new(BROADCASTS_AT_A_TIME));
    let lane = Lane::open(&context);
    while let Some(mut request) = requests.recv().await {
        match std::mem::replace(&mut request.work, Work::Login) {
            Work::Broadcast { token, value } => {
                request.work = Work::Broadcast { token, value: Box::default() };
                match Arc::clone(&broadcasts).try_acquire_owned() {
                    Ok(permit) => lane.enter(&context, request, token, value, permit),
                    Err(_) => context.complete(&request, Reply::Fixed(reply::BROADCAST_UNAVAILABLE)),
                }
            }
            work => {
                let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                    return;
                };
                tokio::spawn(ask_cache(Arc::clone(&context), request, work, permit));
            }
        }
    }
}

async fn ask_cache(context: Arc<Context>, request: Request, work: Work, permit: OwnedSemaphorePermit) {
    let deadline = context.deadline(&request);
    let answer = match &context.parts.cache {
        Some(cache) => ask(cache, request.client, &work, deadline).await,
        None => Err(reply::CACHE_UNAVAILABLE),
    };
    context.complete(&request, answer.unwrap_or_else(Reply::Fixed));
    drop(permit);
}

async fn ask(cache: &Cache, client: SocketAddr, work: &Work, deadline: Instant) -> Result<Reply, Refusal> {
    let holder = Holder::Client(client);
    match work {
        Work::Login => cache.issue(client, deadline).await.map(|token| Reply::Made(token.into())),
        Work::Store { token, key, value } => {
            cache.store(holder, token, key, value, deadline).await?;
            Ok(Reply::Fixed(reply::SUCCESS))
        }
        Work::Fetch { token, key } => {
            let value = cache.fetch(holder, token, key, FOUND_BYTES_MAX, deadline).await?;
            Ok(Reply::Made(value.into()))
        }
        // Goes by the lane.
        Work::Broadcast { .. } => Err(reply::BROADCAST_UNAVAILABLE),
    }
}
