//! One call of a program: run to its end, read line by line, ended when cancelled.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    fmt, io,
    io::{BufRead as _, BufReader, Read},
    ops::ControlFlow,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::shell::quoted;

/// How often a waiting caller can cancel.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// How long an interrupted program may take before it is killed. minikube cleans up after an interrupt.
const END: Duration = Duration::from_secs(20);
/// How long its pipes may stay open after its end. Its last output may still be on its way, but a child process, such
/// as a daemon that it started, would keep them open forever.
/// a daemon that it started, would keep them open for ever.
const DRAIN: Duration = Duration::from_secs(5);
/// A longer line is split: the list of profiles is one line.
const LINE_BYTES_MAX: u64 = 4 << 20;
/// Lines that wait for the reader; when the queue is full, the program waits too.
const LINES_MAX: usize = 256;
/// The number of last stderr lines that are kept.
const LAST_LINES: usize = 8;

/// A program with its arguments and environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environment: Vec<(&'static str, OsString)>,
}

impl Call {
    pub(crate) fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), arguments: Vec::new(), environment: Vec::new() }
    }

    pub(crate) fn args<I: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = I>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }
}

/// As typed in a shell.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.program.file_name().unwrap_or(self.program.as_os_str());
        f.write_str(&name.to_string_lossy())?;
        self.arguments.iter().try_for_each(|argument| write!(f, " {}", quoted(&argument.to_string_lossy())))
    }
}

/// What a running program reports to its caller.
#[derive(Debug)]
pub(crate) enum Heard<'a> {
    Out(&'a str),
    Err(&'a str),
    /// No output for a while.
    Waiting,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// The last lines of stderr.
    pub(crate) last_words: Vec<String>,
}

/// Why a program did not end normally, or never started.
#[derive(Debug)]
pub(crate) enum Broken {
    NotFound,
    Io(io::Error),
    /// It exceeded its time limit.
    Silent(Duration),
    /// The caller cancelled; the program was ended.
    Interrupted,
}

enum Pipe {
    Out(String),
    Err(String),
}

/// Runs `call` to its end. `hear` can cancel: the program is then interrupted, as by Ctrl-C, and killed after [`END`].
pub(crate) fn run(
    call: &Call,
    limit: Option<Duration>,
    hear: &mut dyn FnMut(Heard<'_>) -> ControlFlow<()>,
) -> Result<Ended, Broken> {
    watch(start(call, Stdio::null())?, limit, hear)
}

pub(crate) fn start(call: &Call, stdin: Stdio) -> Result<Child, Broken> {
    let mut command = Command::new(&call.program);
    command.args(&call.arguments).envs(call.environment.iter().map(|(name, value)| (*name, value)));
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Broken::NotFound,
        _ => Broken::Io(error),
    })
}

/// The part of [`run`] after the program has started.
pub(crate) fn watch(
    mut child: Child,
    limit: Option<Duration>,
    hear: &mut dyn FnMut(Heard<'_>) -> ControlFlow<()>,
) -> Result<Ended, Broken> {
    let began = clock::now();
    let outcome = follow(&mut child, &mut |heard| {
        if limit.is_some_and(|limit| began.elapsed() > limit) {
            return ControlFlow::Break(());
        }
        hear(heard)
    });
    if matches!(outcome, Ok(None)) || outcome.is_err() {
        end(&mut child).map_err(Broken::Io)?;
    }
    match outcome {
        Ok(Some(last_words)) => {
            let status = child.wait().map_err(Broken::Io)?;
            Ok(Ended { status, last_words })
        }
        Ok(None) => match limit.filter(|limit| began.elapsed() > *limit) {
            Some(limit) => Err(Broken::Silent(limit)),
            None => Err(Broken::Interrupted),
        },
        Err(error) => Err(Broken::Io(error)),
    }
}

/// The last stderr lines once both pipes are closed; `None`: cancelled.
fn follow(
    child: &mut Child,
    hear: &mut dyn FnMut(Heard<'_>) -> ControlFlow<()>,
) -> io::Result<Option<Vec<String>>> {
    let (sender, receiver) = mpsc::sync_channel(LINES_MAX);
    if let Some(out) = child.stdout.take() {
        read(out, sender.clone(), Pipe::Out)?;
    }
    if let Some(err) = child.stderr.take() {
        read(err, sender.clone(), Pipe::Err)?;
    }
    drop(sender);
    let mut last_words = VecDeque::new();
    let mut ended: Option<Instant> = None;
    loop {
        let flow = match receiver.recv_timeout(ASK_EVERY) {
            Ok(Pipe::Out(line)) => hear(Heard::Out(&line)),
            Ok(Pipe::Err(line)) => {
                let flow = hear(Heard::Err(&line));
                if !line.trim().is_empty() {
                    if last_words.len() == LAST_LINES {
                        last_words.pop_front();
                    }
                    last_words.push_back(line);
                }
                flow
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                if ended.is_none() && child.try_wait()?.is_some() {
                    ended = Some(clock::now());
                }
                if ended.is_some_and(|at| at.elapsed() > DRAIN) {
                    return Ok(Some(last_words.into()));
                }
                hear(Heard::Waiting)
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(Some(last_words.into())),
        };
        if flow.is_break() {
            return Ok(None);
        }
    }
}

/// Reads lines on a separate thread, which ends with the pipe.
fn read(
    pipe: impl Read + Send + 'static,
    lines: mpsc::SyncSender<Pipe>,
    of: fn(String) -> Pipe,
) -> io::Result<()> {
    thread::Builder::new().name("minikube".to_owned()).spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut bytes = Vec::new();
        // A line that is too long continues as the next one.
        while matches!((&mut pipe).take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes), Ok(count) if count > 0)
        {
            let line = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned();
            bytes.clear();
            if lines.send(of(line)).is_err() {
                // Nobody reads, but the writer must not block on that.
                let _ = io::copy(&mut pipe, &mut io::sink());
                break;
            }
        }
    })?;
    Ok(())
}

/// Ends a child process that has not been waited for, so that its pid is still its own.
fn end(child: &mut Child) -> io::Result<()> {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may just have ended, which is fine.
        let _ = kill_process(pid, Signal::INT);
    }
    let deadline = clock::now() + END;
    while child.try_wait()?.is_none() {
        if clock::now() >= deadline {
            child.kill()?;
            child.wait()?;
            break;
        }
        pause();
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the standard library cannot wait for a child with a deadline")]
pub(crate) fn pause() {
    thread::sleep(Duration::from_millis(20));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tests may be run with SIGINT ignored, and a shell that inherits that never hears of it.
    fn shell(script: &str) -> Call {
        Call::new("/usr/bin/env").args(["--default-signal=INT", "/bin/sh", "-c", script])
    }

    #[test]
    fn a_call_is_written_as_it_is_typed() {
        let call =
            Call::new("/usr/bin/minikube").args(["start", "--extra-config=kubelet.v=4", "a b", "it's", ""]);
        assert_eq!(call.to_string(), r"minikube start --extra-config=kubelet.v=4 'a b' 'it'\''s' ''");
    }

    #[test]
    fn lines_are_heard_as_they_come_and_the_last_of_stderr_kept() {
        let mut heard = Vec::new();
        let call = shell("echo one; for n in 1 2 3 4 5 6 7 8 9 10; do echo $n >&2; done; echo >&2; exit 7");
        let ended = run(&call, None, &mut |said| {
            if let Heard::Out(line) = said {
                heard.push(line.to_owned());
            }
            ControlFlow::Continue(())
        });
        let ended = ended.unwrap();
        assert_eq!((ended.status.code(), heard), (Some(7), vec!["one".to_owned()]));
        assert_eq!(ended.last_words, ["3", "4", "5", "6", "7", "8", "9", "10"]);
    }

    #[test]
    fn a_cancelled_program_is_interrupted_as_by_ctrl_c() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let script = format!(
            "trap 'echo interrupted >{}; exit 1' INT; echo up; while :; do sleep 0.05; done",
            file.path().display()
        );
        let outcome = run(&shell(&script), None, &mut |said| match said {
            Heard::Out("up") => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        assert!(matches!(outcome, Err(Broken::Interrupted)), "{outcome:?}");
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "interrupted\n");
    }

    #[test]
    fn a_program_that_does_not_answer_is_not_waited_for() {
        let limit = Duration::from_millis(200);
        let outcome = run(&shell("exec sleep 600"), Some(limit), &mut |_| ControlFlow::Continue(()));
        assert!(matches!(outcome, Err(Broken::Silent(at)) if at == limit), "{outcome:?}");
        let nowhere = run(&Call::new("/nowhere/minikube"), None, &mut |_| ControlFlow::Continue(()));
        assert!(matches!(nowhere, Err(Broken::NotFound)), "{nowhere:?}");
    }

    #[test]
    fn a_daemon_that_keeps_the_pipes_does_not_hold_up_its_starter() {
        let ended = run(&shell("sleep 30 & echo started"), None, &mut |_| ControlFlow::Continue(()));
        assert!(ended.unwrap().status.success());
    }
}
