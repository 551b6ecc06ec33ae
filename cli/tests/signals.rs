//! Signals in the middle of commands.

mod support;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use rustix::process::Signal;
use support::{Lab, both, eventually, lossy};

const PATIENCE: Duration = Duration::from_mins(2);

#[test]
fn an_interrupted_graceful_down_continues_and_the_next_down_ends_it() {
    let lab = Lab::new("down-twice");
    lab.up(&[
        "--set",
        "tcp.autoscaling=null,tcp.env.SIGTERM_TIMEOUT=300,tcp.terminationGracePeriodSeconds=600",
    ]);
    let mut client = TcpStream::connect(lab.endpoint()).expect("a connection");
    let down = lab.spawn(&["down", "--graceful", "--output", "json"]);
    let drains = eventually(PATIENCE, || {
        let output = lab.run(&["status"]);
        let said = lossy(&output.stderr);
        let is_so =
            output.status.code() == Some(1) && said.contains("is being taken down; end it at once with: ");
        if is_so { Ok(said) } else { Err(both(&output)) }
    });
    let said = drains.expect("it drains");
    assert!(!said.contains("not running"), "{said}");
    down.signal(Signal::INT);
    let output = down.finish(PATIENCE);
    assert_eq!(output.status.code(), Some(130), "{}", both(&output));
    let failure: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a JSON object");
    assert_eq!((&failure["kind"], &failure["retry"]), (&"interrupted".into(), &false.into()), "{failure}");
    // Connected clients keep their promised time.
    client.write_all(b"msg:still here").expect("a connection");
    let mut reply = [0; 10];
    client.read_exact(&mut reply).expect("a reply");
    assert_eq!(&reply, b"still here");
    lab.ok(&["down"]);
    lab.wait_for_no_process(PATIENCE);
}

#[test]
fn two_interrupts_of_an_up_leave_nothing() {
    let lab = Lab::new("up-twice");
    // It waits for a replica that never becomes ready.
    let up = lab.spawn(&["up", "--nodes", "1", "--set", "tcp.probes.readiness.path=/never"]);
    let started = eventually(PATIENCE, || {
        let supervised = lab.state_of_platform().join("events.jsonl");
        let events = std::fs::read_to_string(supervised).unwrap_or_default();
        if events.contains("PodStarted") || events.contains("tcp-0") { Ok(()) } else { Err(events) }
    });
    started.expect("a replica is started");
    up.signal(Signal::INT);
    up.signal(Signal::INT);
    assert_eq!(up.finish(PATIENCE).status.code(), Some(130));
    lab.wait_for_no_process(PATIENCE);
}
