//! SIGTERM and SIGINT. A separate test binary, because signals affect the whole process.

use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use service::{Phase, Shutdown};

const DEADLINE: Duration = Duration::from_mins(1);

#[test]
fn the_first_signal_drains_and_the_second_ends() {
    let shutdown = Shutdown::on_signals().unwrap();
    let (heard, phases) = mpsc::channel();
    shutdown.subscribe(move |phase| heard.send(phase).unwrap());
    kill_process(getpid(), Signal::TERM).unwrap();
    assert_eq!(phases.recv_timeout(DEADLINE), Ok(Phase::Draining));
    kill_process(getpid(), Signal::INT).unwrap();
    assert_eq!(phases.recv_timeout(DEADLINE), Ok(Phase::Forced));
    assert_eq!(shutdown.phase(), Phase::Forced);
}
