//! Worker processes: the same worker, with its specification, commands and reports as JSON lines.
//!
//! The coordinator writes the [`Spec`] as the first line of the worker's input, then one [`Command`] per line; the
//! worker writes its [`Report`]s to its output. The end of its input means that the coordinator is gone, and ends
//! the worker at once.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::process::CommandExt as _,
    process::{Child, ChildStdin, Stdio},
    sync::{Arc, mpsc},
    thread,
};

use parking_lot::Mutex;
use serde::Serialize;

use crate::{
    crew::REPORTS_QUEUED,
    error::LoadError,
    limits,
    messages::{Command, Report, Spec},
    run::WorkerCommand,
    worker::Commands,
    worker_thread::spawn_worker,
};

/// The coordinator's handle to a worker process. Dropping it closes the worker's input, which ends the worker.
#[derive(Debug)]
pub(crate) struct Remote {
    child: Child,
    reader: Option<thread::JoinHandle<()>>,
    commander: Commander,
}

/// Sends commands to a worker process, until its input is closed.
#[derive(Debug, Clone)]
pub(crate) struct Commander(Arc<Mutex<Option<ChildStdin>>>);

impl Commander {
    pub(crate) fn tell(&self, command: &Command) {
        if let Some(input) = self.0.lock().as_mut() {
            // The end of its output shows that a worker is gone.
            let _ = write_line(input, command);
        }
    }
}

impl Remote {
    /// Starts the process of worker `spec.worker`, whose reports go to `reports`.
    pub(crate) fn start(
        command: &WorkerCommand,
        spec: &Spec,
        reports: mpsc::SyncSender<(u32, Report)>,
    ) -> io::Result<Self> {
        let mut child = std::process::Command::new(&command.program)
            .args(&command.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // The coordinator handles Ctrl-C on the terminal; it ends its workers cleanly.
            .process_group(0)
            .spawn()?;
        let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("the worker process has no pipes"));
        };
        match write_line(&mut input, spec) {
            // It has already ended, which its reader reports.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            result => result?,
        }
        let worker = spec.worker;
        let reader = thread::Builder::new()
            .name(format!("load-reader-{worker}"))
            .spawn(move || read_reports(worker, output, &reports))?;
        let commander = Commander(Arc::new(Mutex::new(Some(input))));
        Ok(Self { child, reader: Some(reader), commander })
    }

    pub(crate) fn commander(&self) -> Commander {
        self.commander.clone()
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        *self.commander.0.lock() = None;
        // Nothing that it could still say is worth a wait. This fails only if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn read_reports(worker: u32, output: impl io::Read, reports: &mpsc::SyncSender<(u32, Report)>) {
    let mut done = false;
    for line in BufReader::new(output).lines() {
        let report = line.map_err(|error| error.to_string()).and_then(|line| {
            serde_json::from_str::<Report>(&line).map_err(|error| format!("unreadable report: {error}"))
        });
        let report = report.unwrap_or_else(Report::Failed);
        let is_last = matches!(report, Report::Done { .. } | Report::Failed(_));
        done |= is_last;
        if reports.send((worker, report)).is_err() || is_last {
            break;
        }
    }
    if !done {
        let _ = reports.send((worker, Report::Failed("the process ended early".to_owned())));
    }
}

/// Runs one worker process: see the module's documentation. Returns when its work is done.
pub fn serve_worker(
    mut input: impl BufRead + Send + 'static,
    mut output: impl Write,
) -> Result<(), LoadError> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    let spec: Spec = serde_json::from_str(&line)
        .map_err(|error| LoadError::Protocol(format!("the specification cannot be read: {error}")))?;
    if spec.workers == 0 || spec.worker >= spec.workers || spec.targets.is_empty() || spec.tick_ms == 0 {
        return Err(LoadError::Protocol("the specification is invalid".to_owned()));
    }
    limits::raise_open_files();
    let commands = Arc::new(Commands::new()?);
    let (reports, received) = mpsc::sync_channel(REPORTS_QUEUED);
    let worker = spawn_worker(spec, Arc::clone(&commands), reports)?;
    // Not joined: it waits for input that may never come, and ends with the process.
    thread::Builder::new().name("load-commands".to_owned()).spawn(move || obey(input, &commands))?;
    for (_, report) in received {
        write_line(&mut output, &report)?;
    }
    // It has nothing more to say: its reports have ended.
    let _ = worker.join();
    Ok(())
}

fn obey(input: impl BufRead, commands: &Commands) {
    for line in input.lines() {
        let Ok(line) = line else { break };
        // A command of another version: an unknown one is not fatal while the load is running.
        if let Ok(command) = serde_json::from_str(&line) {
            commands.obey(command);
        }
    }
    commands.obey(Command::StopAtOnce);
}

fn write_line(output: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}
