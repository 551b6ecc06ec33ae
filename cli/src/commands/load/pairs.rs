//! The users and profiles that a load over SSE requests.

use std::{net::SocketAddr, sync::Arc};

use cluster::{ClusterTarget, PortForward};
use platform::target::{Endpoint, Target};
use scenario::{Protocol, Scenario};

use super::resolve;
use crate::{failure::Failure, progress::Progress};

/// The service that stores them.
const KEEPER: &str = "profiles";

/// Creates them on a local platform.
pub(super) fn make(target: &dyn Target, scenario: &Scenario) -> Result<(), Failure> {
    if !are_needed(scenario) {
        return Ok(());
    }
    let endpoint = match target.endpoint(KEEPER)? {
        Endpoint::At(endpoint) => endpoint,
        Endpoint::NoneYet { why } => {
            return Err(Failure::failed(format!(
                "the load's users and profiles cannot be made, since {KEEPER} has no address yet: {why}"
            )));
        }
    };
    bind(resolve(&endpoint.to_string(), &Scenario::default())?, scenario)
}

/// Creates them in a cluster, through the API server: nothing else need lead to the service from outside.
pub(super) fn make_inside(
    cluster: &Arc<ClusterTarget>,
    scenario: &Scenario,
    progress: &Progress,
) -> Result<(), Failure> {
    if !are_needed(scenario) {
        return Ok(());
    }
    let pairs = scenario.pairs();
    progress.show("load", &format!("creating the load's users and profiles, {pairs} pairs"));
    let forward = PortForward::start(cluster, KEEPER).map_err(Failure::from);
    let made = forward.and_then(|forward| bind(forward.address(), scenario));
    progress.clear();
    made
}

/// Whether the streams are those of one of our platforms: the load itself does not say where they are.
fn are_needed(scenario: &Scenario) -> bool {
    scenario.protocol == Protocol::Sse && scenario.path.is_none()
}

fn bind(profiles: SocketAddr, scenario: &Scenario) -> Result<(), Failure> {
    load::bind_pairs(profiles, scenario).map_err(|error| Failure::new(error.exit_code(), error.to_string()))
}
