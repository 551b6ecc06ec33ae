//! [`ClusterTarget`]: a namespace of a cluster as a [`Target`].

use std::{fmt, sync::Arc, time::Duration};

use autoscale::explain::Case;
use http::{Request, StatusCode};
use platform::{
    HostPort, Target, TargetError,
    target::{
        Applied, Balanced, Drained, Endpoint, EventStream, EventsFrom, Killed, LogQuery, LogStream,
        NodeAdded, NodeRemoved, OnProgress, OnWait, ReplicaSnapshot, Reported, Scaled, Shed, Snapshot,
        Started, Stopped, Subject, Traffic, Wanted,
    },
};
use tokio::{runtime::Runtime, sync::mpsc};

use crate::{
    access::{Access, READING},
    act::Actor,
    balance::{self, Balancer, Balancing},
    case, connect,
    connect::{Cluster, Options},
    endpoint,
    facts::HpaFacts,
    logs,
    metrics::Metrics,
    minikube::{
        Minikube,
        nodes::{self, Joined},
    },
    observe::Observer,
    pod_http, read,
    snapshot::{self, Usage},
    world::Scope,
};

/// How often a waiting caller can cancel.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// Events and log lines that wait for a slow reader; when the queue is full, the watches wait too.
const QUEUE: usize = 1024;

/// A namespace of a cluster.
pub struct ClusterTarget {
    cluster: Cluster,
    scope: Scope,
    version: String,
    on_wait: Option<OnWait>,
    runtime: Runtime,
    minikube: Option<Minikube>,
    balancer: Option<Arc<Balancer>>,
}

impl fmt::Debug for ClusterTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterTarget").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl ClusterTarget {
    /// Finds the cluster and reads its version.
    pub fn connect(options: &Options, on_wait: Option<OnWait>) -> Result<Self, TargetError> {
        let runtime = runtime()?;
        let connected = wait(&runtime, on_wait.as_ref(), async {
            let cluster = connect::connect(options).await?;
            let version = cluster.version().await?;
            Ok((cluster, version))
        });
        let (cluster, version) = connected?;
        let scope = Scope { hpa: options.hpa.clone() };
        Ok(Self { cluster, scope, version, on_wait, runtime, minikube: None, balancer: None })
    }

    /// Marks its nodes as minikube's, so that nodes can be added and removed.
    #[must_use]
    pub fn of_minikube(self, minikube: Minikube) -> Self {
        Self { minikube: Some(minikube), ..self }
    }

    /// For a balancer, which sees only its own Deployment and needs few permissions.
    #[must_use]
    pub fn of_balancer(self, balancing: Balancing) -> Self {
        Self { balancer: Some(Arc::new(Balancer::new(balancing))), ..self }
    }

    fn balancer_of(&self, service: &str) -> Arc<Balancer> {
        let own = self.balancer.as_ref().filter(|own| own.service() == service);
        own.map_or_else(|| Arc::new(Balancer::outside(service)), Arc::clone)
    }

    /// Waits for a balancer's change.
    fn balances<T>(
        &self,
        what: &str,
        work: impl Future<Output = Result<T, TargetError>>,
    ) -> Result<T, TargetError> {
        self.wait(balance::bounded(&self.cluster, what, work))
    }

    /// The API server's version, such as `v1.34.4`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Which cluster this is, in words for errors and reports.
    pub fn place(&self) -> &str {
        &self.cluster.place
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Waits without asking whether to cancel.
    pub(crate) fn run<T>(&self, answer: impl Future<Output = T>) -> T {
        self.runtime.block_on(answer)
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    pub(crate) fn wait<T>(
        &self,
        answer: impl Future<Output = Result<T, TargetError>>,
    ) -> Result<T, TargetError> {
        wait(&self.runtime, self.on_wait.as_ref(), answer)
    }

    /// Where clients inside the cluster connect to `service`.
    pub fn endpoint_inside(&self, service: &str) -> Result<HostPort, TargetError> {
        self.wait(async {
            let world = self.observer().await?.world;
            endpoint::inside(&self.cluster, &world, service).await
        })
    }

    /// The present state, and the watches that continue from it.
    pub(crate) async fn observer(&self) -> Result<Observer, TargetError> {
        let access = Access::review(&self.cluster, READING).await?;
        Observer::begin(&self.cluster, access, self.scope.clone()).await
    }

    /// The minikube whose nodes can be added and removed.
    fn minikube(&self, what: &str) -> Result<&Minikube, TargetError> {
        self.minikube.as_ref().ok_or_else(|| TargetError::Unsupported {
            what: format!("{what} a node of this cluster"),
            why: "its machines belong to its operator, who adds and removes them; an existing node can be cordoned \
                  and drained (playctl drain node/NAME) and uncordoned (playctl start node/NAME), and on minikube nodes can be added and removed: playctl --target minikube node"
                .to_owned(),
        })
    }

    /// Checks repeatedly until there is an answer, for at most `patience`; the error of `look` says what is still
    /// missing.
    fn until<T>(
        &self,
        minikube: &Minikube,
        patience: Duration,
        look: impl AsyncFn() -> Result<Result<T, String>, TargetError>,
    ) -> Result<T, TargetError> {
        let deadline = clock::now() + patience;
        loop {
            let missing = match self.wait(look())? {
                Ok(answer) => return Ok(answer),
                Err(missing) => missing,
            };
            if clock::now() >= deadline {
                let message = format!("after {} s: {missing}", patience.as_secs());
                return Err(TargetError::Other { message });
            }
            minikube.waits(&missing)?;
        }
    }

    /// The autoscaler of a service.
    async fn hpa(&self, service: &str) -> Result<HpaFacts, TargetError> {
        let hpas = read::hpas(&self.cluster).await?;
        let in_scope = |hpa: &&HpaFacts| self.scope.hpa.as_ref().is_none_or(|name| *name == hpa.name);
        let hpas: Vec<&HpaFacts> = hpas.iter().filter(in_scope).collect();
        let named = hpas.iter().find(|hpa| hpa.target.name == service || hpa.name == service);
        named.map(|hpa| (*hpa).clone()).ok_or_else(|| TargetError::UnknownService {
            service: format!("autoscaled {service}"),
            known: hpas.iter().map(|hpa| hpa.target.name.clone()).collect(),
        })
    }
}

/// The runtime on which calls block.
pub(crate) fn runtime() -> Result<Runtime, TargetError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .thread_name("cluster")
        .build()
        .map_err(TargetError::other)
}

/// Waits for an answer, and lets the caller cancel meanwhile.
pub(crate) fn wait<T>(
    runtime: &Runtime,
    on_wait: Option<&OnWait>,
    answer: impl Future<Output = Result<T, TargetError>>,
) -> Result<T, TargetError> {
    runtime.block_on(async {
        let began = clock::now();
        let mut answer = std::pin::pin!(answer);
        loop {
            match tokio::time::timeout(ASK_EVERY, &mut answer).await {
                Ok(answer) => return answer,
                Err(_) if on_wait.is_some_and(|on_wait| on_wait(began.elapsed()).is_break()) => {
                    return Err(TargetError::Interrupted);
                }
                Err(_) => {}
            }
        }
    })
}

/// The received items as a blocking iterator.
fn blocking<T: Send + 'static>(mut receiver: mpsc::Receiver<T>) -> Box<dyn Iterator<Item = T> + Send> {
    Box::new(std::iter::from_fn(move || receiver.blocking_recv()))
}

impl Target for ClusterTarget {
    fn is_up(&self) -> Result<bool, TargetError> {
        self.wait(async { Ok(self.observer().await?.world.services().next().is_some()) })
    }

    fn apply(&self, _wanted: Wanted<'_>, _progress: &mut OnProgress<'_>) -> Result<Applied, TargetError> {
        Err(TargetError::Unsupported {
            what: "bringing the platform up in a cluster by this command".to_owned(),
            why: "playctl up --target cluster does that".to_owned(),
        })
    }

    fn teardown(&self, _grace: bool) -> Result<(), TargetError> {
        Err(TargetError::Unsupported {
            what: "taking the platform down in a cluster by this command".to_owned(),
            why: "playctl down --target cluster does that".to_owned(),
        })
    }

    fn snapshot(&self) -> Result<Snapshot, TargetError> {
        if let Some(balancer) = &self.balancer {
            return self.wait(balancer.snapshot(&self.cluster));
        }
        self.wait(async {
            let access = Access::review(&self.cluster, READING).await?;
            let mut problems = access.missing(&self.cluster.namespace);
            let metrics = Metrics::new(self.cluster.clone());
            // Clusters without metrics-server have none.
            let usages = async { metrics.usages(None).await.ok() };
            let may_read = access.allows("metrics.k8s.io", "pods");
            let usages = if may_read { usages.await } else { None };
            let usage = usages.as_ref().map(Usage::of).unwrap_or_default();
            let mut observer = Observer::begin(&self.cluster, access, self.scope.clone()).await?;
            problems.append(&mut observer.refusals);
            let mut published = endpoint::published(&self.cluster, &observer.world).await;
            let mut snapshot =
                snapshot::snapshot(&self.cluster, &observer.world, &usage, problems, clock::wall());
            for service in &mut snapshot.services {
                service.endpoint = published.remove(&service.name);
            }
            Ok(snapshot)
        })
    }

    fn events(&self, from: EventsFrom) -> Result<EventStream, TargetError> {
        if from != EventsFrom::Now {
            return Err(TargetError::Unsupported {
                what: "events from the beginning".to_owned(),
                why: "a cluster does not record them; they begin when somebody watches".to_owned(),
            });
        }
        let observer = self.wait(self.observer())?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.runtime.spawn(observer.run(sender));
        Ok(Box::new(blocking(receiver).map(Ok)))
    }

    fn scale(&self, service: &str, replicas: u32) -> Result<Scaled, TargetError> {
        if let Some(balancer) = &self.balancer {
            return self.balances("setting the replicas", balancer.scale(&self.cluster, replicas));
        }
        self.wait(async {
            let world = self.observer().await?.world;
            Actor { cluster: &self.cluster, world: &world }.scale(service, replicas).await
        })
    }

    fn kill(&self, what: &Subject, restart: bool) -> Result<Killed, TargetError> {
        self.wait(async {
            let world = self.observer().await?.world;
            Actor { cluster: &self.cluster, world: &world }.kill(what, restart).await
        })
    }

    fn stop(&self, what: &Subject) -> Result<Stopped, TargetError> {
        self.wait(async {
            let world = self.observer().await?.world;
            Actor { cluster: &self.cluster, world: &world }.stop(what).await
        })
    }

    fn start(&self, what: &Subject) -> Result<Started, TargetError> {
        self.wait(async {
            let world = self.observer().await?.world;
            Actor { cluster: &self.cluster, world: &world }.start(what).await
        })
    }

    fn drain(&self, what: &Subject) -> Result<Drained, TargetError> {
        self.wait(async {
            let world = self.observer().await?.world;
            Actor { cluster: &self.cluster, world: &world }.drain(what).await
        })
    }

    fn logs(&self, query: &LogQuery) -> Result<LogStream, TargetError> {
        let world = self.wait(async { Ok(self.observer().await?.world) })?;
        let pods = logs::Pods::of(&world, query)?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.runtime.spawn(logs::run(self.cluster.clone(), pods, query.clone(), sender));
        Ok(blocking(receiver))
    }

    fn endpoint(&self, service: &str) -> Result<Endpoint, TargetError> {
        self.wait(async {
            let world = self.observer().await?.world;
            endpoint::of(&self.cluster, &world, service).await
        })
    }

    fn autoscaler(&self, service: &str) -> Result<Case, TargetError> {
        if let Some(balancer) = &self.balancer {
            return self.wait(balancer.autoscaler(&self.cluster));
        }
        self.wait(async {
            let hpa = self.hpa(service).await?;
            case::case(&self.cluster, &hpa, clock::wall()).await
        })
    }

    fn add_node(&self) -> Result<NodeAdded, TargetError> {
        let minikube = self.minikube("adding")?;
        let name = minikube.add_node()?;
        let follows = self.until(minikube, nodes::JOIN, async || {
            Ok(match nodes::joined(&self.cluster, &name).await? {
                Joined::Yes(follows) => Ok(follows),
                Joined::NotYet(missing) => Err(format!("node {name}: {missing}")),
            })
        })?;
        let nodes = self.wait(nodes::count(&self.cluster))?;
        Ok(NodeAdded { name, nodes, follows })
    }

    fn remove_node(&self, name: Option<&str>) -> Result<NodeRemoved, TargetError> {
        let minikube = self.minikube("removing")?;
        let name = minikube.removable(name)?;
        // minikube's own drain gives every pod one second and ignores disruption budgets.
        self.until(minikube, nodes::LEAVE, async || {
            if !nodes::exists(&self.cluster, &name).await? {
                return Ok(Ok(()));
            }
            let world = self.observer().await?.world;
            let actor = Actor { cluster: &self.cluster, world: &world };
            let drained = actor.drain_node(&name).await;
            let left = nodes::left_on(&self.cluster, &name).await?;
            Ok(match drained {
                _ if left.is_empty() => Ok(()),
                Ok(_) => Err(format!("node {name} still has {}", left.join(", "))),
                Err(held) => Err(held.to_string()),
            })
        })?;
        minikube.delete_node(&name)?;
        let nodes = self.wait(nodes::count(&self.cluster))?;
        Ok(NodeRemoved { name, nodes })
    }

    fn reported(&self, service: &str) -> Result<Option<Reported>, TargetError> {
        self.wait(async {
            let hpa = self.hpa(service).await?;
            case::reported(&self.cluster, &hpa, clock::wall()).await.map(Some)
        })
    }

    fn set_traffic(&self, service: &str, replica: &str, traffic: Traffic) -> Result<(), TargetError> {
        let balancer = self.balancer_of(service);
        self.balances("changing a pod", balancer.set_traffic(&self.cluster, replica, traffic))
    }

    fn set_deletion_cost(&self, service: &str, replica: &str, cost: i32) -> Result<(), TargetError> {
        let balancer = self.balancer_of(service);
        self.balances("changing a pod", balancer.set_deletion_cost(&self.cluster, replica, cost))
    }

    fn shed(&self, service: &str, replica: &str, order: &Shed) -> Result<u64, TargetError> {
        let balancer = self.balancer_of(service);
        self.balances("an order to shed", balancer.shed(&self.cluster, replica, order))
    }

    fn metrics_page(&self, replica: &ReplicaSnapshot) -> Result<Option<String>, TargetError> {
        let Some(port) = replica.admin_port else { return Ok(None) };
        self.wait(async {
            let request = Request::get("/metrics");
            let asked = pod_http::forwarded(&self.cluster, &replica.name, port, request, String::new()).await;
            let wrong = |why: String| TargetError::Other { message: format!("its page of metrics: {why}") };
            let (status, page) = asked.map_err(wrong)?;
            if status != StatusCode::OK {
                return Err(wrong(format!("answered with {status}")));
            }
            Ok(Some(String::from_utf8_lossy(&page).into_owned()))
        })
    }

    fn tell_balanced(&self, service: &str, balanced: &Balanced) -> Result<(), TargetError> {
        let balancer = self.balancer_of(service);
        self.balances("telling what was decided", balancer.tell(&self.cluster, balanced))
    }
}
