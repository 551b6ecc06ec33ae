//! Runs a plan: starts the workers, follows the phases, merges what they report into events and a summary.

mod merge;

use std::{fmt, sync::Arc};

use platform::event::{EventKind, LoadSummary};
use rand::random;
use uuid::Uuid;

use self::merge::Merge;
use crate::{
    clock::{MS, monotonic_ns},
    control::{Control, Stop},
    crew::{Commanders, Crew},
    duration::format_duration,
    error::LoadError,
    histogram::whole_ms,
    limits::{self, Layout},
    plan::{Identify, LoadDuration, Plan, Reconnect},
    probe,
    protocol::Protocol,
    remote::WorkerCommand,
    worker::{Report, Spec, at_least_one_ms},
};

/// Until the first connection is due: threads are ready at once, processes have to start.
const THREADS_LEAD_NS: u64 = 2 * MS;
const PROCESSES_LEAD_NS: u64 = 400 * MS;

/// Names the replica behind the UUID that a server gives itself; `None`: it is not known (yet).
pub type ReplicaNames = Arc<dyn Fn(Uuid) -> Option<String> + Send + Sync>;

/// What a run is given beside its plan.
#[derive(Clone, Default)]
pub struct Options {
    /// Without it, replicas go by the beginning of their UUIDs.
    pub replica_names: Option<ReplicaNames>,
    /// Without it, a plan must fit into this process's limit on open files.
    pub worker: Option<WorkerCommand>,
}

impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Options")
            .field("replica_names", &self.replica_names.is_some())
            .field("worker", &self.worker)
            .finish()
    }
}

/// Runs `plan` to its end, or until `control` stops it. Events go to `sink`, on this thread; a slow sink delays
/// events, never the load. The expectations of the plan are not judged here: see [`crate::Evaluator`].
pub fn run(
    plan: &Plan,
    options: &Options,
    control: &Control,
    sink: &mut dyn FnMut(EventKind),
) -> Result<LoadSummary, LoadError> {
    let layout = limits::lay_out(plan, limits::raise_open_files(), options.worker.is_some())?;
    sink(EventKind::LoadStarted { plan: plan.describe() });
    let spec = specify(plan, &layout);
    let crew = Crew::start(&spec, &layout, options.worker.as_ref())?;
    let commanders = crew.commanders().clone();
    let _attached = control.attach(Box::new(move |how: Stop| commanders.stop(how)));
    if let LoadDuration::FromFirstConnect(duration) = plan.duration {
        crew.commanders().close_at(at_least_one_ms(duration));
    }
    let ramp = match (plan.protocol, &plan.profile) {
        (_, Some(_)) => format!("{} peers at once", plan.connections),
        (Protocol::Udp, None) => format!("{} peers, {}", plan.connections, plan.rate),
        (Protocol::Tcp, None) => format!("{} connections, {}", plan.connections, plan.rate),
    };
    sink(EventKind::PhaseStarted { phase: "ramp".to_owned(), detail: ramp });
    let mut merge = Merge::new(layout.workers, options.replica_names.clone());
    let mut conductor =
        Conductor { plan, control, merge: &mut merge, sink, closing: None, interrupted: false };
    while let Some((worker, report)) = crew.next_report() {
        conductor.on_report(worker, report, crew.commanders())?;
    }
    let (closed_before, interrupted) = (conductor.closing.unwrap_or_default(), conductor.interrupted);
    drop(crew);
    sink(EventKind::LoadClosed { closed: merge.totals().closed.saturating_sub(closed_before) });
    let summary = merge.summary(plan, interrupted);
    sink(EventKind::LoadFinished { summary: Box::new(summary.clone()) });
    Ok(summary)
}

/// Turns reports into events and the run's phases.
struct Conductor<'a> {
    plan: &'a Plan,
    control: &'a Control,
    merge: &'a mut Merge,
    sink: &'a mut dyn FnMut(EventKind),
    /// Since the close began: how many had been closed before it.
    closing: Option<u64>,
    interrupted: bool,
}

impl Conductor<'_> {
    fn on_report(&mut self, worker: u32, report: Report, commanders: &Commanders) -> Result<(), LoadError> {
        match report {
            Report::Progress { regular, measured } => {
                if let Some(tick) = self.merge.progress(worker, *measured, regular) {
                    (self.sink)(EventKind::LoadTick(tick));
                }
            }
            Report::RampDone { at_ms } => {
                if let Some(at_ms) = self.merge.ramp_done(at_ms) {
                    self.ramp_done(at_ms, commanders);
                }
            }
            Report::Stage { index } => {
                if let Some(stage) = self.plan.profile.as_ref().and_then(|all| all.stages().get(index)) {
                    let phase = "stage".to_owned();
                    (self.sink)(EventKind::PhaseStarted { phase, detail: stage.describe() });
                }
            }
            Report::Closing { .. } => self.closing(),
            Report::Trace(event) => (self.sink)(self.merge.named(*event)),
            Report::Warning(message) => (self.sink)(EventKind::Warning { message }),
            Report::Done { at_ms, measured } => self.merge.done(worker, at_ms, *measured),
            Report::Failed(message) => return Err(LoadError::Worker { worker, message }),
        }
        Ok(())
    }

    fn ramp_done(&mut self, at_ms: u32, commanders: &Commanders) {
        let totals = self.merge.totals();
        (self.sink)(EventKind::RampDone {
            open: self.merge.open(),
            refused: totals.refused,
            lost: totals.lost,
            after_ms: u64::from(at_ms),
        });
        let detail = match self.plan.duration {
            LoadDuration::FromRampEnd(duration) => {
                commanders.close_at(at_ms.saturating_add(at_least_one_ms(duration)));
                format!("{} from the ramp's end", format_duration(duration))
            }
            LoadDuration::FromFirstConnect(duration) => {
                format!("until {} from the first connect", format_duration(duration))
            }
        };
        if self.plan.profile.is_none() {
            (self.sink)(EventKind::PhaseStarted { phase: "hold".to_owned(), detail });
        }
    }

    fn closing(&mut self) {
        if self.closing.is_some() {
            return;
        }
        self.closing = Some(self.merge.totals().closed);
        self.interrupted = self.control.is_stopped();
        let what = if self.plan.protocol == Protocol::Udp { "peers" } else { "connections" };
        let detail = format!("{} {what}", self.merge.open());
        (self.sink)(EventKind::PhaseStarted { phase: "close".to_owned(), detail });
    }
}

fn specify(plan: &Plan, layout: &Layout) -> Spec {
    let identify = match plan.identify {
        Identify::Always => true,
        Identify::Never => false,
        Identify::Auto => {
            plan.protocol == Protocol::Tcp
                && plan.payload.starts_with("msg:")
                && plan.targets.first().is_some_and(|target| probe::says_where(*target))
        }
    };
    let ms = |duration| u32::try_from(whole_ms(duration)).unwrap_or(u32::MAX);
    let lead_ns = if layout.processes { PROCESSES_LEAD_NS } else { THREADS_LEAD_NS };
    Spec {
        origin_ns: monotonic_ns() + lead_ns,
        protocol: plan.protocol,
        worker: 0,
        workers: layout.workers,
        connections: plan.connections,
        // The whole rate is that of the profile from its first moment on.
        interval_ns: if plan.profile.is_some() { 0 } else { plan.rate.interval().as_nanos() as u64 },
        targets: plan.targets.clone(),
        sources: layout.sources.clone(),
        every_ns: plan.every.map(|every| every.as_nanos() as u64),
        profile: plan.profile.clone(),
        window: plan.window,
        payload: plan.payload.clone(),
        expect: plan.expect,
        message_timeout_ms: at_least_one_ms(plan.message_timeout),
        connect_timeout_ms: at_least_one_ms(plan.connect_timeout),
        come_back_ms: match plan.reconnect {
            Reconnect::Never => None,
            Reconnect::After { delay, jitter } => Some((ms(delay), ms(jitter))),
        },
        identify,
        trace: plan.trace_connections,
        tick_ms: at_least_one_ms(plan.tick),
        seed: random(),
    }
}
