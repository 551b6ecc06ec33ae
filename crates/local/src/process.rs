//! Processes that the supervisor starts: all from one thread, ended by pidfd.
//!
//! The parent-death signal of a child fires when the *thread* that forked it ends, so all are started from one
//! thread that lives as long as the supervisor. A pidfd always names the same process, while a pid may be
//! reused once its process is gone.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, mpsc},
    thread,
};

use controller::Exit;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;

/// A process to start.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// The whole environment.
    pub(crate) environment: BTreeMap<OsString, OsString>,
    /// Otherwise nothing can be read.
    pub(crate) stdin: Option<OwnedFd>,
}

/// Starts processes, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Spawner {
    jobs: mpsc::Sender<(Start, mpsc::SyncSender<io::Result<Child>>)>,
}

impl Spawner {
    pub(crate) fn new() -> io::Result<Self> {
        let (jobs, incoming) = mpsc::channel::<(Start, mpsc::SyncSender<io::Result<Child>>)>();
        thread::Builder::new().name("spawner".into()).spawn(move || {
            for (start, reply) in incoming {
                // The caller waits for the answer.
                let _ = reply.send(spawn(start));
            }
        })?;
        Ok(Self { jobs })
    }

    /// Starts a process. Blocks for the duration of fork and exec, about a millisecond.
    pub(crate) fn start(&self, start: Start) -> io::Result<Started> {
        let (reply, answer) = mpsc::sync_channel(1);
        let gone = || io::Error::other("the thread that starts processes has ended");
        self.jobs.send((start, reply)).map_err(|_| gone())?;
        let mut child = answer.recv().map_err(|_| gone())??;
        let stdout = child.stdout.take().map(OwnedFd::from);
        let stderr = child.stderr.take().map(OwnedFd::from);
        let pid = child.id();
        let opened = pidfd_open(Pid::from_child(&child), PidfdFlags::NONBLOCK);
        match opened {
            Ok(pidfd) => {
                let process = Process { pid, pidfd: Arc::new(pidfd) };
                Ok(Started {
                    ended: Ended { child, pidfd: Arc::clone(&process.pidfd) },
                    process,
                    stdout,
                    stderr,
                })
            }
            Err(error) => {
                // Nobody could end it otherwise. It was not reaped yet, so the PID is still its own.
                child.kill()?;
                child.wait()?;
                Err(error.into())
            }
        }
    }
}

fn spawn(start: Start) -> io::Result<Child> {
    use std::os::unix::process::CommandExt as _;

    Command::new(start.program)
        // The name shown in process lists.
        .arg0("playctl")
        .args(start.arguments)
        .env_clear()
        .envs(start.environment)
        .stdin(start.stdin.map_or_else(Stdio::null, Stdio::from))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// A process that was just started.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) process: Process,
    pub(crate) ended: Ended,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
}

/// A handle on a process, to end it.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pid: u32,
    pidfd: Arc<OwnedFd>,
}

impl Process {
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Asks it to end after its last connection, as HAProxy supports.
    pub(crate) fn stop_softly(&self) {
        self.signal(Signal::USR1);
    }

    /// Asks it to reload its configuration.
    pub(crate) fn reload(&self) {
        self.signal(Signal::HUP);
    }

    /// Kills it.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        if let Err(error) = pidfd_send_signal(self.pidfd.as_fd(), signal)
            && error != rustix::io::Errno::SRCH
        {
            tracing::error!(pid = self.pid, ?signal, %error, "cannot signal a process");
        }
    }
}

/// The end of a process, to wait for.
#[derive(Debug)]
pub(crate) struct Ended {
    child: Child,
    pidfd: Arc<OwnedFd>,
}

impl Ended {
    pub(crate) async fn wait(mut self) -> io::Result<ExitStatus> {
        // A pidfd becomes readable when its process ends.
        #[expect(
            deprecated,
            reason = "its successor is unsafe; an OwnedFd stays what it is while it is registered"
        )]
        let pidfd = AsyncFd::with_interest(self.pidfd, tokio::io::Interest::READABLE)?;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            pidfd.readable().await?.clear_ready();
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
        }
    }
}

/// How a process ended.
pub(crate) fn exit(status: ExitStatus) -> Exit {
    use std::os::unix::process::ExitStatusExt as _;

    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Lost("it has neither an exit code nor a signal".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Start {
        Start {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())]),
            stdin: None,
        }
    }

    #[tokio::test]
    async fn a_process_starts_with_only_its_environment_and_is_reaped() {
        use std::io::Read as _;

        let spawner = Spawner::new().unwrap();
        let mut start = shell("echo \"$A-$HOME\"; exit 7");
        start.environment.insert("A".into(), "b".into());
        let started = spawner.start(start).unwrap();
        let status = started.ended.wait().await.unwrap();
        assert_eq!(exit(status), Exit::Code(7));
        let mut output = String::new();
        std::fs::File::from(started.stdout.unwrap()).read_to_string(&mut output).unwrap();
        assert_eq!(output, "b-\n");
    }

    #[tokio::test]
    async fn killing_an_ended_process_harms_no_other() {
        let spawner = Spawner::new().unwrap();
        let started = spawner.start(shell("sleep 60")).unwrap();
        started.process.kill();
        assert_eq!(exit(started.ended.wait().await.unwrap()), Exit::Signal(9));
        started.process.kill();
        started.process.terminate();
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let spawner = Spawner::new().unwrap();
        let start = Start { program: "/no/such/program".into(), ..shell("") };
        assert_eq!(spawner.start(start).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
