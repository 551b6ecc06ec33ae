//! One load run: the load generator's events and the platform's, merged into one stream in the order in which
//! they arrive, and given to all readers of that stream.

use std::{
    path::Path,
    sync::mpsc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use load::{Control, Evaluator, LoadError, Options, Plan};
use platform::{
    Event, EventKind, Source, TargetError,
    event::{LoadSummary, Stamper},
    exit,
    target::EventStream,
};
use report::{Recording, Timeline};
use uuid::Uuid;

use crate::{
    args::Output,
    commands::{Context, Failure, Outcome},
    waiting::Waiting,
};

/// How often the wait for the next event looks at the clock, and the live line is drawn.
const TICK: Duration = Duration::from_millis(250);

/// A load run with its readers.
pub(crate) struct Session<'a> {
    context: &'a Context,
    stamper: Stamper,
    timeline: Timeline,
    recording: Recording,
    evaluator: Evaluator,
    waiting: Waiting,
}

enum Incoming {
    Platform(Result<Event, TargetError>),
    Load(Timestamp, EventKind),
    LoadEnded(Box<Result<LoadSummary, LoadError>>),
}

impl<'a> Session<'a> {
    pub(crate) fn new(context: &'a Context, plan: &Plan) -> Self {
        Self {
            context,
            stamper: Stamper::new(Uuid::now_v7(), Source::Load, Timestamp::now()),
            timeline: crate::platform_source::timeline(context),
            recording: Recording::default(),
            evaluator: Evaluator::new(&plan.expectations),
            waiting: Waiting::new(plan),
        }
    }

    /// Runs the load to its end, then waits for what is still expected of the platform (a scale-down, say) for as
    /// long as the plan allows. The exit code is 3 if an expectation was not met.
    ///
    /// `platform`: the events of the platform under load, if it is one of ours.
    pub(crate) fn run(
        mut self,
        plan: &Plan,
        options: Options,
        platform: Option<EventStream>,
    ) -> Result<Run, Failure> {
        let control = Control::new();
        let stop = control.clone();
        self.context.interrupt.on_interrupt(move || stop.stop());
        let (sender, incoming) = mpsc::sync_channel(4096);
        if let Some(mut stream) = platform {
            // A stream begins with what the platform is: readers want that before anything happens on it.
            if let Some(first) = stream.next() {
                let event = self.stamper.adopt(first?);
                self.take(&event);
            }
            forward_platform(stream, sender.clone())?;
        }
        start_load(plan.clone(), options, control.clone(), sender)?;

        let mut ended: Option<(Instant, LoadSummary)> = None;
        loop {
            match incoming.recv_timeout(TICK) {
                Ok(Incoming::Platform(Ok(event))) => {
                    let event = self.stamper.adopt(event);
                    self.take(&event);
                }
                Ok(Incoming::Platform(Err(error))) => {
                    self.stamp(EventKind::Warning {
                        message: format!("the platform's events ended: {error}"),
                    });
                }
                Ok(Incoming::Load(wall, kind @ EventKind::LoadFinished { .. })) => {
                    // Decides expectations now; readers get it at the very end, with delays and verdicts.
                    self.evaluator.observe(&self.stamper.clone().stamp(wall, kind));
                }
                Ok(Incoming::Load(wall, kind)) => {
                    let event = self.stamper.stamp(wall, kind);
                    self.take(&event);
                }
                Ok(Incoming::LoadEnded(result)) => match *result {
                    Ok(summary) => ended = Some((Instant::now(), summary)),
                    Err(error) => return Err(Failure::new(error.exit_code(), error.to_string())),
                },
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
            if self.context.printer.closed() {
                control.stop();
            }
            if let Some((at, _)) = &ended
                && (self.evaluator.pending().is_empty()
                    || at.elapsed() >= plan.wait
                    || self.context.interrupt.is_set()
                    || self.context.printer.closed())
            {
                break;
            }
            self.show_waiting();
        }
        self.context.printer.progress().clear();
        let Some((_, summary)) = ended else {
            return Err(Failure::failed("the load generator ended without a result"));
        };
        Ok(self.finish(summary))
    }

    fn finish(mut self, mut summary: LoadSummary) -> Run {
        let delays = report::delays(self.recording.events());
        summary.scale_up = delays.up;
        summary.scale_down = delays.down;
        summary.expectations = self.evaluator.results();
        for result in summary.expectations.clone() {
            self.stamp(EventKind::ExpectationChecked(result));
        }
        self.stamp(EventKind::LoadFinished { summary: Box::new(summary.clone()) });
        self.context.printer.line(&self.timeline.finish());
        if self.context.printer.output() == Output::Json {
            self.context.printer.document(&report::json(&self.recording, &summary));
        }
        Run { summary, recording: self.recording }
    }

    fn stamp(&mut self, kind: EventKind) {
        let event = self.stamper.stamp(Timestamp::now(), kind);
        self.take(&event);
    }

    fn take(&mut self, event: &Event) {
        self.evaluator.observe(event);
        self.waiting.observe(event);
        self.recording.push(event);
        match self.context.printer.output() {
            Output::Human => {
                for line in self.timeline.feed(event) {
                    self.context.printer.line(&line);
                }
            }
            Output::Jsonl => self.context.printer.json_line(event),
            Output::Json => {}
        }
    }

    fn show_waiting(&self) {
        if let Some((stage, line)) = self.waiting.line(Timestamp::now(), &self.evaluator.pending()) {
            self.context.printer.progress().show(stage, &line);
        }
    }
}

/// What a session leaves.
pub(crate) struct Run {
    pub summary: LoadSummary,
    recording: Recording,
}

impl Run {
    pub(crate) fn write_svg(&self, path: &Path) -> Result<(), Failure> {
        std::fs::write(path, report::svg(&self.recording))
            .map_err(|error| Failure::failed(format!("could not write {}: {error}", path.display())))
    }

    /// The exit code of the run.
    pub(crate) fn outcome(&self) -> Outcome {
        let totals = &self.summary.totals;
        if self.summary.interrupted {
            Err(Failure::interrupted())
        } else if totals.attempted > 0 && totals.connected == 0 {
            Err(Failure::failed(format!(
                "none of {} attempts to connect to {} succeeded: {} refused, {} timed out, {} failed otherwise; \
                 does a server listen there?",
                totals.attempted,
                self.summary.plan.target,
                totals.refused,
                totals.connect_timeouts,
                totals.connect_errors
            )))
        } else if self.summary.plan.protocol == "udp"
            && totals.messages_sent > 0
            && totals.messages_answered == 0
        {
            Err(Failure::failed(format!(
                "none of {} datagrams to {} was answered; does a server listen there?",
                totals.messages_sent, self.summary.plan.target
            )))
        } else if self.summary.expectations.iter().all(|result| result.met) {
            Ok(exit::DONE)
        } else {
            Ok(exit::EXPECTATION_NOT_MET)
        }
    }
}

fn forward_platform(stream: EventStream, sender: mpsc::SyncSender<Incoming>) -> Result<(), Failure> {
    spawn("platform-events", move || {
        for event in stream {
            if sender.send(Incoming::Platform(event)).is_err() {
                break;
            }
        }
    })
}

fn start_load(
    plan: Plan,
    options: Options,
    control: Control,
    sender: mpsc::SyncSender<Incoming>,
) -> Result<(), Failure> {
    spawn("load", move || {
        // A send fails only when the session is gone, and with it everybody who would want to know.
        let result = load::run(&plan, &options, &control, &mut |kind| {
            let _ = sender.send(Incoming::Load(Timestamp::now(), kind));
        });
        let _ = sender.send(Incoming::LoadEnded(Box::new(result)));
    })
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(body)
        .map(|_| ())
        .map_err(|error| Failure::failed(format!("could not start a thread: {error}")))
}
