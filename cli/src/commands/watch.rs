//! `playctl watch`

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use jiff::Timestamp;
use platform::{
    Target, TargetError,
    target::{EventsFrom, ReplicaPhase, Snapshot},
};

use crate::{
    context::Context,
    failure::{Failure, Outcome},
    options::{Output, TargetKind},
    platform_source::{self, spawn},
};

/// How often the line at the bottom is redrawn.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The same for a cluster, where every update costs requests to the API server.
const LOOK_AT_CLUSTER_EVERY: Duration = Duration::from_secs(15);

/// Print the platform's time line, live
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl watch                   from now on
  playctl watch --from-start      all since it came up, then live
  playctl watch --output jsonl    the events themselves
  playctl watch --target cluster -n chat --hpa chat-server
                                  any autoscaler of a cluster")]
pub(crate) struct Args {
    /// Start with the first event since the platform came up
    #[arg(long)]
    from_start: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let target = platform_source::target(context)?;
    let from = if args.from_start { EventsFrom::Start } else { EventsFrom::Now };
    let mut timeline = platform_source::timeline(context);
    let shown = show_present(context, Arc::clone(&target))?;
    let mut all = Vec::new();
    for event in platform_source::while_wanted(context, target.events(from)?) {
        let event = event?;
        match context.printer.output() {
            Output::Human => timeline.feed(&event).iter().for_each(|line| context.printer.painted(line)),
            Output::Jsonl => context.printer.json_line(&event),
            Output::Json => all.push(event),
        }
        if context.printer.closed() {
            break;
        }
    }
    drop(shown);
    context.printer.progress().clear();
    if context.printer.output() == Output::Json {
        context.printer.document(&all);
    }
    context.ended()
}

/// Shows the current state on a terminal while nothing happens. Ends when the sender is dropped.
fn show_present(context: &Context, target: Arc<dyn Target>) -> Result<Option<mpsc::Sender<()>>, Failure> {
    let progress = Arc::clone(context.printer.progress());
    if !progress.is_live() {
        return Ok(None);
    }
    let (stop, stopped) = mpsc::channel();
    let every = look_every(context.global.target);
    spawn("present", move || {
        keep_showing(|| target.snapshot(), |words| progress.show("present", words), every, &stopped);
    })?;
    Ok(Some(stop))
}

/// It also applies after an error: a cluster that does not answer is not asked more often.
fn look_every(target: TargetKind) -> Duration {
    match target {
        TargetKind::Local => LOOK_EVERY,
        TargetKind::Minikube | TargetKind::Cluster => LOOK_AT_CLUSTER_EVERY,
    }
}

/// Repeats until `stopped`, or until the platform is gone.
fn keep_showing(
    look: impl Fn() -> Result<Snapshot, TargetError>,
    show: impl Fn(&str),
    every: Duration,
    stopped: &mpsc::Receiver<()>,
) {
    loop {
        let words = match look() {
            Ok(snapshot) => in_words(&snapshot, clock::wall()),
            Err(TargetError::Interrupted | TargetError::NotRunning { .. }) => break,
            // It may answer again later; until then the last state would be wrong.
            Err(error) => error.to_string(),
        };
        if stopped.try_recv() != Err(mpsc::TryRecvError::Empty) {
            break;
        }
        show(&words);
        if stopped.recv_timeout(every) != Err(mpsc::RecvTimeoutError::Timeout) {
            break;
        }
    }
}

/// `tcp 4,210 connections on 2 of 2 · next sync in 8 s`
fn in_words(snapshot: &Snapshot, now: Timestamp) -> String {
    let mut words: Vec<String> = snapshot
        .services
        .iter()
        .map(|service| {
            let ready =
                service.replicas.iter().filter(|replica| replica.phase == ReplicaPhase::Ready).count();
            let takes_clients = service.endpoint.is_some();
            let replicas = || service.replicas.iter().filter(|_| takes_clients);
            let connections = replicas().filter_map(|replica| replica.connections);
            let packets = replicas().filter_map(|replica| replica.packets_per_second);
            // A cluster's snapshot counts neither.
            let load = match (connections.reduce(u64::saturating_add), packets.reduce(|sum, one| sum + one)) {
                (Some(1), _) => " 1 connection,".to_owned(),
                (Some(connections), _) => format!(" {connections} connections,"),
                (None, Some(packets)) => format!(" {packets:.0} packets/s,"),
                (None, None) => String::new(),
            };
            format!("{}{load} {ready} of {} ready", service.name, service.desired)
        })
        .collect();
    let autoscaled = snapshot.services.iter().any(|service| service.autoscaler.is_some());
    if let Some(at) = snapshot.next_sync.filter(|_| autoscaled) {
        words.push(format!("next sync in {} s", at.duration_since(now).as_secs().max(0)));
    }
    words.join(" · ")
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    #[test]
    fn a_failed_look_is_shown_and_repeated() {
        let (stop, stopped) = mpsc::channel();
        let stop = Cell::new(Some(stop));
        let shown = RefCell::new(Vec::new());
        let look = || Err(TargetError::Other { message: format!("failure {}", shown.borrow().len()) });
        let show = |words: &str| {
            shown.borrow_mut().push(words.to_owned());
            if shown.borrow().len() == 2 {
                drop(stop.take());
            }
        };
        keep_showing(look, show, Duration::from_millis(1), &stopped);
        assert_eq!(*shown.borrow(), ["failure 0", "failure 1"]);
    }

    #[test]
    fn a_cluster_is_recognised_before_it_answers() {
        assert_eq!(look_every(TargetKind::Local), LOOK_EVERY);
        for target in [TargetKind::Minikube, TargetKind::Cluster] {
            assert_eq!(look_every(target), LOOK_AT_CLUSTER_EVERY);
        }
    }
}
