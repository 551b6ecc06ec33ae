//! The loop that turns watches and metrics into events.

mod silence;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use autoscale::spec::{MetricIdentifier, MetricSpec};
use controller::metric;
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{BoxFuture, OptionFuture},
    stream,
};
use jiff::Timestamp;
use kube::core::ApiResource;
use platform::{
    Event, EventKind, Source, TargetError,
    duration::whole_ms,
    event::{GatewayInfo, Stamper},
};
use tokio::{sync::mpsc, time::MissedTickBehavior};
use uuid::Uuid;

use crate::{
    access::Access,
    connect::Cluster,
    facts::Selector,
    kinds,
    metrics::{Metrics, Samples},
    timeouts::CONNECT,
    watch::{self, Incoming, LONGEST_WAIT, Watches},
    world::{Change, Now, Scope, Stream, World},
};
use silence::Silence;

/// How long the first lists may take.
const FIRST_LISTS: Duration = Duration::from_mins(1);
/// How often to check for events that were waiting for their cause.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often the metrics APIs are polled: as often as by the controller, by default.
const POLL_EVERY: Duration = Duration::from_secs(15);
/// The maximum number of concurrent polls.
const POLLS_AT_ONCE: usize = 4;
/// The maximum number of changes processed at once.
const CHANGES_AT_ONCE: usize = 256;
/// How often to check whether a lost API server answers again.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long after the API server's first answer every watch has been restored: the longest wait, and a little.
const MADE_AGAIN: Duration = LONGEST_WAIT.saturating_add(Duration::from_secs(1));

/// Reads the present state once, through the same watches that then continue from it.
pub(crate) struct Observer {
    cluster: Cluster,
    access: Access,
    pub(crate) world: World,
    watches: Watches,
    began: Instant,
    began_at: Timestamp,
    /// Streams whose connection is lost.
    lost: BTreeSet<Stream>,
    lost_since: Option<Instant>,
    /// Since when the API server has been answering again.
    answers_since: Option<Instant>,
    silence: Silence,
    refused: BTreeSet<Stream>,
    /// Metrics that cannot be read, by autoscaler and metric.
    unread: BTreeMap<(String, String), String>,
    /// The namespace's autoscalers at the start.
    known: Vec<String>,
    /// What the API server refused at the start, such as a kind that an autoscaler scales.
    pub(crate) refusals: Vec<String>,
}

impl Observer {
    /// Waits until everything that may be read is known.
    pub(crate) async fn begin(cluster: &Cluster, access: Access, scope: Scope) -> Result<Self, TargetError> {
        let (kinds, known) = kinds_in(cluster, &access, &scope).await?;
        let (watches, coming, denied) = watch::start(cluster, &access, &kinds);
        let mut observer = Self {
            cluster: cluster.clone(),
            access,
            world: World::new(scope),
            watches,
            began: clock::now(),
            began_at: clock::wall(),
            lost: BTreeSet::new(),
            lost_since: None,
            answers_since: None,
            silence: Silence::new(clock::now()),
            refused: BTreeSet::new(),
            unread: BTreeMap::new(),
            known,
            refusals: Vec::new(),
        };
        for stream in denied {
            observer.world.deny(stream);
        }
        let deadline = clock::runtime_now() + FIRST_LISTS;
        let mut missing: BTreeSet<Stream> = coming.into_iter().collect();
        while !missing.is_empty() {
            let next = tokio::time::timeout_at(deadline, observer.watches.next()).await;
            let Ok(Some((stream, incoming))) = next else {
                let what: Vec<String> =
                    missing.iter().map(|stream| format!("{stream:?}").to_lowercase()).collect();
                let message = format!(
                    "{} did not list within {} s: {}",
                    cluster.place,
                    FIRST_LISTS.as_secs(),
                    what.join(", ")
                );
                return Err(TargetError::Other { message });
            };
            match &incoming {
                Incoming::Change(Change::Listed) => {
                    missing.remove(&stream);
                }
                // Its kind may not be served. The other streams work.
                Incoming::Refused(words) => {
                    if missing.remove(&stream) {
                        observer.refusals.push(words.clone());
                    }
                    observer.world.deny(stream.clone());
                }
                Incoming::Lost(words) => {
                    let message = format!("{} cannot be watched: {words}", cluster.place);
                    return Err(TargetError::Other { message });
                }
                Incoming::Change(_) => {}
            }
            observer.take(stream, incoming);
        }
        observer.world.complete();
        observer.check_scope()?;
        Ok(observer)
    }

    /// Checks that the requested objects exist.
    fn check_scope(&self) -> Result<(), TargetError> {
        let Some(hpa) = &self.world.scope.hpa else { return Ok(()) };
        let namespace = &self.cluster.namespace;
        if !self.access.allows("autoscaling", "horizontalpodautoscalers") {
            return Err(TargetError::Other {
                message: format!(
                    "autoscaler {hpa} cannot be inspected: this account is not allowed to list and watch \
                     horizontalpodautoscalers.autoscaling in namespace {namespace}, if there is such a namespace at {}; \
                     choose another with -n, or ask for the role that docs/cluster.md shows",
                    self.cluster.place
                ),
            });
        }
        if self.world.hpa(hpa).is_some() {
            return Ok(());
        }
        let message = if self.known.is_empty() {
            format!(
                "namespace {namespace} has no autoscaler at all, or does not exist at {}; choose another with -n",
                self.cluster.place
            )
        } else {
            format!("namespace {namespace} has no autoscaler {hpa}; it has: {}", self.known.join(", "))
        };
        Err(TargetError::Invalid { message })
    }

    fn now(&self) -> Now {
        let passed = self.began.elapsed();
        let wall = self.began_at.saturating_add(passed).unwrap_or(self.began_at);
        Now { t_ms: whole_ms(passed), wall }
    }

    fn take(&mut self, stream: Stream, incoming: Incoming) {
        let now = self.now();
        if !matches!(incoming, Incoming::Lost(_)) {
            self.heard();
        }
        match incoming {
            Incoming::Change(change) => {
                self.refused.remove(&stream);
                if self.lost.remove(&stream) && self.lost.is_empty() {
                    self.is_back(now);
                }
                self.world.take(now, &stream, change);
            }
            Incoming::Lost(words) => {
                self.lost.insert(stream.clone());
                self.answers_since = None;
                self.world.take(now, &stream, Change::Broken);
                if self.lost_since.is_none() {
                    self.lost_since = Some(clock::now());
                    let place = &self.cluster.place;
                    let message = format!("lost the connection to {place}: {words}; retrying");
                    self.world.warn(now, message);
                }
            }
            // An API server that has just started does not know permissions yet.
            Incoming::Refused(_) if self.lost_since.is_some() => {
                self.lost.insert(stream.clone());
                self.world.take(now, &stream, Change::Broken);
            }
            Incoming::Refused(words) => {
                if self.refused.insert(stream) {
                    self.world.warn(now, format!("the API server refuses: {words}; retrying"));
                }
            }
        }
    }

    /// It is there.
    fn heard(&mut self) {
        if let Some(silent) = self.silence.heard(clock::now())
            && self.lost_since.is_none()
        {
            self.world.warn(self.now(), answers_again(silent));
        }
    }

    /// It was asked whether it is there, and did not answer.
    fn unanswered(&mut self) {
        if let Some(silent) = self.silence.unanswered(clock::now())
            && self.lost_since.is_none()
        {
            let (place, seconds) = (&self.cluster.place, silent.as_secs());
            let message = format!(
                "{place} has not answered for {seconds} s; what happens meanwhile is told once it does"
            );
            self.world.warn(self.now(), message);
        }
    }

    /// A restored watch says nothing until something changes. So the API server is asked whether it answers; one wait
    /// later every watch has been restored.
    fn look_after_lost(&mut self) {
        let watched = |since: &Instant| since.elapsed() >= MADE_AGAIN;
        if self.answers_since.as_ref().is_some_and(watched) {
            self.is_back(self.now());
        }
    }

    fn is_back(&mut self, now: Now) {
        self.lost.clear();
        self.answers_since = None;
        self.world.mended(now);
        if let Some(since) = self.lost_since.take() {
            self.world.warn(now, answers_again(since.elapsed()));
        }
    }

    /// Reports everything that happens, until nobody listens any more.
    pub(crate) async fn run(mut self, sender: mpsc::Sender<Event>) {
        let mut stamper = Stamper::new(Uuid::now_v7(), Source::Cluster, self.began_at);
        let started = EventKind::PlatformStarted {
            platform: self.cluster.namespace.clone(),
            target: format!("cluster {}", self.cluster.context),
            nodes: u32::try_from(self.world.nodes().count()).unwrap_or(u32::MAX),
            gateway: GatewayInfo::none(),
            services: self.world.service_infos(),
        };
        let now = self.now();
        let mut events = vec![(now.t_ms, started)];
        let mut missing = self.access.missing(&self.cluster.namespace);
        missing.append(&mut self.refusals);
        missing.extend(self.world.nothing_to_follow(&self.cluster.namespace));
        events.extend(missing.into_iter().map(|message| (now.t_ms, EventKind::Warning { message })));
        self.world.go_live(now);
        let metrics = Metrics::new(self.cluster.clone());
        let cluster = self.cluster.clone();
        let mut polling: OptionFuture<BoxFuture<'_, Vec<Scraped>>> = None.into();
        let mut asking: OptionFuture<BoxFuture<'_, bool>> = None.into();
        let mut ask_at = Some(clock::now());
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut poll = tokio::time::interval(POLL_EVERY);
        for interval in [&mut look, &mut poll] {
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            for (t_ms, kind) in events.drain(..) {
                if sender.send(stamper.stamp(t_ms, kind)).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                () = sender.closed() => return,
                Some((stream, incoming)) = self.watches.next() => {
                    self.take(stream, incoming);
                    // More may have arrived already, such as a whole list.
                    for _ in 1..CHANGES_AT_ONCE {
                        let Some(Some((stream, incoming))) =
                            self.watches.next().now_or_never() else { break };
                        self.take(stream, incoming);
                    }
                }
                Some(scraped) = &mut polling => {
                    polling = None.into();
                    for scraped in scraped {
                        self.scraped(scraped);
                    }
                }
                _ = poll.tick() => polling = Some(ask(&metrics, self.questions()).boxed()).into(),
                Some(answers) = &mut asking => {
                    asking = None.into();
                    ask_at = Some(clock::now() + ASK_EVERY);
                    if answers {
                        self.heard();
                        if self.lost_since.is_some() {
                            self.answers_since.get_or_insert_with(clock::now);
                        }
                    } else {
                        self.unanswered();
                    }
                }
                _ = look.tick() => {
                    self.look_after_lost();
                    let now = clock::now();
                    let is_silent =
                        !self.lost.is_empty() && self.answers_since.is_none() || self.silence.is_due(now);
                    if is_silent && ask_at.take_if(|at| *at <= now).is_some() {
                        asking = Some(answers(&cluster).boxed()).into();
                    }
                }
            }
            events = self.world.events(self.now());
        }
    }

    /// The requests to the metrics APIs.
    fn questions(&self) -> Vec<Question> {
        let mut questions = Vec::new();
        for (name, service) in self.world.services() {
            let Some(hpa) = service.hpa.as_ref().and_then(|hpa| self.world.hpa(hpa)) else { continue };
            let (Ok(spec), Some(workload)) = (&hpa.spec, self.world.workload(service)) else { continue };
            let Some(selector) = &workload.selector else { continue };
            for (metric, label) in spec.metrics.iter().zip(metric::labels(&spec.metrics)) {
                let Some(what) = What::of(metric, selector) else { continue };
                let is_usage = matches!(what, What::Resource { .. });
                if is_usage && !self.access.allows("metrics.k8s.io", "pods") {
                    continue;
                }
                let pods = self.world.pods_of(name).map(|pod| pod.name.clone()).collect();
                questions.push(Question { hpa: hpa.name.clone(), metric: label, what, pods });
            }
        }
        questions
    }

    fn scraped(&mut self, scraped: Scraped) {
        let now = self.now();
        let Scraped { hpa, metric, values } = scraped;
        let key = (hpa, metric);
        match values {
            Ok(values) => {
                self.unread.remove(&key);
                self.world.scraped(now, &key.0, &key.1, values);
            }
            Err(words) => {
                if self.unread.get(&key) != Some(&words) && self.lost.is_empty() {
                    let (hpa, metric) = &key;
                    self.world.warn(
                        now,
                        format!("{metric}, a metric of autoscaler {hpa}, cannot be read: {words}"),
                    );
                    self.unread.insert(key, words);
                }
            }
        }
    }
}

fn answers_again(after: Duration) -> String {
    let seconds = after.as_secs_f64();
    format!("the API server answers again after {seconds:.1} s; what happened meanwhile is told now")
}

/// Whether the API server answers. One that hangs keeps the connection, and nothing else would tell it from a slow one.
async fn answers(cluster: &Cluster) -> bool {
    matches!(tokio::time::timeout(CONNECT, cluster.version()).await, Ok(Ok(_)))
}

/// The kinds that autoscalers scale, the usual ones first, and the names of all autoscalers.
async fn kinds_in(
    cluster: &Cluster,
    access: &Access,
    scope: &Scope,
) -> Result<(Vec<ApiResource>, Vec<String>), TargetError> {
    let mut kinds: Vec<ApiResource> = kinds::usual().into();
    if !access.allows("autoscaling", "horizontalpodautoscalers") {
        return Ok((kinds, Vec::new()));
    }
    let hpas = crate::read::hpas(cluster).await?;
    let is_wanted = |name: &String| scope.hpa.as_ref().is_none_or(|hpa| hpa == name);
    for hpa in hpas.iter().filter(|hpa| is_wanted(&hpa.name)) {
        if !kinds::is_among(&kinds, &hpa.target) {
            // The kind may not be served any more: its autoscaler reports that itself.
            kinds.extend(kinds::find(cluster, &hpa.target).await);
        }
    }
    Ok((kinds, hpas.into_iter().map(|hpa| hpa.name).collect()))
}

/// A request to the metrics APIs, and the autoscalers that need it.
#[derive(Debug)]
struct Question {
    hpa: String,
    metric: String,
    what: What,
    /// Limited to these pods.
    pods: BTreeSet<String>,
}

#[derive(Debug)]
enum What {
    Resource { name: String, container: Option<String> },
    Custom { metric: MetricIdentifier, selector: Selector },
}

impl What {
    /// `None`: the metric is not one of pods.
    fn of(metric: &MetricSpec, selector: &Selector) -> Option<Self> {
        if let Some(pods) = &metric.pods {
            return Some(Self::Custom { metric: pods.metric.clone(), selector: selector.clone() });
        }
        let name = metric::resource(metric)?.to_owned();
        let container = metric.container_resource.as_ref().map(|resource| resource.container.clone());
        Some(Self::Resource { name, container })
    }
}

/// An answer of the metrics APIs, in milli-units by pod.
#[derive(Debug)]
struct Scraped {
    hpa: String,
    metric: String,
    values: Result<BTreeMap<String, i64>, String>,
}

/// Sends all requests, a few at a time. One answer has the CPU and memory of a whole namespace.
async fn ask(metrics: &Metrics, questions: Vec<Question>) -> Vec<Scraped> {
    let by_resource = questions.iter().any(|question| matches!(question.what, What::Resource { .. }));
    let usages = if by_resource { metrics.usages(None).await } else { Err(String::new()) };
    let usages = &usages;
    stream::iter(questions)
        .map(|question| async move {
            let Question { hpa, metric, what, pods } = question;
            let samples: Result<Samples, String> = match (what, usages) {
                (What::Custom { metric, selector }, _) => metrics.of_pods(&metric, &selector).await,
                (What::Resource { name, container }, Ok(usages)) => {
                    Ok(usages.of(&name, container.as_deref()))
                }
                (What::Resource { .. }, Err(words)) => Err(words.clone()),
            };
            let of_these = |samples: Samples| {
                let samples = samples.into_iter().filter(|(pod, _)| pods.contains(pod));
                samples.map(|(pod, sample)| (pod, sample.milli)).collect()
            };
            Scraped { hpa, metric, values: samples.map(of_these) }
        })
        .buffer_unordered(POLLS_AT_ONCE)
        .collect()
        .await
}
