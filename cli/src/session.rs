//! One load run: the load generator's events and the platform's, merged into one stream in the order of arrival, and
//! passed to all readers of that stream: time line, recording, verdicts, and the scenario's actions.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use load::{Control, Director, LoadError, Options};
use parking_lot::Mutex;
use platform::{
    Event, EventKind, Source, Target, TargetError,
    duration::whole_ms,
    event::{LoadSummary, Stamper},
    exit,
    target::{EventStream, ReplicaPhase, Snapshot},
};
use report::{NotDone, Recording, Suite};
use scenario::{Evaluator, Scenario};
use uuid::Uuid;

#[cfg(not(feature = "local"))]
use crate::commands::absent as dashboard;
#[cfg(feature = "local")]
use crate::commands::dashboard;
use crate::{
    context::Context,
    failed_load,
    failure::{Failure, Outcome},
    log_lines,
    options::Output,
    platform_source::{Timeline, spawn},
    waiting::Waiting,
};

/// How often the wait for the next event checks the clock, and redraws the live line.
const TICK: Duration = Duration::from_millis(250);
/// How long to wait, at the end of a run, for an action in progress.
const ACTIONS_PATIENCE: Duration = Duration::from_mins(1);

/// An action that takes no longer than this is reported before its effects; other events wait this long for it.
const CAUSE_FIRST: Duration = Duration::from_millis(500);

/// The loaded platform, if it is one of ours.
pub(crate) struct Platform {
    pub target: Arc<dyn Target>,
    /// The first of its events, which says what it is.
    pub first: Option<Event>,
    pub events: EventStream,
}

type TellPages = Box<dyn FnMut(&Event)>;

/// A load run with its readers.
pub(crate) struct Session<'a> {
    context: &'a Context,
    began: Instant,
    stamper: Stamper,
    timeline: Timeline,
    recording: Recording,
    evaluator: Evaluator,
    waiting: Waiting,
    /// Actions that failed, or were never done.
    not_done: Vec<NotDone>,
    is_unread: bool,
    /// The user ended the wait after the load.
    is_cut_short: bool,
    /// Tells the platform's pages, if it is one of ours.
    tell_pages: Option<TellPages>,
}

enum Incoming {
    /// The arrival time, ms of the run.
    Platform(u64, Result<Event, TargetError>),
    Ours(u64, EventKind),
    LoadEnded(Box<Result<LoadSummary, LoadError>>),
}

/// A clock for other threads: ms since the run began.
#[derive(Clone, Copy)]
struct Elapsed(Instant);

impl Elapsed {
    fn ms(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl<'a> Session<'a> {
    pub(crate) fn new(context: &'a Context, scenario: &Scenario, options: &Options) -> Self {
        Self {
            context,
            began: clock::now(),
            stamper: Stamper::new(Uuid::now_v7(), Source::Load, clock::wall()),
            timeline: crate::platform_source::timeline(context),
            recording: Recording::default(),
            evaluator: Evaluator::new(&scenario.expectations, &scenario.service),
            waiting: Waiting::new(scenario.describe(options.target()), scenario.phases.wait.at_most),
            not_done: Vec::new(),
            is_unread: false,
            is_cut_short: false,
            tell_pages: None,
        }
    }

    /// Runs the load to its end, then waits for pending expectations of the platform (such as a scale-down) and actions
    /// on it, as long as the scenario allows. `left_out`: the omitted expectations, in words.
    pub(crate) fn run(
        mut self,
        scenario: &Scenario,
        options: Options,
        platform: Option<Platform>,
        left_out: Vec<String>,
    ) -> Result<Run, Failure> {
        let control = Control::new();
        let stop = control.clone();
        self.context.interrupt.on_interrupt(move || stop.stop());
        let (sender, incoming) = mpsc::sync_channel(4096);
        let elapsed = Elapsed(self.began);
        let mut target = None;
        if let Some(platform) = platform {
            self.tell_pages = Some(Box::new(dashboard::teller(&self.context.global.selection())));
            if let Some(first) = platform.first {
                let event = self.stamper.adopt(elapsed.ms(), first);
                self.take(&event);
            }
            // Only once the events are watched: events in between are in both.
            if let Ok(snapshot) = platform.target.snapshot() {
                self.evaluator.begins_with(replicas_of(&scenario.service, snapshot));
            }
            forward_platform(platform.events, elapsed, sender.clone())?;
            target = Some(platform.target);
        }
        for message in left_out {
            self.stamp(EventKind::Warning { message });
        }
        let tell = sender.clone();
        let mut director = Director::new(scenario, control.clone(), target.clone(), move |took, kind| {
            let ago = if took < CAUSE_FIRST { whole_ms(took) } else { 0 };
            // A send fails only when the session is gone, and with it everybody who would want to know.
            let _ = tell.send(Incoming::Ours(elapsed.ms().saturating_sub(ago), kind));
        })
        .map_err(|error| Failure::failed(format!("could not start a thread: {error}")))?;
        start_load(scenario.clone(), options, control.clone(), elapsed, sender.clone())?;

        let mut ended: Option<(Instant, LoadSummary)> = None;
        let mut over_since: Option<Instant> = None;
        let mut unwanted = false;
        let mut counting = None;
        let mut inbox = Inbox { incoming, held: VecDeque::new(), acting_since: None };
        loop {
            let until_action = director
                .next_due()
                .filter(|_| !unwanted)
                .map_or(TICK, |due_ms| Duration::from_millis(due_ms.saturating_sub(elapsed.ms())));
            match inbox.next(director.is_acting(), until_action.min(TICK)) {
                Ok(Incoming::Platform(received_ms, Ok(event))) => {
                    let event = self.stamper.adopt(received_ms, event);
                    director.observe(&event);
                    self.take(&event);
                }
                Ok(Incoming::Platform(_, Err(error))) => {
                    self.stamp(EventKind::Warning {
                        message: format!("the platform's events ended: {error}"),
                    });
                }
                Ok(Incoming::Ours(t_ms, kind @ EventKind::LoadFinished { .. })) => {
                    // It decides expectations now; readers get it at the very end, with delays and verdicts.
                    self.evaluator.observe(&self.stamper.clone().stamp(t_ms, kind));
                }
                Ok(Incoming::Ours(t_ms, kind)) => {
                    let event = self.stamper.stamp(t_ms, kind);
                    director.observe(&event);
                    self.take(&event);
                }
                Ok(Incoming::LoadEnded(result)) => {
                    let summary =
                        result.map_err(|error| Failure::new(error.exit_code(), error.to_string()))?;
                    ended = Some((clock::now(), summary));
                    if let Some(target) = target.as_ref().filter(|_| scenario.counts_log_lines()) {
                        let sender = sender.clone();
                        counting = Some(log_lines::count(Arc::clone(target), move |kind| {
                            sender.send(Incoming::Ours(elapsed.ms(), kind)).is_ok()
                        })?);
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
            unwanted = self.context.interrupt.is_set() || self.context.printer.closed();
            if !unwanted {
                director.act(elapsed.ms());
            }
            let pending = [self.evaluator.pending(), director.pending()].concat();
            let is_pending = ended.is_none() || !pending.is_empty();
            if is_pending && self.context.printer.closed() && !self.context.interrupt.is_set() {
                self.is_unread = true;
                control.stop();
            }
            if over_since.is_none()
                && let Some((at, _)) = &ended
                && (unwanted || has_waited(*at, scenario, &pending, &director))
            {
                over_since = Some(clock::now());
                self.end_actions(&mut director, !pending.is_empty());
            }
            // Even an abandoned run leaves nothing stopped.
            if over_since.is_some_and(|at| !director.is_acting() || at.elapsed() >= ACTIONS_PATIENCE) {
                break;
            }
            self.show_waiting(elapsed.ms(), &pending);
        }
        drop(counting);
        drop(director);
        self.context.printer.progress().clear();
        let Some((_, summary)) = ended else {
            return Err(Failure::failed("the load generator ended without a result"));
        };
        Ok(self.finish(summary))
    }

    /// From now on nothing new begins: only what is stopped starts again. `is_pending`: there was more to wait for.
    fn end_actions(&mut self, director: &mut Director, is_pending: bool) {
        self.is_cut_short = is_pending && self.context.interrupt.is_set();
        for action in director.end() {
            let (because, outcome) = (String::new(), "it never happened".to_owned());
            self.stamp(EventKind::ActionTaken { action, because, outcome, failed: true });
        }
    }

    fn finish(mut self, mut summary: LoadSummary) -> Run {
        let delays = report::delays(self.recording.events());
        summary.scale_up = delays.up;
        summary.scale_down = delays.down;
        summary.interrupted |= self.is_cut_short;
        summary.expectations = self.evaluator.results();
        for result in summary.expectations.clone() {
            self.stamp(EventKind::ExpectationChecked(result));
        }
        self.stamp(EventKind::LoadFinished { summary: Box::new(summary.clone()) });
        self.context.printer.painted(&self.timeline.finish());
        if self.context.printer.output() == Output::Json {
            self.context.printer.document(&report::json(&self.recording, &summary));
        }
        Run {
            summary,
            recording: self.recording,
            not_done: self.not_done,
            began: self.stamper.began(),
            is_unread: self.is_unread,
        }
    }

    fn stamp(&mut self, kind: EventKind) {
        let event = self.stamper.stamp(Elapsed(self.began).ms(), kind);
        self.take(&event);
    }

    fn take(&mut self, event: &Event) {
        // Pages get the platform's events from the platform.
        if let Some(tell) = self.tell_pages.as_mut().filter(|_| event.source == Source::Load) {
            tell(event);
        }
        self.evaluator.observe(event);
        self.waiting.observe(event);
        self.recording.push(event);
        self.not_done.extend(NotDone::of(&event.kind));
        match self.context.printer.output() {
            Output::Human => {
                for line in self.timeline.feed(event) {
                    self.context.printer.painted(&line);
                }
            }
            Output::Jsonl => self.context.printer.json_line(event),
            Output::Json => {}
        }
    }

    fn show_waiting(&self, now_ms: u64, pending: &[String]) {
        if let Some((stage, line)) = self.waiting.line(now_ms, pending) {
            self.context.printer.progress().show(stage, &line);
        }
    }
}

/// Whether a run has waited long enough after its load, which ended then.
fn has_waited(ended: Instant, scenario: &Scenario, pending: &[String], director: &Director) -> bool {
    let (waited, at_most) = (ended.elapsed(), scenario.phases.wait.at_most);
    // The outcome of an action can be what another one waits for.
    let is_acting = director.is_acting() && waited < at_most.saturating_add(ACTIONS_PATIENCE);
    !is_acting && (pending.is_empty() || waited >= at_most)
}

/// The messages for a session, with actions before their effects.
struct Inbox {
    incoming: mpsc::Receiver<Incoming>,
    /// Bounded by the time for which messages are held.
    held: VecDeque<Incoming>,
    acting_since: Option<Instant>,
}

impl Inbox {
    fn next(&mut self, is_acting: bool, wait: Duration) -> Result<Incoming, mpsc::RecvTimeoutError> {
        self.acting_since = is_acting.then(|| self.acting_since.unwrap_or_else(clock::now));
        let deadline = clock::now() + wait;
        while self.acting_since.is_some_and(|since| since.elapsed() < CAUSE_FIRST) {
            let told = self.incoming.recv_timeout(deadline.saturating_duration_since(clock::now()))?;
            if matches!(told, Incoming::Ours(_, EventKind::ActionTaken { .. })) {
                return Ok(told);
            }
            self.held.push_back(told);
        }
        self.held.pop_front().map_or_else(|| self.incoming.recv_timeout(wait), Ok)
    }
}

/// The result of a session.
pub(crate) struct Run {
    pub summary: LoadSummary,
    recording: Recording,
    not_done: Vec<NotDone>,
    began: Timestamp,
    /// It ended because its output was closed.
    is_unread: bool,
}

impl Run {
    pub(crate) fn svg(&self) -> String {
        report::svg(&self.recording)
    }

    /// The test cases, including every reason for the command's failure.
    pub(crate) fn junit(&self, scenario: &Scenario) -> Result<String, Failure> {
        let mut troubles = if self.is_unread {
            vec!["the run ended early: nobody read its output any longer".to_owned()]
        } else {
            report::troubles(&self.summary)
        };
        troubles.extend(
            failed_load::nobody_there(&self.summary)
                .or_else(|| failed_load::no_answers(&self.summary, scenario)),
        );
        let LoadSummary { plan, took_ms, expectations, .. } = &self.summary;
        report::junit(&Suite {
            name: &plan.name,
            began: Some(self.began),
            took_ms: *took_ms,
            expectations,
            not_done: &self.not_done,
            troubles: &troubles,
        })
        .map_err(Failure::failed)
    }

    /// The exit code of the run. If the output was closed early, there is no verdict. An unmet expectation takes
    /// precedence over other problems, which are then reported as well.
    pub(crate) fn outcome(&self, context: &Context, scenario: &Scenario) -> Outcome {
        if self.is_unread {
            return Ok(exit::UNREAD);
        }
        if self.summary.interrupted {
            return Err(Failure::stopped());
        }
        if let Some(nobody) = failed_load::nobody_there(&self.summary) {
            return Err(Failure::failed(nobody));
        }
        let mut wrong: Vec<String> = self.not_done.iter().map(NotDone::to_string).collect();
        wrong.extend(failed_load::no_answers(&self.summary, scenario));
        wrong.extend(failed_load::old_locks(&self.summary));
        // A part of it is missing.
        wrong.extend(self.summary.ended_early.clone());
        let all_met = self.summary.expectations.iter().all(|result| result.met);
        match (all_met, wrong.is_empty()) {
            (true, true) => Ok(exit::DONE),
            (true, false) => Err(Failure::failed(wrong.join("; "))),
            (false, _) => {
                for message in wrong {
                    context.printer.error(&format!("playctl: {message}"));
                }
                Ok(exit::EXPECTATION_NOT_MET)
            }
        }
    }
}

/// The test cases of a run that could not start.
pub(crate) fn junit_of_failure(scenario: &Scenario, failure: &Failure) -> Result<String, Failure> {
    let troubles = [failure.message.clone()];
    let (name, began) = (scenario.name.as_str(), Some(clock::wall()));
    let suite = Suite { name, began, took_ms: 0, expectations: &[], not_done: &[], troubles: &troubles };
    report::junit(&suite).map_err(Failure::failed)
}

fn forward_platform(
    stream: EventStream,
    elapsed: Elapsed,
    sender: mpsc::SyncSender<Incoming>,
) -> Result<(), Failure> {
    spawn("platform-events", move || {
        for event in stream {
            if sender.send(Incoming::Platform(elapsed.ms(), event)).is_err() {
                break;
            }
        }
    })
}

fn start_load(
    scenario: Scenario,
    options: Options,
    control: Control,
    elapsed: Elapsed,
    sender: mpsc::SyncSender<Incoming>,
) -> Result<(), Failure> {
    spawn("load", move || {
        // A send fails only when the session is gone, and with it everybody who would want to know.
        let result = load::run(&scenario, &options, &control, &mut |kind| {
            let _ = sender.send(Incoming::Ours(elapsed.ms(), kind));
        });
        let _ = sender.send(Incoming::LoadEnded(Box::new(result)));
    })
}

/// A service's replicas that serve and have not been told to end.
fn replicas_of(service: &str, platform: Snapshot) -> Vec<String> {
    let of_service = platform.services.into_iter().filter(|known| known.name == service);
    of_service
        .flat_map(|service| service.replicas)
        .filter(|replica| matches!(replica.phase, ReplicaPhase::Ready | ReplicaPhase::Unready))
        .map(|replica| replica.name)
        .collect()
}

/// The replica with this UUID (its answer to `WHERE`).
pub(crate) fn replica_names(target: Arc<dyn Target>) -> load::ReplicaNames {
    let known: Mutex<HashMap<String, String>> = Mutex::default();
    Arc::new(move |own| {
        let mut known = known.lock();
        if !known.contains_key(own) {
            let snapshot = target.snapshot().ok()?;
            for replica in snapshot.services.into_iter().flat_map(|service| service.replicas) {
                // A server is named by its UUID, or by the address at which its gateway reaches it.
                let address = replica.address.map(|address| address.host.to_string());
                let names = [replica.server_id.map(|id| id.to_string()), address].into_iter().flatten();
                known.extend(names.map(|own| (own, replica.name.clone())));
            }
        }
        known.get(own).cloned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(message: &str) -> Incoming {
        Incoming::Ours(0, EventKind::Warning { message: message.to_owned() })
    }

    fn words(told: Result<Incoming, mpsc::RecvTimeoutError>) -> String {
        match told {
            Ok(Incoming::Ours(_, EventKind::Warning { message })) => message,
            Ok(Incoming::Ours(_, EventKind::ActionTaken { action, .. })) => action,
            _ => "nothing".to_owned(),
        }
    }

    #[test]
    fn an_action_is_reported_before_its_effects() {
        let (sender, incoming) = mpsc::sync_channel(8);
        let mut inbox = Inbox { incoming, held: VecDeque::new(), acting_since: None };
        let (because, outcome) = (String::new(), String::new());
        let action = EventKind::ActionTaken { action: "kill".to_owned(), because, outcome, failed: false };
        for told in [warning("it crashed"), Incoming::Ours(0, action), warning("it is back")] {
            sender.send(told).expect("there is room");
        }
        assert_eq!(words(inbox.next(true, TICK)), "kill");
        assert_eq!(words(inbox.next(false, TICK)), "it crashed");
        assert_eq!(words(inbox.next(false, TICK)), "it is back");
    }

    #[test]
    fn a_slow_action_delays_no_other_event() {
        let (sender, incoming) = mpsc::sync_channel(8);
        let long_ago = clock::now().checked_sub(CAUSE_FIRST);
        let mut inbox = Inbox { incoming, held: VecDeque::new(), acting_since: long_ago };
        sender.send(warning("meanwhile")).expect("there is room");
        assert_eq!(words(inbox.next(true, TICK)), "meanwhile");
    }
}
