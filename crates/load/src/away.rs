//! Remote workers, such as the pods of a Job: they get their orders as lines, and report as lines of a log.
//!
//! Each gets its [`Spec`] and the targets' names, which it resolves where it runs. When all are ready, they are told
//! to start after the same delay: their clocks need not agree. From then on they report like worker processes.
//! At the end each worker also reports its totals, so that a report lost in a log is not missing from
//! the result.

mod lines;
#[cfg(feature = "engine")]
mod serve;

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use self::lines::{Decoder, Taken};
#[cfg(feature = "engine")]
pub use self::serve::{Stop, serve_away};
use crate::{
    commanders::{Commanders, Tell},
    control::Control,
    crew::{self, Crew, Place, REPORTS_QUEUED},
    error::LoadError,
    histogram::{Each, Sum},
    messages::{Command, Measured, Report, Spec},
};

/// Changes with every change of the messages: a worker may have another version.
const PROTOCOL: u32 = 3;
/// How long running workers may take to get ready.
const MUSTER: Duration = Duration::from_mins(1);
/// Delay between the order to start and the start, so that all have received it by then.
const LEAD_MS: u32 = 1_500;
/// Workers report every second. One that is silent for this long counts as lost.
const SILENCE: Duration = Duration::from_secs(45);
/// How often the reader checks whether it is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Number of a worker's other output lines to keep, to explain its end.
const LAST_WORDS: usize = 3;

/// Running workers that wait for orders.
pub trait Workers: Send + Sync {
    fn count(&self) -> u32;
    /// A worker's name in messages.
    fn name(&self, worker: u32) -> String;
    /// Writes a line to a worker's standard input, without blocking.
    fn tell(&self, worker: u32, line: String);
    /// Waits at most this long for a message from any of them.
    fn hear(&self, patience: Duration) -> Option<(u32, Heard)>;
}

/// A message from a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Line(String),
    /// It no longer runs, for this reason; nothing follows.
    Ended(String),
}

/// A load's remote workers, and the targets as they resolve them.
#[derive(Clone)]
pub struct Away {
    pub workers: Arc<dyn Workers>,
    pub targets: Vec<String>,
}

impl fmt::Debug for Away {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Away").field("targets", &self.targets).finish_non_exhaustive()
    }
}

/// Orders to a worker.
#[derive(Debug, Serialize, Deserialize)]
enum Told {
    /// `ask`: ask the first target whether it says which replica serves a connection.
    Prepare {
        spec: Box<Spec>,
        targets: Vec<String>,
        ask: bool,
    },
    Start {
        in_ms: u32,
        identify: bool,
    },
    Do(Command),
}

/// Messages of a worker.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    Up {
        protocol: u32,
    },
    Ready {
        says_where: bool,
    },
    /// `so_far` repeats what may have been in a lost line.
    Report {
        report: Report,
        so_far: SoFar,
    },
    /// The last report. `whole`: the complete measurements. `by_its_platform`: it was ended from outside.
    Done {
        at_ms: u32,
        measured: Box<Measured>,
        whole: Box<Each<Sum>>,
        by_its_platform: bool,
    },
    Failed(String),
}

/// The phases that a worker has entered, and when.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct SoFar {
    ramp_done_ms: Option<u32>,
    closing_ms: Option<u32>,
}

impl Place for Away {
    fn workers(&self) -> u32 {
        self.workers.count()
    }

    fn start(&self, spec: Spec, identify: Option<bool>, control: &Control) -> Result<Crew, LoadError> {
        let (sender, reports) = mpsc::sync_channel(REPORTS_QUEUED);
        let party = Party::start(self, &spec, identify, &|| control.is_stopped(), sender)?;
        Ok(Crew::new(party, reports))
    }
}

/// Sends orders to remote workers.
#[derive(Clone)]
struct Caller(Arc<dyn Workers>);

impl Tell for Caller {
    fn tell(&self, command: &Command) {
        self.say(&Told::Do(command.clone()));
    }
}

impl Caller {
    fn say(&self, told: &Told) {
        // Serializing our own type with text keys cannot fail.
        let Ok(line) = serde_json::to_string(told) else { return };
        for worker in 0..self.0.count() {
            self.0.tell(worker, format!("{line}\n"));
        }
    }
}

/// The workers of a run, and the thread that listens to them. Dropping it stops them, and listening.
struct Party {
    caller: Caller,
    unwanted: Arc<AtomicBool>,
    listener: Option<thread::JoinHandle<()>>,
}

impl Party {
    /// Gets all workers ready, and lets them start together. `identify`: `None` leaves it to the target's answer.
    fn start(
        away: &Away,
        spec: &Spec,
        identify: Option<bool>,
        is_stopped: &dyn Fn() -> bool,
        reports: mpsc::SyncSender<(u32, Report)>,
    ) -> Result<Self, LoadError> {
        let workers = &away.workers;
        let caller = Caller(Arc::clone(workers));
        for worker in 0..workers.count() {
            let spec = Box::new(Spec { worker, ..spec.clone() });
            let told =
                Told::Prepare { spec, targets: away.targets.clone(), ask: identify.is_none() && worker == 0 };
            let line =
                serde_json::to_string(&told).map_err(|error| LoadError::Protocol(error.to_string()))?;
            workers.tell(worker, format!("{line}\n"));
        }
        let mut ears: Vec<Ear> = (0..workers.count()).map(|_| Ear::default()).collect();
        let says_where = muster(&**workers, &mut ears, is_stopped)?;
        caller.say(&Told::Start { in_ms: LEAD_MS, identify: identify.unwrap_or(says_where) });
        let unwanted = Arc::new(AtomicBool::new(false));
        let (is_unwanted, heard) = (Arc::clone(&unwanted), Arc::clone(workers));
        let listener = thread::Builder::new()
            .name("load-away".to_owned())
            .spawn(move || listen(&*heard, ears, &reports, &is_unwanted))
            .map_err(LoadError::Start)?;
        Ok(Self { caller, unwanted, listener: Some(listener) })
    }
}

impl crew::Workers for Party {
    fn commanders(&self) -> Commanders {
        Commanders::new(self.caller.clone())
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        self.caller.tell(&Command::StopAtOnce);
        self.unwanted.store(true, Ordering::Release);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

/// Waits until all are ready. Returns whether the target says which replica serves a connection.
fn muster(workers: &dyn Workers, ears: &mut [Ear], is_stopped: &dyn Fn() -> bool) -> Result<bool, LoadError> {
    let deadline = clock::now() + MUSTER;
    let mut says_where = false;
    while let Some(late) = ears.iter().position(|ear| !ear.is_ready) {
        if is_stopped() {
            return Err(LoadError::Interrupted);
        }
        let failed = |worker: u32, message: String| LoadError::Worker { worker, message };
        if clock::now() > deadline {
            let late = late as u32;
            let message = format!("{} was not ready after {} s", workers.name(late), MUSTER.as_secs());
            return Err(failed(late, message));
        }
        let Some((worker, heard)) = workers.hear(LOOK_EVERY) else { continue };
        let Some(ear) = ears.get_mut(worker as usize) else { continue };
        let name = || workers.name(worker);
        match ear.take(heard) {
            Some(Ok(Word::Up { protocol })) if protocol != PROTOCOL => {
                let message = format!(
                    "the playctl of its image is of another version (protocol {protocol}, expected {PROTOCOL}); name \
                     an image of this version with --image"
                );
                return Err(failed(worker, format!("{}: {message}", name())));
            }
            Some(Ok(Word::Ready { says_where: says })) => {
                ear.is_ready = true;
                says_where |= says;
            }
            Some(Ok(Word::Failed(why)) | Err(why)) => {
                return Err(failed(worker, format!("{}: {why}", name())));
            }
            _ => {}
        }
    }
    Ok(says_where)
}

/// Forwards the workers' reports, until all are done.
fn listen(
    workers: &dyn Workers,
    mut ears: Vec<Ear>,
    reports: &mpsc::SyncSender<(u32, Report)>,
    unwanted: &AtomicBool,
) {
    let began = clock::now();
    while ears.iter().any(|ear| !ear.is_over) && !unwanted.load(Ordering::Acquire) {
        let mut said = Vec::new();
        if let Some((worker, heard)) = workers.hear(LOOK_EVERY)
            && let Some(ear) = ears.get_mut(worker as usize)
        {
            said.extend(ear.reports(heard).into_iter().map(|report| (worker, report)));
        }
        for (worker, ear) in ears.iter_mut().enumerate() {
            if !ear.is_over && ear.heard.unwrap_or(began).elapsed() > SILENCE {
                ear.is_over = true;
                let message = format!("it has said nothing for {} s", SILENCE.as_secs());
                said.push((worker as u32, Report::Failed(message)));
            }
        }
        for (worker, report) in said {
            let report = match report {
                Report::Failed(why) => Report::Failed(format!("{}: {why}", workers.name(worker))),
                other => other,
            };
            if reports.send((worker, report)).is_err() {
                return;
            }
        }
    }
}

/// Listens to one worker.
#[derive(Debug, Default)]
struct Ear {
    decoder: Decoder,
    is_ready: bool,
    is_over: bool,
    heard: Option<Instant>,
    told: SoFar,
    lost_told: u64,
    /// The part of its distributions that was forwarded.
    sum: Each<Sum>,
    last_words: VecDeque<String>,
}

impl Ear {
    /// An error says why the worker is gone.
    fn take(&mut self, heard: Heard) -> Option<Result<Word, String>> {
        self.heard = Some(clock::now());
        let line = match heard {
            Heard::Ended(why) => {
                let words = Vec::from(std::mem::take(&mut self.last_words)).join("; ");
                return Some(Err(if words.is_empty() { why } else { format!("{why}; it wrote: {words}") }));
            }
            Heard::Line(line) => line,
        };
        match self.decoder.take(&line) {
            Taken::Message(word) => Some(Ok(word)),
            Taken::Part => None,
            Taken::Other => {
                if self.last_words.len() == LAST_WORDS {
                    self.last_words.pop_front();
                }
                self.last_words.push_back(line.trim().chars().take(300).collect());
                None
            }
        }
    }

    /// Reports about a running load.
    fn reports(&mut self, heard: Heard) -> Vec<Report> {
        if self.is_over {
            return Vec::new();
        }
        let mut told = Vec::new();
        match self.take(heard) {
            Some(Ok(Word::Report { report, so_far })) => {
                if let Report::Progress { measured, .. } = &report {
                    self.sum.add(&measured.distributions);
                }
                // Phases entered in a line that got lost.
                let is_ramp = matches!(report, Report::RampDone { .. });
                let is_closing = matches!(report, Report::Closing { .. });
                let ramp_done = so_far.ramp_done_ms.filter(|_| self.told.ramp_done_ms.is_none() && !is_ramp);
                let closing = so_far.closing_ms.filter(|_| self.told.closing_ms.is_none() && !is_closing);
                told.extend(ramp_done.map(|at_ms| Report::RampDone { at_ms }));
                told.extend(closing.map(|at_ms| Report::Closing { at_ms }));
                self.told = so_far;
                told.push(report);
            }
            Some(Ok(Word::Done { at_ms, mut measured, whole, by_its_platform })) => {
                self.is_over = true;
                measured.distributions = whole.without(&self.sum);
                told.push(Report::Done { at_ms, measured });
                if by_its_platform {
                    let why = "it was told to end, as when its pod is deleted or evicted";
                    told.push(Report::Failed(why.to_owned()));
                }
            }
            Some(Ok(Word::Failed(why)) | Err(why)) => {
                self.is_over = true;
                told.push(Report::Failed(why));
            }
            Some(Ok(Word::Up { .. } | Word::Ready { .. })) | None => {}
        }
        let lost = self.decoder.lost();
        if lost > self.lost_told {
            let count = lost - self.lost_told;
            self.lost_told = lost;
            let words =
                format!("{count} reports of a load worker were lost in its log; its final result has them");
            told.insert(0, Report::Warning(words));
        }
        told
    }
}

#[cfg(test)]
#[cfg(feature = "engine")]
mod tests;
