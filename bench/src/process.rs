//! Child processes that end with this one.

use std::{
    any::Any,
    ffi::OsStr,
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use local::child::PARENT_VARIABLE;
use rustix::process::{Pid, Signal};

use crate::measure::wait;

/// How long a contestant may take to start serving.
const START_WITHIN: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);

/// A running program. Ends with SIGKILL when dropped: a contestant's shutdown is not measured.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    /// Must live as long as the process does.
    _lent: Option<Box<dyn Any>>,
}

/// A process to start.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    command: Command,
    name: &'a str,
    dialogue: bool,
    /// Its standard input, and something that must live as long as the process does.
    lent: Option<(OwnedFd, Box<dyn Any>)>,
}

impl<'a> Start<'a> {
    /// A service of `playctl`, or this program; `name` names its log file. Both obey the variable: they ask the kernel
    /// to end them with us, however we end.
    pub(crate) fn program(name: &'a str, program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        command.env(PARENT_VARIABLE, std::process::id().to_string());
        Self { command, name, dialogue: false, lent: None }
    }

    /// Any other command of `playctl`; it too ends with us.
    pub(crate) fn contained(name: &'a str, playctl: &Path) -> Self {
        Self::program(name, playctl).args(["run-child", "--"]).args([playctl])
    }

    /// One of our own reference programs.
    pub(crate) fn reference(name: &'a str, subcommand: &str) -> Result<Self> {
        Ok(Self::program(name, this_program()?).args(["reference", subcommand]))
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Keeps pipes to its standard input and output, for [`Process::talk`] and [`Process::output`].
    pub(crate) fn with_dialogue(mut self) -> Self {
        self.dialogue = true;
        self
    }

    pub(crate) fn lent(mut self, stdin: OwnedFd, kept: Box<dyn Any>) -> Self {
        self.lent = Some((stdin, kept));
        self
    }

    /// Starts it; it may not serve yet.
    pub(crate) fn spawn(mut self) -> Result<Process> {
        let log = scratch()?.join(format!("{}.log", self.name));
        let file = File::create(&log).with_context(|| log.display().to_string())?;
        let (input, kept) = match self.lent {
            Some((stdin, kept)) => (stdin.into(), Some(kept)),
            None if self.dialogue => (Stdio::piped(), None),
            None => (Stdio::null(), None),
        };
        let output = if self.dialogue { Stdio::piped() } else { file.try_clone()?.into() };
        let child = (self.command.stdin(input).stdout(output).stderr(file))
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))?;
        Ok(Process { child, log, _lent: kept })
    }

    /// Starts it and waits until it accepts connections at `address`.
    pub(crate) fn serving(self, address: SocketAddr) -> Result<Process> {
        self.until(|| TcpStream::connect(address).is_ok(), &format!("accepts connections at {address}"))
    }

    /// Starts it and waits until `GET path` at `address` is answered with 200.
    pub(crate) fn answering(self, address: SocketAddr, path: &str) -> Result<Process> {
        self.until(
            || http_get(address, path).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")),
            &format!("answers http://{address}{path} with 200"),
        )
    }

    fn until(self, ready: impl Fn() -> bool, what: &str) -> Result<Process> {
        let mut process = self.spawn()?;
        let deadline = clock::now() + START_WITHIN;
        while !ready() {
            if let Some(status) = process.child.try_wait()? {
                bail!("ended at once ({status}): {}", process.last_words());
            }
            if clock::now() > deadline {
                bail!("not within {START_WITHIN:?}: {what}: {}", process.last_words());
            }
            wait(POLL);
        }
        Ok(process)
    }
}

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Takes the pipes to a program started with [`Start::with_dialogue`].
    pub(crate) fn talk(&mut self) -> Result<Dialogue> {
        let input = self.child.stdin.take().context("no pipe to the program's input")?;
        let output = self.child.stdout.take().context("no pipe from the program's output")?;
        Ok(Dialogue { input, output: BufReader::new(output) })
    }

    /// Waits for a program started with [`Start::with_dialogue`] to end and returns what it printed.
    pub(crate) fn output(mut self) -> Result<String> {
        let mut text = String::new();
        let mut output = self.child.stdout.take().context("no pipe from the program's output")?;
        output.read_to_string(&mut text)?;
        let status = self.child.wait()?;
        if !status.success() {
            bail!("{status}: {}", self.last_words());
        }
        Ok(text)
    }

    /// Asks it to end (SIGTERM).
    pub(crate) fn ask_to_end(&self) -> Result<()> {
        Ok(rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM)?)
    }

    /// Waits for it to end, which must be orderly.
    pub(crate) fn ended(mut self, within: Duration) -> Result<()> {
        let deadline = clock::now() + within;
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("{status}: {}", self.last_words()),
                None if clock::now() > deadline => bail!("did not end within {within:?}"),
                None => wait(POLL),
            }
        }
    }

    /// The end of its log, for error messages.
    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        format!("{} (all of it: {})", lines[lines.len().saturating_sub(5)..].join(" | "), self.log.display())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Lines to a program and lines from it.
#[derive(Debug)]
pub(crate) struct Dialogue {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Dialogue {
    pub(crate) fn ask(&mut self, line: &str) -> Result<String> {
        writeln!(self.input, "{line}")?;
        let mut answer = String::new();
        if self.output.read_line(&mut answer)? == 0 {
            bail!("the program ended without an answer to {line:?}");
        }
        Ok(answer.trim_end().to_owned())
    }
}

/// A whole HTTP response, from a server that closes after it.
pub(crate) fn http_get(address: SocketAddr, path: &str) -> Result<String> {
    let timeout = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// This program's own file.
pub(crate) fn this_program() -> Result<PathBuf> {
    std::env::current_exe().context("cannot find this program's own file")
}

/// The folder for logs and configurations of contestants: `target/bench`.
pub(crate) fn scratch() -> Result<PathBuf> {
    let program = this_program()?;
    let target = program.ancestors().nth(2).unwrap_or(Path::new("."));
    let scratch = target.join("bench");
    fs::create_dir_all(&scratch).with_context(|| scratch.display().to_string())?;
    Ok(scratch)
}
