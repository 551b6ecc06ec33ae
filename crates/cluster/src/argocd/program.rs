//! Runs programs for their output: bounded in time and size, without a terminal, and terminated when nobody waits for
//! them any more.

use std::{ffi::OsString, fmt, io, path::Path, process::Stdio, time::Duration};

use platform::TargetError;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
};

use crate::group::Group;

/// The maximum size of each output: a rendered chart has about 200 kB, so more than this cannot be an answer.
const OUTPUT_MAX: u64 = 32 << 20;

/// A program, and how to install it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) remedy: &'static str,
}

pub(super) const GIT: Program = Program { name: "git", remedy: "install git (Debian: apt-get install git)" };
pub(super) const HELM: Program =
    Program { name: "helm", remedy: "install Helm 3 (https://helm.sh/docs/intro/install)" };
pub(super) const CURL: Program =
    Program { name: "curl", remedy: "install curl, or download the file and name it" };

/// What to run.
#[derive(Debug, Default)]
pub(super) struct Call {
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(&'static str, OsString)>,
    pub(super) limit: Duration,
}

impl Call {
    pub(super) fn new(limit: Duration, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(OsString::from).collect();
        Self { arguments, environment: Vec::new(), limit }
    }

    pub(super) fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }
}

/// Why there is no output.
#[derive(Debug)]
pub(super) enum Failed {
    NotStarted(io::Error),
    TooLong(Duration),
    TooMuch,
    /// It exited with an error status and this output.
    Status(String),
}

impl Failed {
    /// What happened, and what to do if that is clear.
    pub(super) fn words(&self, program: Program) -> String {
        let Program { name, remedy } = program;
        match self {
            Self::NotStarted(error) if error.kind() == io::ErrorKind::NotFound => {
                format!("{name} is not on PATH; {remedy}")
            }
            Self::NotStarted(error) => format!("cannot start {name}: {error}"),
            Self::TooLong(limit) => format!("{name} gave no answer within {} s", limit.as_secs()),
            Self::TooMuch => format!("{name} wrote more than {} MiB", OUTPUT_MAX >> 20),
            Self::Status(said) if said.is_empty() => format!("{name} failed and did not say why"),
            Self::Status(said) => said.clone(),
        }
    }
}

/// Runs a program in `folder` and returns its standard output.
pub(super) async fn run(program: Program, folder: &Path, call: Call) -> Result<String, Failed> {
    let mut command = Command::new(program.name);
    command
        .args(&call.arguments)
        .current_dir(folder)
        .env("LC_ALL", "C")
        .envs(call.environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // In its own process group, so that Ctrl-C reaches only us, and we end the program in an orderly way.
        .process_group(0);
    let mut child = command.spawn().map_err(Failed::NotStarted)?;
    // git and helm have children.
    let mut group = Group::of(child.id());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let all = async {
        tokio::try_join!(read(stdout), read(stderr), async { child.wait().await.map_err(Read::Io) })
    };
    let (stdout, stderr, status) = match tokio::time::timeout(call.limit, all).await {
        Ok(Ok(all)) => all,
        Ok(Err(Read::TooMuch)) => return Err(Failed::TooMuch),
        Ok(Err(Read::Io(error))) => return Err(Failed::NotStarted(error)),
        Err(_) => return Err(Failed::TooLong(call.limit)),
    };
    group.ended();
    if !status.success() {
        return Err(Failed::Status(stderr.trim().to_owned()));
    }
    Ok(stdout)
}

enum Read {
    TooMuch,
    Io(io::Error),
}

async fn read(pipe: Option<impl AsyncRead + Unpin>) -> Result<String, Read> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(OUTPUT_MAX + 1).read_to_end(&mut bytes).await.map_err(Read::Io)?;
    }
    if bytes.len() as u64 > OUTPUT_MAX {
        return Err(Read::TooMuch);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Our error for a program's failure.
pub(super) fn error(program: Program, failed: &Failed, what: impl fmt::Display) -> TargetError {
    TargetError::Other { message: format!("{what}: {}", failed.words(program)) }
}

#[cfg(test)]
mod tests {

    use super::*;

    const SH: Program = Program { name: "sh", remedy: "" };

    fn shell(script: &str, limit: Duration) -> Result<String, Failed> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(SH, Path::new("/"), Call::new(limit, &["-c", script])))
    }

    #[test]
    fn output_and_failure_are_told_apart() {
        let minute = Duration::from_mins(1);
        assert_eq!(shell("echo yes; echo no >&2", minute).unwrap(), "yes\n");
        let failed = shell("echo no >&2; exit 3", minute).unwrap_err();
        assert_eq!(failed.words(SH), "no");
        assert_eq!(shell("exit 1", minute).unwrap_err().words(SH), "sh failed and did not say why");
        let none = Program { name: "/nowhere/none", remedy: "get it" };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let failed = runtime.block_on(run(none, Path::new("/"), Call::new(minute, &[]))).unwrap_err();
        assert_eq!(failed.words(none), "/nowhere/none is not on PATH; get it");
    }

    #[test]
    fn a_program_that_takes_too_long_is_ended_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        // The child process holds the pipes open: only its end closes them.
        let script = format!("sleep 1000 & echo $! > {}; wait", file.display());
        let failed = shell(&script, Duration::from_millis(500)).unwrap_err();
        assert!(matches!(failed, Failed::TooLong(_)), "{failed:?}");
        let pid = std::fs::read_to_string(&file).unwrap();
        let status = format!("/proc/{}/stat", pid.trim());
        let began = clock::now();
        let ended = || match std::fs::read_to_string(&status) {
            // A zombie has ended, too.
            Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')),
            Err(_) => true,
        };
        while !ended() {
            assert!(began.elapsed() < Duration::from_secs(20), "the child is left");
            std::thread::yield_now();
        }
    }
}
