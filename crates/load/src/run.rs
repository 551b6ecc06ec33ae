//! Runs a load: starts the workers, follows the phases, merges their reports into events and a summary.

mod groups;
mod holdings;
mod merge;

use std::{ffi::OsString, fmt, net::SocketAddr, path::PathBuf, sync::Arc};

use platform::{
    duration,
    event::{EventKind, LoadSummary},
};
use rand::random;
use scenario::{LoadDuration, Protocol, Scenario};

use self::{
    groups::{Groups, Outcome},
    merge::Merge,
};
use crate::{
    away::Away,
    commanders::Commanders,
    control::Control,
    crew::Place,
    error::LoadError,
    here,
    messages::{Command, Report, Spec, at_least_one_ms},
    recognise,
};

const WORKERS_MAX: u32 = 256;
/// After this many ticks without a connection, and this many failed attempts, nobody will connect.
const TICKS_WITHOUT_SUCCESS: u32 = 3;
const FAILURES_ENOUGH: u64 = 10;

/// Maps a server's name for itself to its replica: a UUID (`WHERE`), or the `Host-Id` of a WebSocket server. `None`:
/// unknown (so far).
pub type ReplicaNames = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Whether to ask connections which replica serves them (`WHERE`, once after each connect).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Identify {
    /// If the payload is of our protocol and the target answers the question once, on a separate connection before the
    /// run.
    #[default]
    Auto,
    Always,
    Never,
}

impl std::str::FromStr for Identify {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            _ => Err(format!("`{text}` is not one of auto, always, never")),
        }
    }
}

/// How to start a worker process: this program, in the role of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerCommand {
    pub program: PathBuf,
    pub args: Vec<OsString>,
}

/// Options for running a scenario.
#[derive(Clone, Default)]
pub struct Options {
    /// Targets, used in turn.
    pub targets: Vec<SocketAddr>,
    pub identify: Identify,
    /// At least this many event loops; `None`: as many as the limits require.
    pub workers: Option<u32>,
    /// Report events of single connections.
    pub trace_connections: bool,
    /// Without it, replicas are named by the start of their UUIDs.
    pub replica_names: Option<ReplicaNames>,
    /// Without it, a load must fit into this process's limit on open files.
    pub worker: Option<WorkerCommand>,
    /// If set, all workers and targets are these. Required in a build without the feature `engine`.
    pub away: Option<Away>,
}

impl Options {
    /// The targets, as shown to the user.
    pub fn target(&self) -> String {
        let here = || self.targets.iter().map(SocketAddr::to_string).collect();
        let targets: Vec<String> = self.away.as_ref().map_or_else(here, |away| away.targets.clone());
        targets.join(", ")
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Options")
            .field("targets", &self.targets)
            .field("replica_names", &self.replica_names.is_some())
            .field("worker", &self.worker)
            .field("away", &self.away)
            .finish_non_exhaustive()
    }
}

/// Runs a load to its end, or until `control` stops it. Events go to `sink`, on this thread; a slow sink delays events,
/// never the load. Does not carry out the scenario's actions, see [`crate::Director`], or evaluate its expectations,
/// see [`scenario::Evaluator`].
pub fn run(
    scenario: &Scenario,
    options: &Options,
    control: &Control,
    sink: &mut dyn FnMut(EventKind),
) -> Result<LoadSummary, LoadError> {
    let away = options.away.as_ref();
    if away.map_or(options.targets.is_empty(), |away| away.targets.is_empty()) {
        return Err(LoadError::NoTarget);
    }
    let workers = away.map_or(options.workers.unwrap_or(1), |away| away.workers.count());
    if !(1..=WORKERS_MAX).contains(&workers) {
        let (what, value) = ("workers", workers.to_string());
        return Err(LoadError::Value { what, value, expected: "between 1 and 256" });
    }
    if scenario.protocol == Protocol::Udp && options.identify == Identify::Always {
        let (what, value) = ("identify", "always".to_owned());
        return Err(LoadError::Value { what, value, expected: "never: datagrams have no replica to ask" });
    }
    let place: Box<dyn Place + '_> = match away {
        // They check themselves what their machines allow.
        Some(away) => Box::new(away.clone()),
        None => here::prepare(scenario, options, workers)?,
    };
    let workers = place.workers();
    let plan = scenario.describe(options.target());
    let crew = place.start(specify(scenario, options, workers), identify(scenario, options), control)?;
    let attached = control.attach(crew.commanders().clone());
    // The scenario's times count from here: getting the workers ready may have taken a minute.
    sink(EventKind::LoadStarted { plan: plan.clone() });
    if let LoadDuration::FromFirstConnect(duration) = scenario.duration() {
        crew.commanders().tell(&Command::CloseAt(at_least_one_ms(duration)));
    }
    let connections = plan.connections;
    let ramp = match (scenario.protocol, scenario.profile()) {
        (_, Some(_)) => format!("{connections} peers at once"),
        (Protocol::Udp, None) => format!("{connections} peers, {}", scenario.phases.ramp.rate.words()),
        (Protocol::Tcp | Protocol::Ws | Protocol::Sse, None) => {
            format!("{connections} connections, {}", scenario.phases.ramp.rate.words())
        }
    };
    sink(EventKind::PhaseStarted { phase: "ramp".to_owned(), detail: ramp });
    let mut conductor = Conductor {
        scenario,
        control,
        merge: Merge::new(workers, options.replica_names.clone()),
        groups: Groups::new(workers, connections),
        sink,
        closing: None,
        interrupted: false,
        ticks: 0,
        first_error: None,
        first_wrong_answer: None,
        ended_early: None,
        keeps_going: away.is_some(),
    };
    while let Some((worker, report)) = crew.next_report() {
        conductor.on_report(worker, report, crew.commanders())?;
    }
    drop(crew);
    // From here on, no order is accepted, so none stays without an outcome.
    drop(attached);
    conductor.give_up_orders();
    let Conductor { merge, closing, interrupted, first_error, first_wrong_answer, ended_early, .. } =
        conductor;
    sink(EventKind::LoadClosed { closed: merge.totals().closed.saturating_sub(closing.unwrap_or_default()) });
    let summary =
        LoadSummary { first_error, first_wrong_answer, ended_early, ..merge.summary(plan, interrupted) };
    sink(EventKind::LoadFinished { summary: Box::new(summary.clone()) });
    Ok(summary)
}

/// Turns reports into events and the run's phases.
struct Conductor<'a> {
    scenario: &'a Scenario,
    control: &'a Control,
    merge: Merge,
    groups: Groups,
    sink: &'a mut dyn FnMut(EventKind),
    /// Since the close began: the number of connections closed before it.
    closing: Option<u64>,
    interrupted: bool,
    ticks: u32,
    first_error: Option<String>,
    first_wrong_answer: Option<String>,
    ended_early: Option<String>,
    /// The failure of a worker does not discard the result of the others.
    keeps_going: bool,
}

impl Conductor<'_> {
    fn on_report(&mut self, worker: u32, report: Report, commanders: &Commanders) -> Result<(), LoadError> {
        match report {
            Report::Progress { regular, measured } => {
                if let Some(tick) = self.merge.progress(worker, *measured, regular) {
                    (self.sink)(EventKind::LoadTick(tick));
                    self.ticks += 1;
                    self.end_if_hopeless(commanders);
                }
            }
            Report::RampDone { at_ms } => {
                if let Some(at_ms) = self.merge.ramp_done(at_ms) {
                    self.ramp_done(at_ms, commanders);
                }
            }
            Report::Stage { index } => {
                if let Some(stage) = self.scenario.profile().and_then(|all| all.stages().get(index)) {
                    let phase = "stage".to_owned();
                    (self.sink)(EventKind::PhaseStarted { phase, detail: stage.describe() });
                }
            }
            Report::Closing { .. } => self.closing(),
            Report::Trace(event) => (self.sink)(self.merge.named(*event)),
            Report::Warning(message) => (self.sink)(EventKind::Warning { message }),
            Report::FirstError(message) => {
                if self.first_error.is_none() {
                    (self.sink)(EventKind::Warning { message: message.clone() });
                    self.first_error = Some(message);
                }
            }
            Report::FirstWrong(answer) => {
                if self.first_wrong_answer.is_none() {
                    let shown = recognise::shown(&answer);
                    let message = format!("the first wrong answer is {shown}");
                    (self.sink)(EventKind::Warning { message });
                    self.first_wrong_answer = Some(shown);
                }
            }
            Report::Ordered { id, outcome, failed } => {
                self.decide(id, Some(Outcome { words: outcome, failed }));
            }
            Report::Mustered { id } => {
                let step = self.control.ordered(id);
                let outcome =
                    step.and_then(|step| self.groups.mustered(id, &step, &mut self.merge, commanders));
                self.decide(id, outcome);
            }
            Report::Joined { id } => {
                let outcome = self.groups.joined(id, self.merge.open());
                self.decide(id, outcome);
            }
            Report::Left { id, left } => {
                let outcome = self.groups.left(id, left);
                self.decide(id, outcome);
            }
            Report::Done { at_ms, measured } => self.merge.done(worker, at_ms, *measured),
            // The rest would be a different load than requested. The measurements are reported.
            Report::Failed(message) if self.keeps_going => self.lost(worker, &message, commanders),
            Report::Failed(message) => return Err(LoadError::Worker { worker, message }),
        }
        if let Some(message) = self.merge.held_twice() {
            (self.sink)(EventKind::Warning { message });
        }
        Ok(())
    }

    /// Reports the outcome of an order, if it has one now.
    fn decide(&mut self, id: u32, outcome: Option<Outcome>) {
        if let Some(outcome) = outcome
            && let Some(step) = self.control.decided(id)
        {
            (self.sink)(outcome.of(step));
        }
    }

    /// The load is over.
    fn give_up_orders(&mut self) {
        for step in self.control.undecided() {
            let outcome = Outcome { words: "the load ended before".to_owned(), failed: true };
            (self.sink)(outcome.of(step));
        }
    }

    fn lost(&mut self, worker: u32, why: &str, commanders: &Commanders) {
        let (open, workers) = self.merge.lose(worker);
        if self.control.is_stopped() || self.ended_early.is_some() {
            return;
        }
        let with = if open > 0 { format!(" with {open} open connections") } else { String::new() };
        let message = format!(
            "load worker {} of {workers} is gone{with}: {why}; the load ends early, and that worker's share is missing \
             from the result after that",
            worker + 1
        );
        (self.sink)(EventKind::Warning { message: message.clone() });
        self.ended_early = Some(message);
        commanders.tell(&Command::Stop);
    }

    /// If nobody could ever connect, continuing shows nothing new.
    fn end_if_hopeless(&mut self, commanders: &Commanders) {
        let totals = self.merge.totals();
        let (connections, seconds) = (self.scenario.users(), self.ticks);
        let failed = totals.refused + totals.connect_timeouts + totals.connect_errors;
        let silent =
            totals.connected == 0 || (totals.bytes_received == 0 && self.scenario.protocol == Protocol::Udp);
        if silent
            && failed >= connections.min(FAILURES_ENOUGH)
            && seconds >= TICKS_WITHOUT_SUCCESS
            && self.ended_early.is_none()
            && self.closing.is_none()
        {
            let message = format!("nobody could connect in {seconds} s, so the load ends early");
            (self.sink)(EventKind::Warning { message: message.clone() });
            self.ended_early = Some(message);
            commanders.tell(&Command::Stop);
        }
    }

    fn ramp_done(&mut self, at_ms: u32, commanders: &Commanders) {
        // A reader of the end of the ramp wants to know where the connections are by now.
        (self.sink)(EventKind::LoadTick(self.merge.tick()));
        let totals = self.merge.totals();
        (self.sink)(EventKind::RampDone {
            open: self.merge.open(),
            refused: totals.refused,
            lost: totals.lost,
            after_ms: u64::from(at_ms),
        });
        let detail = match self.scenario.duration() {
            LoadDuration::FromRampEnd(duration) => {
                let close_ms = at_ms.saturating_add(at_least_one_ms(duration));
                commanders.tell(&Command::CloseAt(close_ms));
                format!("{} from the ramp's end", duration::format(duration))
            }
            LoadDuration::FromFirstConnect(duration) => {
                format!("until {} from the first connect", duration::format(duration))
            }
        };
        if self.scenario.profile().is_none() {
            (self.sink)(EventKind::PhaseStarted { phase: "hold".to_owned(), detail });
        }
    }

    fn closing(&mut self) {
        if self.closing.is_some() {
            return;
        }
        self.closing = Some(self.merge.totals().closed);
        self.interrupted = self.control.is_stopped();
        let what = if self.scenario.protocol == Protocol::Udp { "peers" } else { "connections" };
        let detail = format!("{} {what}", self.merge.open());
        (self.sink)(EventKind::PhaseStarted { phase: "close".to_owned(), detail });
    }
}

/// Whether to ask connections which replica serves them; `None`: the target is asked once before.
fn identify(scenario: &Scenario, options: &Options) -> Option<bool> {
    let is_ours =
        scenario.protocol == Protocol::Tcp && scenario.messages.payload.bytes().starts_with(b"msg:");
    match options.identify {
        // The answer to an upgrade or the first event says so, or nothing does.
        _ if matches!(scenario.protocol, Protocol::Ws | Protocol::Sse) => Some(false),
        Identify::Always => Some(true),
        Identify::Auto if is_ours => None,
        Identify::Never | Identify::Auto => Some(false),
    }
}

/// What all workers do. Where they run decides the rest: when they start, from which addresses, and whether they ask.
fn specify(scenario: &Scenario, options: &Options, workers: u32) -> Spec {
    Spec {
        origin_ns: 0,
        worker: 0,
        workers,
        scenario: scenario.clone(),
        targets: options.targets.clone(),
        sources: Vec::new(),
        identify: false,
        trace: options.trace_connections,
        tick_ms: 1_000,
        seed: random(),
    }
}
