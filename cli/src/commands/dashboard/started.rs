//! A load that was started from the page: `playctl load` as a process of its own, which tells its events to all pages.

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

/// What cannot be started says so within this.
const EARLY: Duration = Duration::from_secs(2);
/// How much is read of what a load writes to stderr, and how many of its lines are kept.
const WORDS_BYTES_MAX: u64 = 64 * 1024;
const WORDS_LINES: usize = 6;

/// The one load that pages of this server may start at a time. Clones share it.
#[derive(Clone)]
pub(super) struct StartedLoad {
    /// Which platform, as options.
    selection: Arc<[String]>,
    state: Arc<Mutex<Option<State>>>,
}

struct State {
    scenario: String,
    /// `None`: it has ended.
    process: Option<OwnedFd>,
    outcome: String,
}

/// The latest load, as pages have it.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    scenario: String,
    running: bool,
    /// What became of it, in words.
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

    /// Starts a built-in scenario. Returns once it has been running for a moment, or has ended. `ended` is called at its
    /// end.
    pub(super) fn start(
        &self,
        scenario: &str,
        connections: Option<u32>,
        hold_s: Option<u32>,
        ended: impl Fn() + Send + 'static,
    ) -> Result<String, String> {
        // Pages name no files.
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
            // The load dies with the thread that started it, which therefore waits for it.
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
                // Nobody waits any more if it ran for long.
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

    /// Tells it to end, as Ctrl-C does.
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
        // This very program, even if its file was replaced since.
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

/// What became of it, in words; `Err`: it failed.
fn wait(child: &mut Child) -> Result<String, String> {
    let mut last = std::collections::VecDeque::new();
    if let Some(mut stderr) = child.stderr.take() {
        for line in BufReader::new((&mut stderr).take(WORDS_BYTES_MAX)).lines().map_while(Result::ok) {
            if last.len() == WORDS_LINES {
                last.pop_front();
            }
            last.push_back(line);
        }
        // The rest is read and dropped: it must not wait for room.
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
