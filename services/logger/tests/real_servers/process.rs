//! A logger in a separate process.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

/// The example `logger`, which cargo builds together with the tests.
fn program() -> PathBuf {
    let mut path = std::env::current_exe().expect("a test has a path");
    path.pop();
    path.pop();
    path.join("examples/logger")
}

/// Killed when dropped.
pub(crate) struct Logger {
    child: Child,
    lines: mpsc::Receiver<String>,
    reader: Option<JoinHandle<()>>,
}

impl Logger {
    pub(crate) fn start(variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(program())
            .envs(variables.iter().copied())
            .env("ADMIN_HOST", "127.0.0.1")
            .env("ADMIN_PORT", "0")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the example `logger` starts");
        let (sender, lines) = mpsc::channel();
        let stderr = child.stderr.take().expect("piped");
        let reader = std::thread::spawn(move || read(stderr, &sender));
        Self { child, lines, reader: Some(reader) }
    }

    /// Waits for the first log line with this text; panics if there is none in time. Returns the log until then.
    #[track_caller]
    pub(crate) fn wait_for_line(&self, text: &str, within: Duration) -> String {
        let deadline = clock::now() + within;
        let mut seen = String::new();
        loop {
            let left = deadline.saturating_duration_since(clock::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no line with {text:?} within {within:?}:\n{seen}");
            };
            seen.push_str(&line);
            seen.push('\n');
            if line.contains(text) {
                return seen;
            }
        }
    }

    /// Its peak memory so far, in bytes (`VmHWM`).
    pub(crate) fn memory_peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("proc(5)");
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("proc(5)");
        kibibytes * 1024
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        self.child.wait().expect("a child can be waited for");
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader ends with the pipe");
        }
    }
}

impl Drop for Logger {
    fn drop(&mut self) {
        self.end();
    }
}

fn read(stderr: ChildStderr, lines: &mpsc::Sender<String>) {
    for line in BufReader::new(stderr).lines() {
        // The receiver may be gone; the pipe is still emptied.
        let _ = lines.send(line.expect("UTF-8"));
    }
}
