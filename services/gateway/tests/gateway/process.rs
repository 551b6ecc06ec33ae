//! A gateway in a separate process, with listeners that its supervisor, the test, keeps.
//!
//! The process is a second instance of this test program that runs only the test in this file, which learns from its
//! environment that it is the gateway.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use gateway::Settings;
use platform::values::Protocol;
use rustix::process::{Pid, Signal, kill_process};
use service::Shutdown;
use service::handover;
use service::settings::Env;

use crate::support::{EndpointsFile, Replica, assert_echo, connect, endpoint, wait_until};

/// Set in the environment of the gateway's process only.
const MARKER: &str = "GATEWAY_TEST_PROCESS";

#[test]
fn a_process_serves_and_ends_on_a_signal() {
    if std::env::var_os(MARKER).is_some() {
        let settings = Settings::from_env(&Env::of_process()).unwrap();
        return gateway::run(settings, Shutdown::on_signals().unwrap()).unwrap();
    }
    let replica = Replica::echo();
    let file = EndpointsFile::new(&[endpoint("tcp-0", replica.address)]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut process = Process::start(&[listener], &file);
    assert_echo(&connect(address), "served");
    process.signal(Signal::TERM);
    process.assert_ends_well();
}

#[test]
fn a_process_without_endpoints_is_not_ready_and_ends_on_a_signal() {
    let file = EndpointsFile::new(&[]);
    file.replace_by_fifo();
    let admin = fixtures::Port::free();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut process = Process::spawn(
        &file,
        &[("ADMIN_HOST", "127.0.0.1"), ("ADMIN_PORT", &admin.number().to_string())],
        |supervisor| handover::send(supervisor, Protocol::Tcp, &[listener]),
    );
    wait_until("it says why it is not ready", || {
        let Ok(mut stream) = TcpStream::connect(admin.address()) else { return false };
        let mut answer = String::new();
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        stream.read_to_string(&mut answer).unwrap();
        answer.starts_with("HTTP/1.1 503") && answer.contains("endpoints: it is not a regular file")
    });
    process.signal(Signal::TERM);
    process.assert_ends_well();
}

/// A gateway's process and the supervisor's end of its standard input. Killed when dropped.
pub(crate) struct Process {
    child: Child,
    supervisor: Option<UnixStream>,
}

impl Process {
    /// A gateway for TCP.
    pub(crate) fn start(listeners: &[TcpListener], file: &EndpointsFile) -> Self {
        Self::spawn(file, &[], |supervisor| handover::send(supervisor, Protocol::Tcp, listeners))
    }

    /// A gateway for UDP.
    pub(crate) fn start_udp(sockets: &[UdpSocket], file: &EndpointsFile, settings: &[(&str, &str)]) -> Self {
        let settings = [settings, &[("PROTOCOL", "UDP")]].concat();
        Self::spawn(file, &settings, |supervisor| handover::send(supervisor, Protocol::Udp, sockets))
    }

    fn spawn(
        file: &EndpointsFile,
        settings: &[(&str, &str)],
        hand_over: impl FnOnce(&UnixStream) -> std::io::Result<()>,
    ) -> Self {
        let (supervisor, stdin) = UnixStream::pair().unwrap();
        hand_over(&supervisor).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "process::a_process_serves_and_ends_on_a_signal", "--nocapture"])
            .env(MARKER, "1")
            .env("LISTENERS", "stdin")
            .env("ADMIN_PORT", "0")
            .env("ENDPOINTS_FILE", file.path())
            .envs(settings.iter().copied())
            .stdin(Stdio::from(OwnedFd::from(stdin)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, supervisor: Some(supervisor) }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it without a chance to clean up.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
    }

    /// Closes the supervisor's end of its standard input.
    pub(crate) fn lose_supervisor(&mut self) {
        self.supervisor = None;
    }

    #[track_caller]
    pub(crate) fn assert_ends_well(&mut self) {
        wait_until("the process ended", || self.child.try_wait().unwrap().is_some());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
