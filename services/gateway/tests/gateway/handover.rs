//! A gateway as a process of its own, with listeners that its supervisor keeps.
//!
//! The process is this test program once more, running only [`gateway_process`].

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use gateway::{Settings, handover};
use rustix::process::{Pid, Signal, kill_process};
use service::Shutdown;
use service::settings::Env;

use crate::support::{EndpointsFile, Replica, assert_echo, connect, endpoint, wait_until};

/// Set in the environment of the gateway's process only.
const MARKER: &str = "GATEWAY_TEST_PROCESS";

#[test]
#[ignore = "not a test: what the gateway's process runs"]
fn gateway_process() {
    if std::env::var_os(MARKER).is_some() {
        let settings = Settings::from_env(&Env::of_process()).unwrap();
        gateway::run(settings, Shutdown::on_signals().unwrap()).unwrap();
    }
}

/// A gateway's process and the supervisor's end of its standard input.
struct Process {
    child: Child,
    supervisor: Option<UnixStream>,
}

impl Process {
    fn start(listeners: &[TcpListener], file: &EndpointsFile) -> Self {
        let (supervisor, stdin) = UnixStream::pair().unwrap();
        handover::send(&supervisor, listeners).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "handover::gateway_process", "--ignored", "--nocapture"])
            .env(MARKER, "1")
            .env("LISTENERS", "stdin")
            .env("ADMIN_PORT", "0")
            .env("ENDPOINTS_FILE", file.path())
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(stdin)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, supervisor: Some(supervisor) }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    #[track_caller]
    fn assert_ends_well(&mut self) {
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

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[test]
fn what_a_killed_gateway_left_in_the_queue_is_served_by_its_successor() {
    let replica = Replica::echo();
    let file = EndpointsFile::new(&[endpoint("tcp-0", replica.address)]);
    let (listener, address) = listener();
    let listeners = [listener];
    let mut first = Process::start(&listeners, &file);
    assert_echo(&connect(address), "by the first");

    first.signal(Signal::KILL);
    first.child.wait().unwrap();
    let waiting = connect(address);
    let _second = Process::start(&listeners, &file);
    assert_echo(&waiting, "by the second");
}

#[test]
fn a_draining_gateway_leaves_the_queue_to_its_successor() {
    let replica = Replica::echo();
    let file = EndpointsFile::new(&[endpoint("tcp-0", replica.address)]);
    let (listener, address) = listener();
    let listeners = [listener];
    let mut first = Process::start(&listeners, &file);
    let kept = connect(address);
    assert_echo(&kept, "by the first");

    first.signal(Signal::TERM);
    // The successor takes everything new; the one that drains keeps what it has.
    let _second = Process::start(&listeners, &file);
    for _ in 0..20 {
        assert_echo(&connect(address), "by either, but by one");
    }
    assert_echo(&kept, "still by the first");
    drop(kept);
    first.assert_ends_well();
    assert_echo(&connect(address), "by the second");
}

#[test]
fn several_listeners_lead_to_the_same_cluster() {
    let replica = Replica::echo();
    let file = EndpointsFile::new(&[endpoint("tcp-0", replica.address)]);
    let ((one, first), (other, second)) = (listener(), listener());
    let _process = Process::start(&[one, other], &file);
    assert_echo(&connect(first), "one");
    assert_echo(&connect(second), "other");
}

#[test]
fn a_gateway_does_not_outlive_its_supervisor() {
    let replica = Replica::echo();
    let file = EndpointsFile::new(&[endpoint("tcp-0", replica.address)]);
    let (listener, address) = listener();
    let mut process = Process::start(&[listener], &file);
    let client = connect(address);
    assert_echo(&client, "while it lives");
    process.supervisor = None;
    process.assert_ends_well();
    assert!(crate::support::is_closed(&client));
}
