//! The worker's side.

use std::{
    io::{self, BufRead, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use super::{PROTOCOL, SoFar, Told, Word, lines::Encoder};
use crate::{
    clock::{MS, monotonic_ns},
    crew::REPORTS_QUEUED,
    error::LoadError,
    histogram::{Each, Sum},
    limits,
    messages::{Command, Report, Spec},
    probe,
    target::resolve,
    worker::Commands,
    worker_thread::spawn_worker,
};

/// A worker without orders ends after this long.
const PATIENCE: Duration = Duration::from_mins(10);
/// How often it checks for a stop before it has started.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Lines read but not yet obeyed.
const QUEUE: usize = 64;

/// Ends a worker cleanly, from any thread: connections are closed and the result is reported.
#[derive(Debug, Clone)]
pub struct Stop {
    commands: Arc<Commands>,
    was_asked: Arc<AtomicBool>,
}

impl Stop {
    pub fn new() -> Result<Self, LoadError> {
        Ok(Self { commands: Arc::new(Commands::new()?), was_asked: Arc::default() })
    }

    pub fn stop(&self) {
        self.was_asked.store(true, Ordering::Release);
        self.commands.obey(Command::Stop);
    }

    fn is_set(&self) -> bool {
        self.commands.close_time_ms() == 0
    }
}

/// Runs one worker that reads its orders from `input` and reports on `output`: see the module's documentation. Returns
/// when its work is done.
pub fn serve_away(
    input: impl BufRead + Send + 'static,
    output: impl Write,
    stop: &Stop,
) -> Result<(), LoadError> {
    let mut voice = Voice { encoder: Encoder::default(), output };
    voice.say(&Word::Up { protocol: PROTOCOL })?;
    let (sender, told) = mpsc::sync_channel(QUEUE);
    let reading = sender.clone();
    // Not joined: it waits for input that may never come, and ends with the process.
    thread::Builder::new().name("load-told".to_owned()).spawn(move || read(input, &reading))?;
    let worked = work(told, stop, &mut voice);
    // Kept until here, so that the end of the input does not end the channel.
    drop(sender);
    if let Err(error) = &worked {
        voice.say(&Word::Failed(error.to_string()))?;
    }
    worked
}

/// The end of the input means nothing: the writer may come back.
fn read(input: impl BufRead, told: &mpsc::SyncSender<Result<Told, LoadError>>) {
    for line in input.lines() {
        let Ok(line) = line else { break };
        // Written after a broken connection.
        if line.trim().is_empty() {
            continue;
        }
        let parsed = serde_json::from_str(&line)
            .map_err(|error| LoadError::Protocol(format!("its orders cannot be read: {error}")));
        if told.send(parsed).is_err() {
            return;
        }
    }
}

fn work(
    told: mpsc::Receiver<Result<Told, LoadError>>,
    stop: &Stop,
    voice: &mut Voice<impl Write>,
) -> Result<(), LoadError> {
    let Some((spec, ask)) = wait_for(&told, stop, |told| match told {
        Told::Prepare { spec, targets, ask } => Some((prepared(*spec, &targets), ask)),
        _ => None,
    })?
    else {
        return Ok(());
    };
    let mut spec = spec?;
    voice.say(&Word::Ready { says_where: ask && probe::says_where(spec.targets[0]) })?;
    let Some(()) = wait_for(&told, stop, |told| match told {
        Told::Start { in_ms, identify } => {
            spec.origin_ns = monotonic_ns() + u64::from(in_ms) * MS;
            spec.identify = identify;
            Some(())
        }
        _ => None,
    })?
    else {
        return Ok(());
    };
    let commands = Arc::clone(&stop.commands);
    let obeyed = Arc::clone(&commands);
    thread::Builder::new().name("load-commands".to_owned()).spawn(move || {
        // Unreadable orders come from another version, and are not fatal while the load is running.
        for told in told.into_iter().flatten() {
            if let Told::Do(command) = told {
                obeyed.obey(command);
            }
        }
    })?;
    let (reports, received) = mpsc::sync_channel(REPORTS_QUEUED);
    let worker = spawn_worker(spec, commands, reports)?;
    report(received, stop, voice)?;
    // It has nothing more to say: its reports have ended.
    let _ = worker.join();
    Ok(())
}

/// The first match; `None`: it should stop.
fn wait_for<T>(
    told: &mpsc::Receiver<Result<Told, LoadError>>,
    stop: &Stop,
    mut wanted: impl FnMut(Told) -> Option<T>,
) -> Result<Option<T>, LoadError> {
    let deadline = clock::now() + PATIENCE;
    while !stop.is_set() && clock::now() < deadline {
        match told.recv_timeout(LOOK_EVERY) {
            Ok(Ok(Told::Do(command))) => stop.commands.obey(command),
            Ok(told) => {
                if let Some(found) = wanted(told?) {
                    return Ok(Some(found));
                }
            }
            Err(_) => {}
        }
    }
    if stop.is_set() {
        return Ok(None);
    }
    Err(LoadError::Protocol(format!("it got no orders within {} s", PATIENCE.as_secs())))
}

/// Resolves the targets, and checks whether this machine allows that many connections.
fn prepared(spec: Spec, targets: &[String]) -> Result<Spec, LoadError> {
    if spec.workers == 0 || spec.worker >= spec.workers || targets.is_empty() || spec.tick_ms == 0 {
        return Err(LoadError::Protocol("the specification is invalid".to_owned()));
    }
    let protocol = spec.scenario.protocol;
    let targets = targets.iter().map(|text| resolve(text, protocol)).collect::<Result<Vec<_>, _>>()?;
    let mut share = spec.scenario.clone();
    // Users who join are included.
    share.actions.clear();
    share.phases.ramp.connections = spec.share() as u64;
    let layout = limits::lay_out(&share, &targets, 1, limits::raise_open_files(), false)?;
    Ok(Spec { targets, sources: layout.sources, ..spec })
}

fn report(
    received: mpsc::Receiver<(u32, Report)>,
    stop: &Stop,
    voice: &mut Voice<impl Write>,
) -> Result<(), LoadError> {
    let (mut so_far, mut whole) = (SoFar::default(), Each::<Sum>::default());
    for (_, report) in received {
        match &report {
            Report::RampDone { at_ms } => so_far.ramp_done_ms = Some(*at_ms),
            Report::Closing { at_ms } => so_far.closing_ms = Some(*at_ms),
            Report::Progress { measured, .. } => whole.add(&measured.distributions),
            _ => {}
        }
        let word = match report {
            Report::Done { at_ms, measured } => {
                whole.add(&measured.distributions);
                let by_its_platform = stop.was_asked.load(Ordering::Acquire);
                Word::Done { at_ms, measured, whole: Box::new(std::mem::take(&mut whole)), by_its_platform }
            }
            Report::Failed(why) => Word::Failed(why),
            report => Word::Report { report, so_far },
        };
        voice.say(&word)?;
    }
    Ok(())
}

struct Voice<W> {
    encoder: Encoder,
    output: W,
}

impl<W: Write> Voice<W> {
    fn say(&mut self, word: &Word) -> io::Result<()> {
        self.output.write_all(self.encoder.encode(word)?.as_bytes())?;
        self.output.flush()
    }
}
