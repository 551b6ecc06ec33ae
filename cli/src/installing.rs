//! From the command line to an installed platform in a cluster, and its progress.

use cluster::install::{Installer, Progress, Stop};

use crate::{
    context::Context,
    failure::Failure,
    minikube_profile,
    options::{ClusterArgs, TargetKind},
    platform_source,
};

/// The platform with this name, in the cluster and namespace that the options select. Ctrl-C stops its actions.
pub(crate) fn connect(context: &Context) -> Result<Installer, Failure> {
    let ClusterArgs { kubeconfig, context: kube_context, namespace, hpa } = context.global.cluster.clone();
    if hpa.is_some() {
        return Err(Failure::usage(
            "--hpa selects an autoscaler; up, down and diagnose act on a whole platform",
        ));
    }
    let kube_context = match context.global.target {
        TargetKind::Minikube => Some(minikube_profile::profile(context)?.profile().to_owned()),
        _ => kube_context,
    };
    to(context, &cluster::Options { kubeconfig, context: kube_context, namespace, hpa })
}

/// The same in a known cluster.
pub(crate) fn to(context: &Context, options: &cluster::Options) -> Result<Installer, Failure> {
    let stop = Stop::default();
    let stopping = stop.clone();
    context.interrupt.on_interrupt(move || stopping.stop());
    context.printer.progress().show("connect", "asking the cluster for its version");
    Ok(Installer::connect(options, &context.global.platform, stop)?)
}

/// Shows progress: a live line for the current action, and lines for completed ones.
pub(crate) fn teller(context: &Context) -> impl FnMut(Progress<'_>) + use<'_> {
    let mut timeline = platform_source::timeline_of_notes(context);
    move |progress| match progress {
        Progress::Doing { stage, detail } => context.printer.progress().show(stage, &detail),
        Progress::Said(words) => context.printer.note(&words),
        Progress::Event(event) => {
            context.printer.json_line(event);
            for line in timeline.feed(event) {
                context.printer.painted_note(&line);
            }
        }
    }
}
