//! Starting a supervisor.

use std::{
    fs::{self, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::{fs::OpenOptionsExt as _, net::UnixStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use platform::TargetError;

use super::LocalTarget;
use crate::{
    control::Connection,
    leftovers,
    paths::{open_regular, private_directory},
};

/// How long a supervisor whose client hung up has to take everything down.
const END_DEADLINE: Duration = Duration::from_secs(15);
/// How much of a failed supervisor's log to read, and how many of its last lines to show.
const LOG_TAIL: u64 = 8 * 1024;
const LOG_LINES: usize = 10;

/// A supervisor that this process started.
#[derive(Debug)]
pub(super) struct Supervisor {
    child: Child,
}

impl Supervisor {
    /// Waits for its end; it first takes down what it has.
    pub(super) fn wait(&mut self) {
        let started = clock::now();
        while !matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
            if started.elapsed() >= END_DEADLINE {
                // Its children die with it.
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            leftovers::pause();
        }
    }
}

impl LocalTarget {
    /// Starts a supervisor; the connection is its standard input.
    pub(super) fn launch(&self) -> Result<(Connection, Supervisor), TargetError> {
        let bring_up = |error: &dyn std::fmt::Display| TargetError::BringUp { message: error.to_string() };
        self.paths
            .prepare()
            .and_then(|()| private_directory(&self.own.state))
            .map_err(|error| bring_up(&error))?;
        let program = std::env::current_exe().map_err(|error| bring_up(&error))?;
        let start = || -> std::io::Result<(UnixStream, Child)> {
            let (ours, theirs) = UnixStream::pair()?;
            let mut options = OpenOptions::new();
            let options = options.append(true).create(true).mode(0o600);
            let log = open_regular(options, &self.own.supervisor_log())?;
            let child = Command::new(&program)
                .args(["supervisor", "--name", &self.name])
                .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
                .stdout(log.try_clone()?)
                .stderr(log)
                .spawn()?;
            Ok((ours, child))
        };
        let (ours, child) = start()
            .map_err(|error| bring_up(&format!("cannot start {} supervisor: {error}", program.display())))?;
        Ok((Connection::new(ours), Supervisor { child }))
    }

    /// An error of a bring-up with the last lines of the supervisor's log, if it left one; the log is then removed.
    pub(super) fn explained(&self, error: TargetError) -> TargetError {
        let log = self.own.supervisor_log();
        let Ok(mut file) = open_regular(OpenOptions::new().read(true), &log) else {
            return error;
        };
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        let mut bytes = Vec::new();
        let read = file
            .seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))
            .and_then(|_| file.read_to_end(&mut bytes));
        if !self.is_running() {
            // It ended too early to do that itself.
            drop(fs::remove_dir_all(&self.own.state));
        }
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        if read.is_err() || lines.is_empty() {
            return error;
        }
        let last = &lines[lines.len().saturating_sub(LOG_LINES)..];
        TargetError::BringUp {
            message: format!("{error}; the supervisor's last lines:\n  {}", last.join("\n  ")),
        }
    }
}
