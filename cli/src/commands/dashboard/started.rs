//! A load started from the page: `playctl load` as a separate process, which sends its events to all pages.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    sync::{Arc, mpsc},
    time::Duration,
};

use parking_lot::Mutex;
use platform::exit;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::Serialize;

/// A load that cannot start fails within this time.
const EARLY: Duration = Duration::from_secs(2);
/// How much of a load's stderr to read, and how many of its lines to keep.
const WORDS_BYTES_MAX: u64 = 64 * 1024;
const WORDS_LINES: usize = 6;

/// The single load that pages of this server may start at a time. Clones share it.
#[derive(Clone)]
pub(super) struct StartedLoad {
    /// The platform, as options.
    selection: Arc<[String]>,
    state: Arc<Mutex<Option<State>>>,
}

struct State {
    scenario: String,
    /// `None`: it has ended.
    process: Option<OwnedFd>,
    outcome: String,
}

/// The latest load, in the format for pages.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    scenario: String,
    running: bool,
    /// Its outcome, in words.
    outcome: String,
}

impl StartedLoad {
    pub(super) fn new(selection: Vec<String>) -> Self {
        Self { selection: selection.into(), state: Arc::default() }
    }

    pub(super) fn told(&self) -> Option<Told> {
        let state = self.state.lock();
        let State { scenario, process, outcome } = state.as_ref()?;
        Some(Told { scenario: scenario.clone(), running: process.is_some(), outcome: outcome.clone() })
    }

    pub(super) fn is_running(&self) -> bool {
        self.told().is_some_and(|told| told.running)
    }

    /// Starts a built-in scenario. Returns once it has been running for a moment, or has ended. Calls `ended` at its
    /// end.
    pub(super) fn start(
        &self,
        scenario: &str,
        connections: Option<u32>,
        hold_s: Option<u32>,
        ended: impl Fn() + Send + 'static,
    ) -> Result<String, String> {
        // Pages must not name files.
        if !scenario::names().any(|(name, _)| name == scenario) {
            let known: Vec<&str> = scenario::names().map(|(name, _)| name).collect();
            return Err(format!("there is no scenario {scenario}; there are: {}", known.join(", ")));
        }
        let mut words = vec!["load".to_owned(), scenario.to_owned(), "--quiet".to_owned()];
        words.extend(connections.map(|connections| format!("--conns={connections}")));
        words.extend(hold_s.map(|seconds| format!("--hold={seconds}s")));
        let (told_end, early_end) = mpsc::channel();
        {
            let mut state = self.state.lock();
            if let Some(State { scenario, process: Some(_), .. }) = &*state {
                return Err(format!("{scenario} still runs; stop it first"));
            }
            let (told_start, start) = mpsc::channel();
            let load = self.clone();
            // The load dies with the thread that started it, so that thread waits for it.
            let begun = std::thread::Builder::new().name("load".into()).spawn(move || {
                let child = load.spawn(&words);
                let mut child = match child {
                    Ok((child, process)) => {
                        let _ = told_start.send(Ok(process));
                        child
                    }
                    Err(error) => {
                        let _ = told_start.send(Err(error));
                        return;
                    }
                };
                let outcome = wait(&mut child);
                if let Some(state) = &mut *load.state.lock() {
                    state.process = None;
                    state.outcome = outcome.clone().unwrap_or_else(|error| error);
                }
                // The caller no longer waits if it ran for long.
                let _ = told_end.send(outcome);
                ended();
            });
            let started = begun.map_err(|error| error.to_string()).and_then(|_| {
                let gone = |_| "its thread has ended".to_owned();
                start.recv().map_err(gone)?.map_err(|error| error.to_string())
            });
            let process = started.map_err(|error| format!("cannot start playctl load: {error}"))?;
            let (scenario, outcome) = (scenario.to_owned(), String::new());
            *state = Some(State { scenario, process: Some(process), outcome });
        }
        match early_end.recv_timeout(EARLY) {
            Ok(outcome) => outcome.map(|words| format!("{scenario} {words}")),
            Err(_) => Ok(format!("{scenario} runs; its connections and latencies are shown as they come")),
        }
    }

    /// Tells it to end, like Ctrl-C.
    pub(super) fn stop(&self) -> Result<String, String> {
        match &*self.state.lock() {
            Some(State { scenario, process: Some(process), .. }) => {
                pidfd_send_signal(process, Signal::INT).map_err(|error| error.to_string())?;
                Ok(format!("{scenario} is told to stop; it closes its connections"))
            }
            _ => {
                Err("no load that was started here is running; a load in a terminal ends there, with Ctrl-C"
                    .to_owned())
            }
        }
    }

    fn spawn(&self, words: &[String]) -> std::io::Result<(Child, OwnedFd)> {
        // This same program, even if its file has been replaced.
        let mut child = Command::new("/proc/self/exe")
            .args(&*self.selection)
            .args(words)
            .env(local::child::PARENT_VARIABLE, std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(process) => Ok((child, process)),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error.into())
            }
        }
    }
}

/// Its outcome, in words; `Err`: it failed.
fn wait(child: &mut Child) -> Result<String, String> {
    let mut last = std::collections::VecDeque::new();
    if let Some(mut stderr) = child.stderr.take() {
        for line in BufReader::new((&mut stderr).take(WORDS_BYTES_MAX)).lines().map_while(Result::ok) {
            if last.len() == WORDS_LINES {
                last.pop_front();
            }
            last.push_back(line);
        }
        // The rest is read and discarded, so that the load never waits for room.
        let _ = std::io::copy(&mut stderr, &mut std::io::sink());
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    let words = Vec::from(last).join("\n").trim().trim_start_matches("playctl: ").to_owned();
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(exit::DONE) => Ok("has ended; everything that was expected was met".to_owned()),
        Some(exit::EXPECTATION_NOT_MET) => {
            Ok("has ended; not everything that was expected was met, see the verdicts".to_owned())
        }
        Some(exit::INTERRUPTED) => Ok("was stopped".to_owned()),
        _ if words.is_empty() => Err(format!("ended with {status}")),
        _ => Err(words),
    }
}
