//! A load of a cluster: directly if it can be reached, through the API server for few connections, and from inside
//! otherwise or on request.

use std::{sync::Arc, time::Duration};

use cluster::{ClusterTarget, FORWARDED_MAX, LoadJob, LoadRequest, PortForward};
use load::{Away, Heard, Identify, Options, Workers};
use platform::{Target, TargetError, target::Endpoint};
use scenario::{Protocol, Scenario};

use super::{Inside, Outputs, carry_out, check_engine, check_fit, pairs, resolve, unfit_failure, watched};
use crate::{
    context::Context,
    failure::{Failure, Outcome},
    platform_source,
};

/// Default number of pods.
const WORKERS: u32 = 4;
/// A pod has one address, and so some 28,000 ports for one target.
const CONNECTIONS_OF_ONE: u32 = 20_000;
/// Time that a load may take in addition to its own length: the joint start, outstanding answers, the results.
const BEYOND: Duration = Duration::from_mins(3);

/// Makes a load come from pods.
pub(super) const FROM_PODS: &str = "--in-cluster";

/// How clients reach their target.
enum Way {
    Direct,
    Forwarded(PortForward),
    Inside,
}

pub(super) fn run(
    context: &Context,
    scenario: Scenario,
    mut options: Options,
    addresses: Vec<String>,
    inside: &Inside,
    outputs: &Outputs,
) -> Outcome {
    scenario.check_for_clusters().map_err(|unfit| unfit_failure(&scenario, &unfit))?;
    let cluster = platform_source::cluster(context)?;
    let target: Arc<dyn Target> = cluster.clone();
    if addresses.is_empty() {
        check_service(&scenario, &*target)?;
        check_fit(&scenario, &*target)?;
    } else if scenario.names_workloads() {
        check_fit(&scenario, &*target)?;
    }
    if !addresses.is_empty() && options.identify == Identify::Auto {
        // A server that may not be ours gets only the payload, unless requested otherwise.
        options.identify = Identify::Never;
    }
    let way = if inside.in_cluster { Way::Inside } else { way(context, &cluster, &scenario, &mut options)? };
    if addresses.is_empty() {
        // There is nothing to clean up if the user ends it.
        context
            .interrupt
            .ending_at_once(|| pairs::make_inside(&cluster, &scenario, context.printer.progress()))?;
    }
    match &way {
        Way::Inside => return from_inside(context, &cluster, scenario, options, addresses, inside, outputs),
        Way::Forwarded(forward) => context
            .printer
            .note(&format!("through the API server to pod {}, which adds to the latencies", forward.pod())),
        Way::Direct => {}
    }
    carry_out(context, scenario, options, Some(watched(&target)?), outputs)
}

/// There must be something to load.
fn check_service(scenario: &Scenario, target: &dyn Target) -> Result<(), Failure> {
    let known: Vec<String> = target.snapshot()?.services.into_iter().map(|service| service.name).collect();
    if known.contains(&scenario.service) {
        return Ok(());
    }
    let has = if known.is_empty() { "nothing that scales".to_owned() } else { known.join(", ") };
    Err(Failure::usage(format!(
        "there is no {} in this namespace; it has {has}; name another with -n, or an address: playctl load HOST:PORT \
         --in-cluster",
        scenario.service
    )))
}

fn way(
    context: &Context,
    cluster: &Arc<ClusterTarget>,
    scenario: &Scenario,
    options: &mut Options,
) -> Result<Way, Failure> {
    let service = &scenario.service;
    let why = match cluster.endpoint(service) {
        Ok(Endpoint::At(endpoint)) => {
            check_engine(FROM_PODS)?;
            options.targets = vec![resolve(&endpoint.to_string(), scenario)?];
            return Ok(Way::Direct);
        }
        Ok(Endpoint::NoneYet { why }) | Err(TargetError::Unsupported { why, .. }) => why,
        Err(error) => return Err(error.into()),
    };
    let connections = scenario.users();
    let reason = if scenario.protocol == Protocol::Udp {
        "datagrams do not go through the API server".to_owned()
    } else if connections > FORWARDED_MAX {
        format!(
            "{connections} connections are too many for the API server, which carries {FORWARDED_MAX} at most"
        )
    } else {
        check_engine(FROM_PODS)?;
        let forward = PortForward::start(cluster, service)?;
        options.targets = vec![forward.address()];
        return Ok(Way::Forwarded(forward));
    };
    context
        .printer
        .note(&format!("the load runs inside the cluster, as with --in-cluster: {why}, and {reason}"));
    Ok(Way::Inside)
}

fn from_inside(
    context: &Context,
    cluster: &Arc<ClusterTarget>,
    scenario: Scenario,
    mut options: Options,
    addresses: Vec<String>,
    inside: &Inside,
    outputs: &Outputs,
) -> Outcome {
    let targets = if addresses.is_empty() {
        vec![cluster.endpoint_inside(&scenario.service)?.to_string()]
    } else {
        addresses
    };
    let connections = u32::try_from(scenario.users()).unwrap_or(u32::MAX);
    let enough = WORKERS.max(connections.div_ceil(CONNECTIONS_OF_ONE));
    let request = LoadRequest {
        // A worker without connections would measure nothing.
        workers: options.workers.unwrap_or(enough).min(connections).max(1),
        image: inside.image.clone(),
        at_most: scenario.length().saturating_add(BEYOND),
    };
    let progress = Arc::clone(context.printer.progress());
    let job = LoadJob::start(cluster, &request, &|detail| progress.show("load", detail))?;
    progress.clear();
    let pods = Arc::new(Pods(job));
    options.away = Some(Away { workers: pods.clone(), targets });
    let target: Arc<dyn Target> = cluster.clone();
    let outcome =
        watched(&target).and_then(|platform| carry_out(context, scenario, options, Some(platform), outputs));
    // Threads of the run may still use it, so this does not wait for the last one.
    if let Err(error) = pods.0.delete() {
        context.printer.error(&format!("playctl: {error}"));
    }
    outcome
}

/// The Job's pods as the load's workers.
struct Pods(LoadJob);

impl Workers for Pods {
    fn count(&self) -> u32 {
        self.0.workers()
    }

    fn name(&self, worker: u32) -> String {
        self.0.worker(worker)
    }

    fn tell(&self, worker: u32, line: String) {
        self.0.tell(worker, line);
    }

    fn hear(&self, patience: Duration) -> Option<(u32, Heard)> {
        let (worker, heard) = self.0.hear(patience)?;
        Some(match heard {
            cluster::Heard::Line(line) => (worker, Heard::Line(line)),
            cluster::Heard::Ended(why) => (worker, Heard::Ended(why)),
        })
    }
}
