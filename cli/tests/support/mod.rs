//! A separate `playctl` for every test: its own state and runtime folders and platform names, always taken down at the
//! end.

#![allow(dead_code, reason = "each test binary uses its part of this module")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, poll};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_playctl");

/// How long an answer over the network may take. Even on a busy machine, only a hanging server takes this long.
pub(crate) const ANSWER: Duration = Duration::from_secs(30);

/// How long a load may have to wait for an event.
const EVENT: Duration = Duration::from_mins(5);

/// Quick settings: a drain takes three seconds at most, and the platform has one node.
pub(crate) const QUICK: [&str; 8] = [
    "--nodes",
    "1",
    "--set",
    "tcp.env.SIGTERM_TIMEOUT=1",
    "--set",
    "tcp.env.DRAIN_SPREAD=1",
    "--set",
    "tcp.terminationGracePeriodSeconds=20",
];

/// A place for platforms, and a name for one.
pub(crate) struct Lab {
    home: TempDir,
    pub(crate) platform: String,
}

impl Lab {
    /// `name` must differ between the tests of the workspace.
    pub(crate) fn new(name: &str) -> Self {
        Self::named(&format!("{name}-{}", std::process::id()))
    }

    /// The same for a platform with a particular name.
    pub(crate) fn named(name: &str) -> Self {
        let home = tempfile::Builder::new().prefix("pc").tempdir().expect("a temporary folder");
        Self { home, platform: name.to_owned() }
    }

    /// The folder of its platforms' state.
    pub(crate) fn state(&self) -> PathBuf {
        self.home.path().join("state")
    }

    pub(crate) fn state_of_platform(&self) -> PathBuf {
        self.state().join("playctl").join(&self.platform)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command
            .env("XDG_STATE_HOME", self.home.path().join("state"))
            .env("XDG_RUNTIME_DIR", self.home.path())
            .env("PLAYCTL_PLATFORM", &self.platform)
            .env_remove("NO_COLOR")
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("playctl starts")
    }

    /// Runs a command, which must exit with 0.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}\n{}", both(&output));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let mut arguments = arguments.to_vec();
        arguments.extend(["--output", "json"]);
        serde_json::from_str(&self.ok(&arguments)).expect("JSON")
    }

    pub(crate) fn spawn(&self, arguments: &[&str]) -> Running {
        let child = self
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("playctl starts");
        Running::of(child)
    }

    pub(crate) fn up(&self, more: &[&str]) {
        let mut arguments = vec!["up"];
        arguments.extend(QUICK);
        arguments.extend(more);
        self.ok(&arguments);
    }

    /// A drain and a Kafka outage under load, on a platform of two replicas: all expectations are met.
    pub(crate) fn survives_faults(&self) {
        let file = self.home().join("faults.yaml");
        fs::write(&file, include_str!("faults.yaml")).expect("written");
        eventually(Duration::from_mins(1), || if self.ready() == 2 { Ok(()) } else { Err(self.replicas()) })
            .expect("two are ready");
        let seen = self.ok(&["load", file.to_str().expect("UTF-8")]);
        for action in ["drain tcp/fullest", "stop kafka for 5s", "start kafka"] {
            assert!(seen.contains(action), "{action}: {seen}");
        }
        assert!(seen.contains("answered with an error") && !seen.contains('✗'), "{seen}");
    }

    pub(crate) fn status(&self) -> Value {
        self.json(&["status"])
    }

    pub(crate) fn endpoint(&self) -> SocketAddr {
        let status = self.status();
        status["services"][0]["endpoint"].as_str().expect("an endpoint").parse().expect("an address")
    }

    /// The replicas of `tcp` with their phases, in the order of `status`.
    pub(crate) fn replicas(&self) -> Vec<(String, String)> {
        let status = self.status();
        let replicas = status["services"][0]["replicas"].as_array().expect("replicas").clone();
        let text = |value: &Value| value.as_str().expect("a string").to_owned();
        replicas.iter().map(|replica| (text(&replica["name"]), text(&replica["phase"]))).collect()
    }

    pub(crate) fn ready(&self) -> usize {
        self.replicas().iter().filter(|(_, phase)| phase == "ready").count()
    }

    /// Processes of this lab's platforms: those with its state folder in their environment.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let marker = self.home.path().as_os_str().as_encoded_bytes().to_vec();
        let own = std::process::id();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").expect("/proc").flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
            let carries = |bytes: &[u8]| bytes.windows(marker.len()).any(|window| window == marker);
            // A zombie's environment is empty, so it is not counted: it holds nothing any more.
            if pid != own && (carries(&read("environ")) || carries(&read("cmdline"))) {
                found.push(pid);
            }
        }
        found
    }

    pub(crate) fn wait_for_no_process(&self, within: Duration) {
        let left = eventually(within, || {
            let left = self.processes();
            if left.is_empty() { Ok(()) } else { Err(left) }
        });
        assert!(left.is_ok(), "processes left: {left:?}");
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.home.path().to_owned()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let output = self.run(&["down"]);
        if !std::thread::panicking() {
            assert_eq!(output.status.code(), Some(0), "down: {}", both(&output));
            self.wait_for_no_process(Duration::from_mins(1));
        }
    }
}

/// A `playctl` in the background; killed when dropped.
pub(crate) struct Running {
    child: Option<Child>,
    /// The lines of stdout that were already read.
    seen: Vec<u8>,
}

impl Running {
    pub(crate) fn of(child: Child) -> Self {
        Self { child: Some(child), seen: Vec::new() }
    }

    /// Reads its stdout until an event matches, including events that were already read.
    #[expect(clippy::unbuffered_bytes, reason = "a buffer would take what comes after the line")]
    pub(crate) fn until(mut self, what: &str, is_right: impl Fn(&Value) -> bool) -> Self {
        let is_it = |line: &[u8]| serde_json::from_slice(line).is_ok_and(|event| is_right(&event));
        if self.seen.split(|byte| *byte == b'\n').any(is_it) {
            return self;
        }
        let out = self.child.as_mut().and_then(|child| child.stdout.as_mut()).expect("piped");
        let deadline = clock::now() + EVENT;
        loop {
            let left = deadline.saturating_duration_since(clock::now()).try_into().expect("some minutes");
            let readable = poll(&mut [PollFd::new(&*out, PollFlags::IN)], Some(&left)).expect("a pipe");
            assert!(readable > 0, "no {what} within {EVENT:?}: {}", lossy(&self.seen));
            let bytes = out.by_ref().bytes().map(|byte| byte.expect("a pipe"));
            let line: Vec<u8> = bytes.take_while(|byte| *byte != b'\n').collect();
            self.seen.extend_from_slice(&line);
            self.seen.push(b'\n');
            assert!(!line.is_empty(), "it ended without {what}: {}", lossy(&self.seen));
            if is_it(&line) {
                break;
            }
        }
        self
    }

    /// The same for an event of a type.
    pub(crate) fn until_type(self, kind: &str) -> Self {
        self.until(kind, |event| event["type"] == kind)
    }

    /// Waits for its end, without reading its output; returns its exit code.
    pub(crate) fn code(mut self, within: Duration) -> Option<i32> {
        let child = self.child.as_mut().expect("not finished");
        let status = eventually(within, || child.try_wait().expect("can be waited for").ok_or(()));
        status.expect("ends by itself").code()
    }

    pub(crate) fn pid(&self) -> rustix::process::Pid {
        let child = self.child.as_ref().expect("not finished");
        rustix::process::Pid::from_child(child)
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("the process runs");
    }

    /// Waits until it has printed a line, which is discarded.
    #[expect(clippy::unbuffered_bytes, reason = "a buffer would take what comes after the line")]
    pub(crate) fn after_first_line(mut self) -> Self {
        let out = self.child.as_mut().and_then(|child| child.stdout.as_mut()).expect("piped");
        let line = out.bytes().map(|byte| byte.expect("a pipe")).take_while(|byte| *byte != b'\n').count();
        assert!(line > 0, "it ended without a line");
        self
    }

    /// Closes our end of its stdout after a line and waits for its end; returns its exit code.
    pub(crate) fn finish_unread(mut self, within: Duration) -> Option<i32> {
        let mut child = self.child.take().expect("not finished");
        let mut first_line = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        out.read_line(&mut first_line).expect("a line");
        drop(out);
        let status = eventually(within, || child.try_wait().expect("can be waited for").ok_or(()));
        if status.is_err() {
            child.kill().expect("can be killed");
            child.wait().expect("ends");
        }
        status.expect("ends by itself").code()
    }

    /// Waits for its end; panics after `within`.
    pub(crate) fn finish(mut self, within: Duration) -> Output {
        let mut child = self.child.take().expect("not finished");
        // Read the pipes while waiting, or a talkative child would never end.
        let mut out = child.stdout.take().expect("piped");
        let mut err = child.stderr.take().expect("piped");
        let stdout = std::thread::spawn(move || read_all(&mut out));
        let stderr = std::thread::spawn(move || read_all(&mut err));
        let status = eventually(within, || child.try_wait().expect("can be waited for").ok_or(()));
        if status.is_err() {
            child.kill().expect("can be killed");
            child.wait().expect("ends");
        }
        let output = |thread: std::thread::JoinHandle<Vec<u8>>| thread.join().expect("reads");
        let (rest, stderr) = (output(stdout), output(stderr));
        let stdout = [std::mem::take(&mut self.seen), rest].concat();
        let Ok(status) = status else {
            panic!("did not end within {within:?}\n{}\n{}", lossy(&stdout), lossy(&stderr));
        };
        Output { status, stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn read_all(from: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).expect("a pipe");
    bytes
}

/// Retries until it succeeds or `within` is over; then returns the last failure.
pub(crate) fn eventually<T, E>(within: Duration, mut attempt: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let deadline = clock::now() + within;
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if clock::now() >= deadline => return Err(error),
            Err(_) => pause(),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "between two looks at a condition that nothing announces")]
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

/// Sends one `msg` over its own connection; returns the answer.
pub(crate) fn echo(address: SocketAddr, text: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all(format!("msg:{text}").as_bytes())?;
    let mut answer = [0; 256];
    let n = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..n]).into_owned())
}

pub(crate) fn both(output: &Output) -> String {
    format!("status {:?}\n{}\n{}", output.status.code(), lossy(&output.stdout), lossy(&output.stderr))
}

pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
