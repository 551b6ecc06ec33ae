//! A local port that leads to a pod through the API server, for a few connections and where there is no other way.

use std::{net::SocketAddr, sync::Arc};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use platform::TargetError;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::AbortHandle,
};

use crate::{
    ClusterTarget,
    connect::Cluster,
    endpoint::{self, Front},
    facts::{Facts as _, Object, Selector},
};

/// All connections go through the API server, each over its own connection.
pub const CONNECTIONS_MAX: u64 = 50;

/// Forwards until it is dropped.
#[derive(Debug)]
pub struct PortForward {
    address: SocketAddr,
    pod: String,
    task: AbortHandle,
    /// The forwarding runs on the target's threads.
    _target: Arc<ClusterTarget>,
}

impl PortForward {
    /// Forwards to a pod that accepts clients of `service`: the gateway's if there is one, otherwise the service's own.
    pub fn start(target: &Arc<ClusterTarget>, service: &str) -> Result<Self, TargetError> {
        let cluster = target.cluster();
        let (address, pod, port, listener) = target.wait(async {
            let world = target.observer().await?.world;
            let fronts = endpoint::fronts(cluster, &world, service).await?;
            let mut found = None;
            for front in &fronts {
                found = found.or(behind(cluster, front).await?);
            }
            let (pod, port) = found.ok_or_else(|| TargetError::Unsupported {
                what: format!("forwarding a port to {service}"),
                why: "no Service leads to a pod of it that is ready".to_owned(),
            })?;
            let listener = TcpListener::bind("127.0.0.1:0").await.map_err(TargetError::other)?;
            let address = listener.local_addr().map_err(TargetError::other)?;
            // The first connection shows whether forwarding is permitted and possible.
            let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
            cluster
                .ask(format!("forwarding port {port} of pod {pod}"), api.portforward(&pod, &[port]))
                .await?;
            Ok((address, pod, port, listener))
        })?;
        let forwarding = tokio_task(target, forward(cluster.clone(), listener, pod.clone(), port));
        Ok(Self { address, pod, task: forwarding, _target: Arc::clone(target) })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn pod(&self) -> &str {
        &self.pod
    }
}

impl Drop for PortForward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn tokio_task(target: &ClusterTarget, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
    target.run(async { tokio::spawn(task).abort_handle() })
}

/// A ready pod behind a Service, and its port.
async fn behind(cluster: &Cluster, front: &Front) -> Result<Option<(String, u16)>, TargetError> {
    let Some(labels) = front.service.spec.as_ref().and_then(|spec| spec.selector.clone()) else {
        return Ok(None);
    };
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let selected = ListParams::default().labels(&Selector::of_labels(labels).to_string());
    let pods = cluster.ask("the pods behind the Service", api.list(&selected)).await?;
    Ok(pods.items.iter().find_map(|pod| {
        let Object::Pod(facts) = pod.facts() else { return None };
        let port = endpoint::pod_port(&front.port, pod)?;
        (facts.is_ready() && facts.deleting.is_none()).then_some((facts.name, port))
    }))
}

async fn forward(cluster: Cluster, listener: TcpListener, pod: String, port: u16) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
    // When this task is aborted, all connections end.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((client, _)) = listener.accept().await else { return };
        while connections.try_join_next().is_some() {}
        let (cluster, pod) = (cluster.clone(), pod.clone());
        connections.spawn(async move {
            // A failure closes the connection, as with every port forwarding.
            let _ = carry(&cluster, &pod, port, client).await;
            drop(permit);
        });
    }
}

async fn carry(cluster: &Cluster, pod: &str, port: u16, mut client: TcpStream) -> std::io::Result<()> {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let opened = cluster.try_ask(api.portforward(pod, &[port])).await;
    let mut forwarder = opened.map_err(|call| std::io::Error::other(call.words()))?;
    let Some(mut stream) = forwarder.take_stream(port) else { return Ok(()) };
    client.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut stream).await?;
    Ok(())
}
