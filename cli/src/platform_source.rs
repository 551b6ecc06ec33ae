//! From the command line to a platform that can be acted upon.

use std::{
    collections::HashMap,
    ops::ControlFlow,
    sync::{Arc, mpsc},
    time::Duration,
};

use cluster::ClusterTarget;
use local::LocalTarget;
use parking_lot::Mutex;
use platform::{Event, EventKind, Target, TargetError, target::OnWait};
use report::Style;
use uuid::Uuid;

use crate::{
    args::{ClusterArgs, TargetKind},
    commands::{Context, Failure},
    hint,
};

/// How long a platform may stay silent before the wait for it is shown.
const SHOWN_AFTER: Duration = Duration::from_secs(2);

/// The platform that `--platform` and `--target` name, running or not.
pub(crate) fn target(context: &Context) -> Result<Arc<dyn Target>, Failure> {
    let global = &context.global;
    let platform = &global.platform;
    match global.target {
        TargetKind::Local => {
            if let Some(flag) = global.cluster.first_given() {
                return Err(Failure::usage(format!("{flag} needs --target cluster")));
            }
            let on_wait = on_wait(context, format!("the supervisor of {platform}"));
            Ok(Arc::new(LocalTarget::new(platform)?.on_wait(on_wait)))
        }
        TargetKind::Cluster => {
            let ClusterArgs { kubeconfig, context: kube_context, namespace, hpa } = global.cluster.clone();
            let options = cluster::Options { kubeconfig, context: kube_context, namespace, hpa };
            let on_wait = on_wait(context, "the cluster".to_owned());
            Ok(Arc::new(ClusterTarget::connect(&options, Some(on_wait))?))
        }
    }
}

/// Shows that `who` does not answer, and lets Ctrl-C end the wait.
fn on_wait(context: &Context, who: String) -> OnWait {
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

/// Hands on the items of a blocking stream until it ends, the user interrupts or nobody reads what is printed.
///
/// The stream is read by a thread of its own, since a blocking read cannot be interrupted; the thread ends with
/// the stream or with the process.
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

/// Which replica a server's own UUID (its answer to `WHERE`) belongs to.
pub(crate) fn replica_names(target: Arc<dyn Target>) -> load::ReplicaNames {
    let known: Mutex<HashMap<Uuid, String>> = Mutex::default();
    Arc::new(move |server| {
        let mut known = known.lock();
        if !known.contains_key(&server) {
            let snapshot = target.snapshot().ok()?;
            let replicas = snapshot.services.into_iter().flat_map(|service| service.replicas);
            known.extend(replicas.filter_map(|replica| Some((replica.server_id?, replica.name))));
        }
        known.get(&server).cloned()
    })
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

impl Timeline {
    /// The lines that an event is worth; often none.
    pub(crate) fn feed(&mut self, event: &Event) -> Vec<String> {
        let EventKind::Warning { message } = &event.kind else { return self.drawn.feed(event) };
        let message = hint::complete(message, &self.selection);
        self.drawn.feed(&Event { kind: EventKind::Warning { message }, ..event.clone() })
    }

    /// Charts of what was seen so far and, if a load came to its end, its summary.
    pub(crate) fn finish(&self) -> String {
        self.drawn.finish()
    }
}
