//! The thread of the backends: memcached and log shipping, with a runtime of its own.
//!
//! Workers hand over [`Request`]s without waiting; each comes back exactly once as a [`Completion`] in the mailbox of
//! its worker. What is on its way is bounded: beyond that a request is refused, which is answered as a backend that
//! is down is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{Command, Token, reply};
use service::background::Background;
use service::cache::{Cache, Holder, Refusal};
use service::kafka::{self, Producer};
use service::mailbox::Mailbox;
use service::{Readiness, cache, logs};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tracing::info;

use crate::amplification;
use crate::metrics::Metrics;
use crate::settings::Settings;

/// Requests that may wait for the thread.
const REQUESTS_MAX: usize = 4096;
/// Requests on their way at a time, besides those that wait.
const REQUESTS_AT_A_TIME: usize = 16_384;
/// How long the last log lines may take.
const LAST_LINES: Duration = Duration::from_secs(1);
/// The value would be a request itself, and so two servers could be made to answer each other for ever: each would
/// take the other's reply for a request from a client.
const VALUE_IS_A_REQUEST: Refusal = b"error: value is a request";

/// A command that needs memcached.
#[derive(Debug)]
pub(crate) struct Request {
    /// The number of the worker that gets the completion.
    pub(crate) worker: usize,
    pub(crate) peer: SocketAddr,
    /// The length of the datagram, which bounds that of the reply.
    pub(crate) bytes: usize,
    /// When it was read: its deadline counts from here.
    pub(crate) received: Instant,
    pub(crate) work: Work,
}

/// What to do.
#[derive(Debug)]
pub(crate) enum Work {
    Store { token: Token, key: Box<[u8]>, value: Box<[u8]> },
    Fetch { token: Token, key: Box<[u8]> },
}

/// What has become of a request.
#[derive(Debug)]
pub(crate) struct Completion {
    pub(crate) peer: SocketAddr,
    pub(crate) reply: Reply,
}

#[derive(Debug)]
pub(crate) enum Reply {
    Fixed(&'static [u8]),
    Made(Vec<u8>),
}

impl Reply {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Fixed(bytes) => bytes,
            Self::Made(bytes) => bytes,
        }
    }
}

/// Where workers leave their requests.
pub(crate) struct Backend {
    requests: Option<mpsc::Sender<Request>>,
    metrics: Arc<Metrics>,
}

impl Backend {
    /// Hands over a request.
    ///
    /// # Errors
    /// The error packet for the peer: there is no memcached, or too much is on its way.
    pub(crate) fn submit(&self, request: Request) -> Result<(), Refusal> {
        match &self.requests {
            Some(requests) if requests.try_send(request).is_ok() => Ok(()),
            _ => {
                self.metrics.cache_failures.inc();
                Err(reply::CACHE_UNAVAILABLE)
            }
        }
    }
}

/// What the tasks of the thread share.
struct Context {
    cache: Option<Cache>,
    cache_timeout: Duration,
    mailboxes: Vec<Arc<Mailbox<Completion>>>,
    metrics: Arc<Metrics>,
}

/// Where log lines go.
struct Shipping {
    producer: Producer,
    topic: String,
    pod: String,
}

/// Makes the clients of the backends and starts the thread, if there is a backend for it. Readiness comes from it:
/// once memcached was reached or the time for that is over; without any, at once.
///
/// # Errors
/// The Kafka client refuses its configuration, or the thread cannot be made.
pub(crate) fn start(
    settings: &Settings,
    readiness: &Readiness,
    mailboxes: Vec<Arc<Mailbox<Completion>>>,
    metrics: &Arc<Metrics>,
) -> Result<(Backend, Option<Background>), crate::Error> {
    let cache = settings.cache.clone().map(|cache| Cache::new(cache, readiness.clone()));
    let shipping = settings.kafka.as_ref().map(|kafka| {
        let producer = Producer::new(kafka, kafka::Watch::default())?;
        let pod = logs::pod_name(settings.pod_name.as_deref());
        Ok::<_, kafka::ConfigError>(Shipping { producer, topic: kafka.logging_topic.clone(), pod })
    });
    let shipping = shipping.transpose()?;
    let metrics = Arc::clone(metrics);
    if cache.is_none() && shipping.is_none() {
        readiness.ready();
        info!("ready");
        return Ok((Backend { requests: None, metrics }, None));
    }
    let (sender, requests) = mpsc::channel(REQUESTS_MAX);
    let backend = Backend { requests: cache.is_some().then_some(sender), metrics: Arc::clone(&metrics) };
    let context = Arc::new(Context { cache, cache_timeout: settings.cache_timeout, mailboxes, metrics });
    let readiness = readiness.clone();
    let serve = |stopped| serve(context, shipping, readiness, requests, stopped);
    let background = Background::start("backend", serve).map_err(crate::Error::Start)?;
    Ok((backend, Some(background)))
}

async fn serve(
    context: Arc<Context>,
    shipping: Option<Shipping>,
    readiness: Readiness,
    requests: mpsc::Receiver<Request>,
    stopped: oneshot::Receiver<()>,
) {
    let mut awaited = Vec::new();
    if let Some(cache) = context.cache.clone() {
        let (tell, told) = oneshot::channel();
        awaited.push((cache::PART, told));
        tokio::spawn(cache.watch(move || _ = tell.send(())));
    }
    tokio::spawn(async move { readiness.ready_after(awaited).await });
    tokio::spawn(carry_out(context, requests));
    let stop = Arc::new(Notify::new());
    let shipping = shipping.map(|Shipping { producer, topic, pod }| {
        let stop = Arc::clone(&stop);
        tokio::spawn(logs::ship(producer, topic, pod, async move { stop.notified().await }))
    });
    // Both a message and the sender's end mean: stop.
    let _ = stopped.await;
    stop.notify_one();
    if let Some(shipping) = shipping {
        // Lines that are late are lost: the end does not wait for a broker.
        let _ = timeout(LAST_LINES, shipping).await;
    }
}

async fn carry_out(context: Arc<Context>, mut requests: mpsc::Receiver<Request>) {
    let permits = Arc::new(Semaphore::new(REQUESTS_AT_A_TIME));
    while let Some(request) = requests.recv().await {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        tokio::spawn(answer(Arc::clone(&context), request, permit));
    }
}

async fn answer(context: Arc<Context>, request: Request, permit: OwnedSemaphorePermit) {
    let answer = match &context.cache {
        Some(cache) => ask(cache, &request, context.cache_timeout).await,
        None => Err(reply::CACHE_UNAVAILABLE),
    };
    if let Err(reply::CACHE_UNAVAILABLE) = answer {
        context.metrics.cache_failures.inc();
    }
    let reply = answer.unwrap_or_else(Reply::Fixed);
    context.mailboxes[request.worker].put(Completion { peer: request.peer, reply });
    drop(permit);
}

async fn ask(cache: &Cache, request: &Request, within: Duration) -> Result<Reply, Refusal> {
    let deadline = (request.received + within).into();
    // It was issued by `tcp`, to another address.
    let holder = Holder::Anybody;
    match &request.work {
        Work::Store { token, key, value } => {
            cache.store(holder, token, key, value, deadline).await?;
            Ok(Reply::Fixed(reply::SUCCESS))
        }
        Work::Fetch { token, key } => {
            let bytes_max = amplification::proven(request.bytes);
            let value = cache.fetch(holder, token, key, bytes_max, deadline).await?;
            match Command::parse(&value) {
                Ok(Command::Fetch { .. }) => Err(VALUE_IS_A_REQUEST),
                _ => Ok(Reply::Made(value)),
            }
        }
    }
}
