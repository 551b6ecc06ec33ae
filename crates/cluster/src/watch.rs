//! Watches of the API server, as changes.
//!
//! A watch that ends or fails continues where it was. If the API server no longer has that place (410), the watch lists
//! everything again. Either way the world compares, and tells nothing twice.

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
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

use crate::{
    access::Access,
    connect::Cluster,
    error,
    facts::{Facts, Object},
    kinds::is_usual,
    read::Scaled,
    world::{Change, Stream},
};

/// After this long (and 30 s) without a word a watch is started again: its connection may be dead.
const WATCH_SECONDS: u32 = 60;
/// The wait after the first failure; doubled up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(200);
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// What comes from a watch.
#[derive(Debug)]
pub(crate) enum Incoming {
    Change(Change),
    /// The connection failed and is made again.
    Lost(String),
    /// The API server refuses, such as after a right was taken away; it is asked again.
    Refused(String),
}

pub(crate) type Watches = stream::SelectAll<BoxStream<'static, (Stream, Incoming)>>;

/// Watches all that may be read; returns the streams that will come, and those that will not.
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
        add(&kind.group, &kind.plural, Stream::Workloads(kind.kind.clone()), &|stream| {
            let api = Api::<DynamicObject>::namespaced_with(client(), namespace, kind);
            let of_kind = kind.kind.clone();
            // The items of a list do not repeat their kind.
            let watch = one(api.clone(), stream, move |object: &DynamicObject| match object.facts() {
                Object::Workload(mut workload) => {
                    workload.kind.clone_from(&of_kind);
                    Object::Workload(workload)
                }
                other => other,
            });
            if is_usual(kind) { watch } else { with_scales(watch, api) }
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

/// One watch for ever.
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

/// Adds what an object itself does not say where a Deployment does: its kind has other places for it, and only the API server
/// knows them. Without the right to read scales, such objects are not seen, as if their kind were refused.
fn with_scales(
    watch: BoxStream<'static, (Stream, Incoming)>,
    api: Api<DynamicObject>,
) -> BoxStream<'static, (Stream, Incoming)> {
    let is_refused = Arc::new(AtomicBool::new(false));
    let added = watch.filter_map(move |(stream, incoming)| {
        let (api, is_refused) = (api.clone(), Arc::clone(&is_refused));
        async move {
            let Incoming::Change(Change::Is(Object::Workload(mut workload))) = incoming else {
                return Some((stream, incoming));
            };
            if workload.elsewhere {
                match scale(&api, &workload.name).await {
                    Ok(scale) => scale.add_to(&mut workload),
                    Err(Refusal { forbidden: true, message }) => {
                        let is_first = !is_refused.swap(true, Ordering::Relaxed);
                        return is_first.then_some((stream, Incoming::Refused(message)));
                    }
                    // It is gone by now, or its kind cannot be scaled.
                    Err(_) => return None,
                }
            }
            Some((stream, Incoming::Change(Change::Is(Object::Workload(workload)))))
        }
    });
    added.boxed()
}

/// Why there is no scale.
struct Refusal {
    forbidden: bool,
    message: String,
}

/// The scale of one object, as soon as the API server answers.
async fn scale(api: &Api<DynamicObject>, name: &str) -> Result<Scaled, Refusal> {
    let mut wait = FIRST_WAIT;
    loop {
        match api.get_scale(name).await {
            Ok(scale) => return Ok(scale.into()),
            Err(kube::Error::Api(status)) if (400..500).contains(&status.code) && status.code != 429 => {
                return Err(Refusal {
                    forbidden: matches!(status.code, 401 | 403),
                    message: status.message.clone(),
                });
            }
            Err(_) => {}
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
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

/// `None`: nothing is wrong, the watch has only expired.
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
        // It is there, but not ready for us.
        _ => Some(Incoming::Lost(status.message.clone())),
    }
}
