//! From the command line to a platform.

use std::{
    ops::ControlFlow,
    sync::{Arc, mpsc},
    time::Duration,
};

use cluster::ClusterTarget;
use platform::{Event, EventKind, Target, TargetError, target::OnWait};
use report::Style;

use crate::{
    context::Context,
    failure::Failure,
    hint, minikube_profile,
    options::{ClusterArgs, Global, TargetKind},
};

/// How long a platform may be silent before the wait is shown.
const SHOWN_AFTER: Duration = Duration::from_secs(2);

/// The platform that `--platform` and `--target` select, running or not.
pub(crate) fn target(context: &Context) -> Result<Arc<dyn Target>, Failure> {
    let global = &context.global;
    match global.target {
        TargetKind::Local => {
            if let Some(flag) = global.cluster.first_given() {
                return Err(Failure::usage(format!("{flag} needs --target cluster")));
            }
            if global.profile.is_some() {
                return Err(Failure::usage("--profile needs --target minikube"));
            }
            #[cfg(feature = "local")]
            return this_machine(context);
            #[cfg(not(feature = "local"))]
            Err(crate::commands::absent::failure())
        }
        TargetKind::Minikube | TargetKind::Cluster => Ok(cluster(context)?),
    }
}

/// The cluster that the options name: minikube's, or one of a kubeconfig.
pub(crate) fn cluster(context: &Context) -> Result<Arc<ClusterTarget>, Failure> {
    let global = &context.global;
    if global.target == TargetKind::Minikube {
        let profile = minikube_profile::profile(context)?;
        let options = minikube_options(global, profile.profile());
        let on_wait = on_wait(context, format!("minikube profile {}", profile.profile()));
        return match ClusterTarget::connect(&options, Some(on_wait)) {
            Ok(target) => Ok(Arc::new(target.of_minikube(profile))),
            Err(TargetError::Interrupted) => Err(Failure::interrupted()),
            // A missing or stopped profile explains more than an API server that does not answer.
            Err(error) => Err(profile.check().err().map_or(error, TargetError::from).into()),
        };
    }
    if global.profile.is_some() {
        return Err(Failure::usage("--profile needs --target minikube"));
    }
    let on_wait = on_wait(context, "the cluster".to_owned());
    Ok(Arc::new(ClusterTarget::connect(&cluster_options(global), Some(on_wait))?))
}

/// The cluster of a minikube profile, which is a context of the same name.
pub(crate) fn minikube_options(global: &Global, profile: &str) -> cluster::Options {
    // `up` installs it there.
    let namespace = global.cluster.namespace.clone().or_else(|| Some(global.platform.clone()));
    cluster::Options { context: Some(profile.to_owned()), namespace, ..cluster_options(global) }
}

/// The cluster of a command: minikube's, or the one that the command line names.
pub(crate) fn options(context: &Context) -> Result<cluster::Options, Failure> {
    let global = &context.global;
    if global.target == TargetKind::Minikube {
        return Ok(minikube_options(global, minikube_profile::profile(context)?.profile()));
    }
    Ok(cluster_options(global))
}

/// The cluster that the command line names.
pub(crate) fn cluster_options(global: &Global) -> cluster::Options {
    let ClusterArgs { kubeconfig, context, namespace, hpa } = global.cluster.clone();
    cluster::Options { kubeconfig, context, namespace, hpa }
}

#[cfg(feature = "local")]
fn this_machine(context: &Context) -> Result<Arc<dyn Target>, Failure> {
    let platform = &context.global.platform;
    let on_wait = on_wait(context, format!("the supervisor of {platform}"));
    Ok(Arc::new(local::LocalTarget::new(platform)?.on_wait(on_wait)))
}

/// Reports after [`SHOWN_AFTER`] that there is no answer yet; Ctrl-C ends the wait.
pub(crate) fn on_wait(context: &Context, who: String) -> OnWait {
    let (interrupt, progress) = (context.interrupt.clone(), Arc::clone(context.printer.progress()));
    Arc::new(move |waited: Duration| {
        if interrupt.is_set() {
            return ControlFlow::Break(());
        }
        if waited >= SHOWN_AFTER {
            let detail = format!("{who} has not answered for {} s", waited.as_secs());
            progress.show("no answer", &detail);
        }
        ControlFlow::Continue(())
    })
}

/// Passes on the items of a blocking stream until it ends, the user interrupts, or the output is closed.
///
/// A separate thread reads the stream, since a blocking read cannot be interrupted; the thread ends with the stream or
/// with the process.
pub(crate) fn while_wanted<T: Send + 'static>(
    context: &Context,
    stream: Box<dyn Iterator<Item = Result<T, TargetError>> + Send>,
) -> impl Iterator<Item = Result<T, TargetError>> + use<'_, T> {
    let (sender, receiver) = mpsc::sync_channel(1024);
    let spawned = std::thread::Builder::new().name("stream".into()).spawn(move || {
        for item in stream {
            if sender.send(item).is_err() {
                break;
            }
        }
    });
    let mut failed = spawned.err().map(TargetError::other);
    std::iter::from_fn(move || {
        if let Some(error) = failed.take() {
            return Some(Err(error));
        }
        loop {
            match receiver.recv_timeout(Duration::from_millis(100)) {
                Ok(item) => return Some(item),
                Err(mpsc::RecvTimeoutError::Timeout)
                    if !context.interrupt.is_set() && !context.printer.closed() => {}
                Err(_) => return None,
            }
        }
    })
}

/// Runs `body` on its own thread, without a time limit.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(body)
        .map(|_| ())
        .map_err(|error| Failure::failed(format!("could not start a thread: {error}")))
}

/// A time line that draws for this invocation's stdout, with commands that can be copied.
pub(crate) struct Timeline {
    drawn: report::Timeline,
    selection: String,
}

pub(crate) fn timeline(context: &Context) -> Timeline {
    let style = Style { color: context.printer.color(), width: context.printer.width() };
    Timeline { drawn: report::Timeline::new(style), selection: context.global.selection() }
}

/// The same for its stderr.
pub(crate) fn timeline_of_notes(context: &Context) -> Timeline {
    let style = Style { color: context.printer.color_of_notes(), width: context.printer.width() };
    Timeline { drawn: report::Timeline::new(style), selection: context.global.selection() }
}

impl Timeline {
    /// The lines for an event; often none.
    pub(crate) fn feed(&mut self, event: &Event) -> Vec<String> {
        let EventKind::Warning { message } = &event.kind else { return self.drawn.feed(event) };
        let message = hint::complete(message, &self.selection);
        self.drawn.feed(&Event { kind: EventKind::Warning { message }, ..event.clone() })
    }

    /// Charts of the events so far and, if a load has ended, its summary.
    pub(crate) fn finish(&self) -> String {
        self.drawn.finish()
    }
}
