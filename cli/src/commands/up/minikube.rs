//! `playctl up --target minikube`

use std::{path::PathBuf, time::Duration};

use platform::{ServiceKind, exit};

use super::{argocd, cluster};
use crate::{commands::minikube, context::Context, failure::Outcome, minikube_profile, platform_source};

/// The chart's preset for it; other files override it.
const PRESET: &str = "minikube";
/// The first time, every node downloads everything.
const TIMEOUT: Duration = Duration::from_mins(15);

pub(super) fn run(context: &Context, args: &super::Args) -> Outcome {
    let profile = minikube_profile::profile(context)?;
    let (mut what, mut how) = (args.bring_up.clone(), args.cluster.clone());
    let nodes = what.nodes.take();
    what.files.insert(0, PathBuf::from(PRESET));
    how.timeout.get_or_insert(TIMEOUT);
    // Find wrong values before minutes of work.
    let values = cluster::wanted(&what, &how)?.values;
    let by_argocd = args.argocd.argocd;
    if by_argocd {
        argocd::check(context, &args.argocd, &what, &how)?;
    }
    let large = values.enabled_services().any(|service| service.kind == ServiceKind::Stream);
    if how.dry_run {
        if !minikube::plan(context, &profile, &args.profile, nodes, large)? {
            return Ok(exit::DONE);
        }
        return cluster::install(context, &cluster::wanted(&what, &how)?, true);
    }
    minikube::start(context, &profile, &args.profile, nodes, large)?;
    if let Some(loaded) = minikube::load_image(context, &profile, how.image.as_deref())? {
        how.image = Some(loaded);
    }
    let wanted = cluster::wanted(&what, &how)?;
    // A LoadBalancer is only ready once it has an address, which the tunnel provides.
    let opened = minikube::open(context, &profile, &args.profile)?;
    let outcome = if by_argocd {
        let options = platform_source::minikube_options(&context.global, profile.profile());
        argocd::run(context, &options, &args.argocd, &what, &how)
    } else {
        cluster::install(context, &wanted, false)
    };
    if outcome.is_err() && opened {
        minikube::end_kept(&profile)?;
    }
    minikube::say_where_the_dashboard_is(context, &profile, &args.profile);
    outcome
}
