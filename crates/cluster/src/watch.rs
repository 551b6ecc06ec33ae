//! Watches of the API server, as changes.
//!
//! A watch that ends or fails resumes where it was. If the API server no longer has that version (410), the watch lists
//! everything again. Either way the world compares the objects, and reports nothing twice.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt::Debug,
    time::Duration,
};

use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use k8s_openapi::api::{
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{Event, Node, Pod},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Resource,
    core::{ApiResource, DynamicObject},
    runtime::watcher::{self, watcher},
};
use serde::de::DeserializeOwned;
use tokio::time::{Interval, MissedTickBehavior};

use crate::{
    access::Access,
    connect::Cluster,
    error,
    facts::{Facts, Object, WorkloadFacts},
    kinds::{self, is_usual},
    read::Scaled,
    timeouts::ANSWER,
    world::{Change, Stream},
};

/// A watch that is silent for this long (and 30 s) is restarted: its connection may be dead.
const WATCH_SECONDS: u32 = 60;
/// The wait after the first failure; doubled up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(200);
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// A message of a watch.
#[derive(Debug)]
pub(crate) enum Incoming {
    Change(Change),
    /// The connection failed and is being restored.
    Lost(String),
    /// The API server refuses, for example after a permission was revoked; it is asked again.
    Refused(String),
}

pub(crate) type Watches = stream::SelectAll<BoxStream<'static, (Stream, Incoming)>>;

/// Watches everything that may be read; returns the streams that will come, and those that will not.
pub(crate) fn start(
    cluster: &Cluster,
    access: &Access,
    kinds: &[ApiResource],
) -> (Watches, Vec<Stream>, Vec<Stream>) {
    let mut watches = Watches::new();
    let (mut coming, mut denied) = (Vec::new(), Vec::new());
    let client = || cluster.client.clone();
    let namespace = &cluster.namespace;
    let mut add = |group: &str,
                   resource: &str,
                   stream: Stream,
                   watch: &dyn Fn(Stream) -> BoxStream<'static, (Stream, Incoming)>| {
        if access.allows(group, resource) {
            watches.push(watch(stream.clone()));
            coming.push(stream);
        } else {
            denied.push(stream);
        }
    };
    add("autoscaling", "horizontalpodautoscalers", Stream::Hpas, &|stream| {
        one(Api::<HorizontalPodAutoscaler>::namespaced(client(), namespace), stream, Facts::facts)
    });
    for kind in kinds {
        let id = kinds::id(&kind.group, &kind.kind);
        add(&kind.group, &kind.plural, Stream::Workloads(id.clone()), &|stream| {
            let api = Api::<DynamicObject>::namespaced_with(client(), namespace, kind);
            let of_kind = id.clone();
            // The items of a list do not repeat their kind.
            let watch = one(api.clone(), stream, move |object: &DynamicObject| match object.facts() {
                Object::Workload(mut workload) => {
                    workload.kind.clone_from(&of_kind);
                    Object::Workload(workload)
                }
                other => other,
            });
            if is_usual(kind) { watch } else { with_scales(watch, move |name| scale(api.clone(), name)) }
        });
    }
    add("", "pods", Stream::Pods, &|stream| {
        one(Api::<Pod>::namespaced(client(), namespace), stream, Facts::facts)
    });
    add("discovery.k8s.io", "endpointslices", Stream::Slices, &|stream| {
        one(Api::<EndpointSlice>::namespaced(client(), namespace), stream, Facts::facts)
    });
    add("", "nodes", Stream::Nodes, &|stream| one(Api::<Node>::all(client()), stream, Facts::facts));
    add("", "events", Stream::Events, &|stream| {
        one(Api::<Event>::namespaced(client(), namespace), stream, Facts::facts)
    });
    (watches, coming, denied)
}

/// One watch, forever.
fn one<K>(
    api: Api<K>,
    stream: Stream,
    facts: impl Fn(&K) -> Object + Clone + Send + 'static,
) -> BoxStream<'static, (Stream, Incoming)>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let events = watcher(api, watcher::Config::default().timeout(WATCH_SECONDS)).boxed();
    stream::unfold((events, Duration::ZERO), move |(mut events, wait)| {
        let (stream, facts) = (stream.clone(), facts.clone());
        async move {
            loop {
                tokio::time::sleep(wait).await;
                let incoming = match events.next().await? {
                    Ok(event) => Incoming::Change(change(&event, &facts)),
                    Err(error) => match failure(&error) {
                        Some(incoming) => {
                            let wait = (wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT);
                            return Some(((stream, incoming), (events, wait)));
                        }
                        None => continue,
                    },
                };
                return Some(((stream, incoming), (events, Duration::ZERO)));
            }
        }
    })
    .boxed()
}

/// Adds scales that objects do not have where a Deployment does: their kind has other fields for them, which only the
/// API server knows. An object whose scale cannot be read is invisible, as if its kind were refused, until the scale
/// can be read; meanwhile the others go on.
fn with_scales<F>(
    watch: BoxStream<'static, (Stream, Incoming)>,
    scale: impl Fn(String) -> F + Send + Sync + 'static,
) -> BoxStream<'static, (Stream, Incoming)>
where
    F: Future<Output = Result<Scaled, NoScale>> + Send + 'static,
{
    let mut again = tokio::time::interval(LONGEST_WAIT);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let scales = Scales { watch, scale, waiting: VecDeque::new(), again, told: BTreeSet::new() };
    stream::unfold(scales, async |mut scales| Some((scales.next().await?, scales))).boxed()
}

struct Scales<S> {
    watch: BoxStream<'static, (Stream, Incoming)>,
    scale: S,
    /// Objects whose scale could not be read, each with its stream; they are requested again in turn.
    waiting: VecDeque<(Stream, Box<WorkloadFacts>)>,
    again: Interval,
    /// The names of those that were reported, and whether as refused.
    told: BTreeSet<(String, bool)>,
}

impl<S, F> Scales<S>
where
    S: Fn(String) -> F,
    F: Future<Output = Result<Scaled, NoScale>>,
{
    async fn next(&mut self) -> Option<(Stream, Incoming)> {
        loop {
            let (stream, workload) = tokio::select! {
                next = self.watch.next() => match next? {
                    (stream, Incoming::Change(Change::Is(Object::Workload(workload)))) => {
                        self.waiting.retain(|(_, one)| one.name != workload.name);
                        if !workload.needs_scale {
                            return Some((stream, Incoming::Change(Change::Is(Object::Workload(workload)))));
                        }
                        (stream, workload)
                    }
                    (stream, incoming) => {
                        match &incoming {
                            Incoming::Change(Change::Gone(object)) => self.forget(object.name()),
                            // All objects are listed again.
                            Incoming::Change(Change::Listing) => {
                                self.waiting.clear();
                                self.told.clear();
                            }
                            _ => {}
                        }
                        return Some((stream, incoming));
                    }
                },
                _ = self.again.tick(), if !self.waiting.is_empty() => {
                    let Some(first) = self.waiting.pop_front() else { continue };
                    first
                }
            };
            if let Some(incoming) = self.add(&stream, workload).await {
                return Some((stream, incoming));
            }
        }
    }

    fn forget(&mut self, name: &str) {
        self.waiting.retain(|(_, workload)| workload.name != name);
        self.told.retain(|(told, _)| told != name);
    }

    async fn add(&mut self, stream: &Stream, mut workload: Box<WorkloadFacts>) -> Option<Incoming> {
        let (refused, incoming) = match self.read(&workload.name).await {
            Ok(scale) => {
                scale.apply_to(&mut workload);
                self.forget(&workload.name);
                // The others may be readable by now, too.
                self.again.reset_immediately();
                return Some(Incoming::Change(Change::Is(Object::Workload(workload))));
            }
            Err(NoScale::Never) => return None,
            Err(NoScale::Lost(words)) => (false, Incoming::Lost(words)),
            Err(NoScale::Refused(words)) => (true, Incoming::Refused(words)),
        };
        let is_news = self.told.insert((workload.name.clone(), refused));
        self.waiting.push_back((stream.clone(), workload));
        is_news.then_some(incoming)
    }

    /// The scale of one object. A failure that may be temporary is retried a few times, unless one has been reported
    /// already.
    async fn read(&mut self, name: &str) -> Result<Scaled, NoScale> {
        let mut wait = FIRST_WAIT;
        loop {
            match (self.scale)(name.to_owned()).await {
                Err(NoScale::Lost(_)) if self.told.is_empty() && wait < LONGEST_WAIT => {}
                answer => return answer,
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
    }
}

/// Why there is no scale.
#[derive(Debug)]
enum NoScale {
    /// The object is gone, or its kind cannot be scaled.
    Never,
    /// The API server does not answer, or not yet.
    Lost(String),
    /// The scale may not be read, or is invalid.
    Refused(String),
}

async fn scale(api: Api<DynamicObject>, name: String) -> Result<Scaled, NoScale> {
    let of = |words: &str| format!("the scale of {name}: {words}");
    match tokio::time::timeout(ANSWER, api.get_scale(&name)).await {
        Ok(Ok(scale)) => Ok(scale.into()),
        Ok(Err(kube::Error::Api(status))) => Err(match status.code {
            401 | 403 => NoScale::Refused(status.message.clone()),
            429 | 502..=504 => NoScale::Lost(of(&status.message)),
            400..500 => NoScale::Never,
            // For example if an object lacks the field in which its kind has the number.
            _ => NoScale::Refused(of(&status.message)),
        }),
        Ok(Err(error @ kube::Error::SerdeError(_))) => Err(NoScale::Refused(of(&error::words(&error)))),
        Ok(Err(error)) => Err(NoScale::Lost(of(&error::words(&error)))),
        Err(_) => Err(NoScale::Lost(of(&format!("no answer within {} s", ANSWER.as_secs())))),
    }
}

fn change<K>(event: &watcher::Event<K>, facts: &impl Fn(&K) -> Object) -> Change {
    match event {
        watcher::Event::Init => Change::Listing,
        watcher::Event::InitApply(object) | watcher::Event::Apply(object) => Change::Is(facts(object)),
        watcher::Event::InitDone => Change::Listed,
        watcher::Event::Delete(object) => Change::Gone(facts(object)),
    }
}

/// `None`: not a failure, the watch has only expired.
fn failure(failed: &watcher::Error) -> Option<Incoming> {
    let status = match failed {
        watcher::Error::WatchError(status)
        | watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => status,
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => return Some(Incoming::Lost(error::words(error))),
        watcher::Error::NoResourceVersion => {
            return Some(Incoming::Refused("the API server does not number its objects".to_owned()));
        }
    };
    match status.code {
        410 => None,
        401 | 403 | 404 | 405 => Some(Incoming::Refused(status.message.clone())),
        // It exists, but is not ready for us.
        _ => Some(Incoming::Lost(status.message.clone())),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use parking_lot::Mutex;
    use tokio::sync::mpsc;

    use super::*;
    use crate::facts::Writer;

    fn rooms() -> Stream {
        Stream::Workloads("Room".to_owned())
    }

    fn room(name: &str) -> Incoming {
        Incoming::Change(Change::Is(Object::Workload(Box::new(WorkloadFacts {
            kind: "Room".to_owned(),
            name: name.to_owned(),
            uid: name.to_owned(),
            replicas: 1,
            needs_scale: true,
            present: 0,
            selector: None,
            writer: Writer::Unknown,
            created: None,
            part: None,
        }))))
    }

    /// A message in words.
    fn words(next: Option<(Stream, Incoming)>) -> String {
        match next.unwrap().1 {
            Incoming::Change(Change::Is(Object::Workload(workload))) => {
                format!("{} {}", workload.name, workload.replicas)
            }
            Incoming::Change(change) => format!("{change:?}"),
            Incoming::Lost(words) => format!("lost: {words}"),
            Incoming::Refused(words) => format!("refused: {words}"),
        }
    }

    type Answers = Arc<Mutex<BTreeMap<&'static str, fn() -> Result<Scaled, NoScale>>>>;

    #[tokio::test]
    async fn an_object_without_a_scale_is_told_once_holds_up_no_other_and_comes_when_it_can_be_read() {
        let five = || Ok(Scaled { wanted: 5, present: 5, selector: None });
        let answers = Answers::default();
        let say = |name, answer| answers.lock().insert(name, answer);
        say("a", || Err(NoScale::Lost("it is busy".to_owned())));
        say("b", five);
        let known = Arc::clone(&answers);
        let (sender, receiver) = mpsc::unbounded_channel();
        let watch = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
        let mut told = with_scales(watch.boxed(), move |name| {
            let answer = known.lock()[name.as_str()];
            async move { answer() }
        });
        let send = |incoming: Incoming| sender.send((rooms(), incoming)).unwrap();

        send(room("a"));
        send(room("b"));
        assert_eq!(words(told.next().await), "lost: it is busy");
        assert_eq!(words(told.next().await), "b 5");
        // It is requested again automatically.
        say("a", five);
        assert_eq!(words(told.next().await), "a 5");

        // A revoked permission.
        let forbidden = || Err(NoScale::Refused("no right".to_owned()));
        say("a", forbidden);
        say("b", forbidden);
        for name in ["a", "b"] {
            send(room(name));
            assert_eq!(words(told.next().await), "refused: no right");
            // The same refusal is not reported again.
            send(room(name));
            send(Incoming::Change(Change::Listed));
            assert_eq!(words(told.next().await), "Listed");
        }
        // The permission is restored.
        say("a", five);
        say("b", five);
        let mut back = [words(told.next().await), words(told.next().await)];
        back.sort();
        assert_eq!(back, ["a 5", "b 5"]);
        // A new failure is reported again.
        say("a", forbidden);
        send(room("a"));
        assert_eq!(words(told.next().await), "refused: no right");
        // A deleted object is not requested: there would be no answer.
        let Incoming::Change(Change::Is(gone)) = room("a") else { unreachable!() };
        send(Incoming::Change(Change::Gone(gone)));
        assert!(words(told.next().await).starts_with("Gone"));
        answers.lock().remove("a");
        send(room("b"));
        assert_eq!(words(told.next().await), "b 5");
        drop(sender);
        assert!(told.next().await.is_none());
    }
}
