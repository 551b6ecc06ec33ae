//! Active health checks: one small task for each backend that has a `/readyz`.

mod probe;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::AbortHandle;

use crate::cluster::Cluster;
use crate::cluster::backend::Backend;
use crate::settings::HealthSettings;

/// Intervals vary by this share, so that the gateways of all nodes do not check in step.
const JITTER: f64 = 0.1;

/// The running checks. Ends them all when dropped.
#[derive(Debug)]
pub(crate) struct Checks {
    settings: HealthSettings,
    cluster: Arc<Cluster>,
    running: Vec<Check>,
}

#[derive(Debug)]
struct Check {
    backend: Arc<Backend>,
    address: SocketAddr,
    task: AbortHandle,
}

impl Drop for Check {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Checks {
    pub(crate) fn new(settings: HealthSettings, cluster: Arc<Cluster>) -> Self {
        Self { settings, cluster, running: Vec::new() }
    }

    /// Starts checking new backends and stops checking those that are gone or draining. Call it within a runtime, after
    /// the cluster has a new state.
    pub(crate) fn follow_cluster(&mut self) {
        let wanted = self.cluster.checks();
        let same = |check: &Check, backend: &Arc<Backend>, address: SocketAddr| {
            Arc::ptr_eq(&check.backend, backend) && check.address == address
        };
        self.running.retain(|check| wanted.iter().any(|(backend, address)| same(check, backend, *address)));
        for (backend, address) in wanted {
            if !self.running.iter().any(|check| same(check, &backend, address)) {
                let task =
                    check_for_ever(self.settings, Arc::clone(&self.cluster), Arc::clone(&backend), address);
                let task = tokio::spawn(task).abort_handle();
                self.running.push(Check { backend, address, task });
            }
        }
    }
}

/// The first check runs at once: until it has finished, the backend gets connections only if no other can.
async fn check_for_ever(
    settings: HealthSettings,
    cluster: Arc<Cluster>,
    backend: Arc<Backend>,
    address: SocketAddr,
) {
    loop {
        let result = probe::readyz(address, settings.timeout).await;
        cluster.checked(&backend, result);
        let interval = settings.interval.mul_f64(rand::random_range(1.0 - JITTER..=1.0 + JITTER));
        tokio::time::sleep(interval).await;
    }
}
