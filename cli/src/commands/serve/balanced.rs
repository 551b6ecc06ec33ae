//! The platform that `playctl serve balancer` acts on, and the turn to act.

use std::{env, sync::Arc};

use balancer::{Environment, Platform, Settings, Turn};
use cluster::{Balancing, ClusterTarget, Election, Options, Terms};
use local::{BalancerTurn, LocalTarget};

use crate::failure::Failure;

/// A platform of this machine, a cluster, or none.
pub(super) fn platform(settings: &Settings) -> Result<Platform, Failure> {
    if settings.environment == Environment::ContainerRuntime {
        let why = "ENVIRONMENT_TYPE=container_runtime: nobody there adds or removes servers".to_owned();
        return Ok(Platform::None { why });
    }
    if let Some(name) = &settings.local_platform {
        let target = LocalTarget::new(name)?;
        let turn = Arc::new(OfThisMachine(target.balancer_turn(&settings.service)));
        return Ok(Platform::Target(Arc::new(target), turn));
    }
    let in_pod = env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    if !in_pod && settings.cluster.kubeconfig.is_none() {
        let why =
            "PLAYCTL_PLATFORM and BALANCER_KUBECONFIG name none, and this is no pod of a cluster".to_owned();
        return Ok(Platform::None { why });
    }
    in_cluster(settings)
}

fn in_cluster(settings: &Settings) -> Result<Platform, Failure> {
    let own = &settings.cluster;
    if !settings.sessions_in_redis && own.gauge.is_none() {
        let service = &settings.service;
        let message = format!(
            "CONNECTIONS_METRIC is not set: expected the gauge of connections that the pods of {service} have at /metrics \
             of their port admin, or SESSIONS_FROM=redis if they list their sessions there"
        );
        return Err(Failure::usage(message));
    }
    let options = Options { kubeconfig: own.kubeconfig.clone(), ..Options::default() };
    let name = settings.pod_name.clone().unwrap_or_else(|| "playctl".to_owned());
    let balancing = Balancing {
        service: settings.service.clone(),
        gauge: own.gauge.clone(),
        token: own.shed_token.clone(),
        inside: own.kubeconfig.is_none(),
        name: name.clone(),
    };
    let target = Arc::new(ClusterTarget::connect(&options, None)?.of_balancer(balancing));
    // A container that is started again has the same name.
    let identity = format!("{name}_{}", uuid::Uuid::new_v4());
    let election = Election::begin(&target, &own.lease, &identity, Terms::default());
    // Its threads must not be ended where something waits on them, so they end with this process.
    std::mem::forget(Arc::clone(&target));
    Ok(Platform::Target(target, Arc::new(OfCluster(election))))
}

struct OfThisMachine(BalancerTurn);

impl Turn for OfThisMachine {
    fn is_mine(&self) -> bool {
        self.0.take()
    }

    fn whose(&self) -> String {
        self.0.holder()
    }

    fn give_back(&self) {
        self.0.give_back();
    }
}

struct OfCluster(Election);

impl Turn for OfCluster {
    fn is_mine(&self) -> bool {
        self.0.leads()
    }

    fn whose(&self) -> String {
        match self.0.holder() {
            holder if holder.is_empty() => "nobody yet".to_owned(),
            holder => holder,
        }
    }

    fn give_back(&self) {
        self.0.give_back();
    }
}
