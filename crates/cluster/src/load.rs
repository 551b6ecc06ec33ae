//! A load from inside the cluster: a Job whose pods are the load's workers.
//!
//! The workers get their orders over their containers' standard input (`pods/attach`) and answer in their logs. Both
//! survive a broken connection: the log is followed again, and the input stays open. The Job is deleted at the end, and
//! ends by itself if this program is gone.

mod job;
mod talk;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Event, Pod},
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams},
};
use parking_lot::Mutex;
use platform::TargetError;
use tokio::sync::mpsc;

use crate::{
    ClusterTarget,
    access::{Access, Right},
    connect::Cluster,
    facts::{Facts as _, Object, PodFacts},
};
use job::{Image, describe};

/// How long pods may take to start.
const PATIENCE: Duration = Duration::from_mins(3);
/// How long pulling an image may fail: registries have brief outages.
const PULL_PATIENCE: Duration = Duration::from_secs(30);
/// How often to check the pods.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Messages of all workers that wait to be read.
const HEARD_QUEUE: usize = 1024;
/// Lines that wait to be written to one worker.
const TOLD_QUEUE: usize = 256;

const RIGHTS: &[Right] = &[
    Right {
        group: "batch",
        resource: "jobs",
        verbs: &["create", "delete"],
        namespaced: true,
        without: "the load's Job cannot be made",
    },
    Right {
        group: "",
        resource: "pods",
        verbs: &["list"],
        namespaced: true,
        without: "its pods are not found",
    },
    Right {
        group: "",
        resource: "pods/log",
        verbs: &["get"],
        namespaced: true,
        without: "what its workers measure cannot be read",
    },
    Right {
        group: "",
        resource: "pods/attach",
        // A WebSocket starts with a GET; newer API servers require `create` as well.
        verbs: &["get", "create"],
        namespaced: true,
        without: "its workers cannot be told what to do",
    },
];

/// What to run in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadRequest {
    /// The number of pods.
    pub workers: u32,
    /// An image that contains this version of `playctl`; by default the one that our chart's pods in the namespace run.
    pub image: Option<String>,
    /// The maximum duration of the load; its pods end then even if nobody ends them.
    pub at_most: Duration,
}

/// A Job whose pods are running and wait for orders. Deleted when dropped.
pub struct LoadJob {
    target: Arc<ClusterTarget>,
    name: String,
    pods: Vec<(String, String)>,
    told: Vec<mpsc::Sender<String>>,
    /// Locked while waiting, by the only thread that reads.
    heard: Mutex<mpsc::Receiver<(u32, Heard)>>,
    is_deleted: AtomicBool,
}

/// A worker's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A line of its log.
    Line(String),
    /// It has ended, and why.
    Ended(String),
}

impl fmt::Debug for LoadJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadJob").field("name", &self.name).field("pods", &self.pods).finish_non_exhaustive()
    }
}

impl LoadJob {
    /// Creates the Job and waits until its pods run. `progress` receives what it is waiting for.
    pub fn start(
        target: &Arc<ClusterTarget>,
        request: &LoadRequest,
        progress: &(dyn Fn(&str) + Sync),
    ) -> Result<Self, TargetError> {
        let cluster = target.cluster();
        let image = target.wait(async {
            let missing = Access::review(cluster, RIGHTS).await?.missing(&cluster.namespace);
            if !missing.is_empty() {
                return Err(TargetError::Other { message: missing.join("; ") });
            }
            match &request.image {
                Some(reference) => Ok(Image::named(reference)),
                None => image_of_ours(cluster).await,
            }
        })?;
        let name = format!("playctl-load-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
        let job = describe(&name, &cluster.namespace, request, &image, PATIENCE);
        progress(&format!("job {name}: {} pods of {}", request.workers, image.reference));
        let jobs: Api<Job> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        target.wait(async {
            cluster.ask(format!("making job {name}"), jobs.create(&PostParams::default(), &job)).await
        })?;
        // From here on the Job is deleted whatever happens.
        let (sender, heard) = mpsc::channel(HEARD_QUEUE);
        let mut started = Self {
            target: Arc::clone(target),
            name,
            pods: Vec::new(),
            told: Vec::new(),
            heard: Mutex::new(heard),
            is_deleted: AtomicBool::new(false),
        };
        started.pods = started.until_they_run(request.workers, progress)?;
        for (worker, (pod, _)) in started.pods.iter().enumerate() {
            let (told, lines) = mpsc::channel(TOLD_QUEUE);
            started.told.push(told);
            let (worker, sender) = (worker as u32, sender.clone());
            let (listening, telling) = (cluster.clone(), cluster.clone());
            target.spawn(talk::listen(listening, pod.clone(), worker, sender));
            target.spawn(talk::tell(telling, pod.clone(), lines));
        }
        Ok(started)
    }

    /// The Job's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn workers(&self) -> u32 {
        self.pods.len() as u32
    }

    /// The worker's pod and node.
    pub fn worker(&self, worker: u32) -> String {
        match self.pods.get(worker as usize) {
            Some((pod, node)) => format!("pod {pod} on node {node}"),
            None => format!("worker {worker}"),
        }
    }

    /// Queues a line for a worker's standard input, without waiting.
    pub fn tell(&self, worker: u32, line: String) {
        if let Some(told) = self.told.get(worker as usize) {
            // A worker that reads nothing any more is noticed by its silence.
            let _ = told.try_send(line);
        }
    }

    /// Waits for a message of any worker.
    pub fn hear(&self, patience: Duration) -> Option<(u32, Heard)> {
        let mut heard = self.heard.lock();
        self.target.run(async { tokio::time::timeout(patience, heard.recv()).await.ok().flatten() })
    }

    /// Deletes the Job and its pods. A second call does nothing.
    pub fn delete(&self) -> Result<(), TargetError> {
        if self.is_deleted.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let cluster = self.target.cluster();
        let jobs: Api<Job> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let deleted = self
            .target
            .run(async { cluster.try_ask(jobs.delete(&self.name, &DeleteParams::background())).await });
        match deleted {
            Err(call) if call.status() != Some(404) => Err(TargetError::Other {
                message: format!(
                    "job {} is left: {}; it ends and is deleted by itself, or at once with: kubectl delete job {} -n {}",
                    self.name,
                    call.words(),
                    self.name,
                    cluster.namespace
                ),
            }),
            _ => Ok(()),
        }
    }

    /// Waits for the pods; returns them by worker, each with its node.
    fn until_they_run(
        &self,
        workers: u32,
        progress: &(dyn Fn(&str) + Sync),
    ) -> Result<Vec<(String, String)>, TargetError> {
        let cluster = self.target.cluster();
        let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let ours = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={}", self.name));
        let began = clock::now();
        let mut pull_failed: Option<Instant> = None;
        loop {
            let pods = self.target.wait(cluster.ask("the load's pods", api.list(&ours)))?.items;
            let pods: BTreeMap<u32, PodFacts> = pods.iter().filter_map(of_worker).collect();
            let runs = |pod: &PodFacts| pod.containers.iter().any(|container| container.running.is_some());
            if pods.len() as u32 == workers && pods.values().all(runs) {
                let place = |pod: PodFacts| (pod.name, pod.node.unwrap_or_default());
                return Ok(pods.into_values().map(place).collect());
            }
            let late = pods.values().find(|pod| !runs(pod));
            let trouble = match late {
                Some(pod) => {
                    let why = talk::how_it_ended(pod).unwrap_or_else(|| pod.why_not_ready());
                    format!("pod {}: {why}", pod.name)
                }
                None => self.target.run(self.why_no_pod(cluster)),
            };
            let is_hopeless = late.is_some_and(|pod| pod.is_over() || is_refused(pod));
            let is_pull = late.is_some_and(fails_to_pull);
            pull_failed = if is_pull { pull_failed.or_else(|| Some(clock::now())) } else { None };
            let is_pull_hopeless = pull_failed.is_some_and(|since| since.elapsed() > PULL_PATIENCE);
            if is_hopeless || is_pull_hopeless || began.elapsed() > PATIENCE {
                let log = match late {
                    Some(pod) => self.target.run(last_words(cluster, &pod.name)),
                    None => String::new(),
                };
                let message = format!("the load's workers do not run: {trouble}{log}");
                return Err(TargetError::Other { message });
            }
            let running = pods.values().filter(|pod| runs(pod)).count();
            progress(&format!("{running} of {workers} pods run; {trouble}"));
            // A separate wait each time, because the cluster does answer.
            self.target.wait(async {
                tokio::time::sleep(LOOK_EVERY).await;
                Ok(())
            })?;
        }
    }

    /// What the Job's controller reports, such as that a quota or an admission policy refuses its pods.
    async fn why_no_pod(&self, cluster: &Cluster) -> String {
        let api: Api<Event> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let about = ListParams::default()
            .fields(&format!("involvedObject.kind=Job,involvedObject.name={},type=Warning", self.name));
        // Without permission to read events, the reason stays unknown.
        let events = cluster.try_ask(api.list(&about)).await.map(|list| list.items).unwrap_or_default();
        let last = events.into_iter().filter_map(|event| event.message).next_back();
        last.unwrap_or_else(|| "its pods are not there yet".to_owned())
    }
}

impl Drop for LoadJob {
    fn drop(&mut self) {
        // The Job ends by itself if that fails.
        let _ = self.delete();
    }
}

fn of_worker(pod: &Pod) -> Option<(u32, PodFacts)> {
    let Object::Pod(facts) = pod.facts() else { return None };
    let index = pod.metadata.annotations.as_ref()?.get("batch.kubernetes.io/job-completion-index")?;
    Some((index.parse().ok()?, *facts))
}

fn waits_for<'a>(pod: &'a PodFacts, reasons: &'a [&str]) -> bool {
    let waiting = pod.containers.iter().filter_map(|container| container.waiting.as_ref());
    waiting.into_iter().any(|(reason, _)| reasons.contains(&reason.as_str()))
}

/// Whether the pod failed in a way that waiting does not change.
fn is_refused(pod: &PodFacts) -> bool {
    waits_for(
        pod,
        &["InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError", "RunContainerError"],
    )
}

fn fails_to_pull(pod: &PodFacts) -> bool {
    waits_for(pod, &["ErrImagePull", "ImagePullBackOff"])
}

/// The end of a pod's log, for an error message.
async fn last_words(cluster: &Cluster, pod: &str) -> String {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let params = kube::api::LogParams { tail_lines: Some(5), ..kube::api::LogParams::default() };
    let text = cluster.try_ask(api.logs(pod, &params)).await.unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.is_empty() { String::new() } else { format!("; it wrote: {}", lines.join(" / ")) }
}

/// The image that our chart's pods run here, and its pull settings.
async fn image_of_ours(cluster: &Cluster) -> Result<Image, TargetError> {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let ours = ListParams::default().labels("app.kubernetes.io/part-of=playground");
    let pods = cluster.ask("the pods of our chart", api.list(&ours)).await?;
    pods.items.iter().find_map(Image::served_by).ok_or_else(|| TargetError::Invalid {
        message: format!(
            "namespace {} has no pod of our chart whose image could be taken; name one with playctl in it: --image REF \
             (`playctl image build` makes one)",
            cluster.namespace
        ),
    })
}

#[cfg(test)]
mod tests;
