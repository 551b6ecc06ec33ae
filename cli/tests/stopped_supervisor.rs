//! A supervisor that does not answer.

mod support;

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use support::{Lab, eventually};

const PATIENCE: Duration = Duration::from_mins(2);

/// Every command that asks the supervisor.
const COMMANDS: [&str; 24] = [
    "status",
    "status --output json",
    "scale tcp 2",
    "kill tcp/tcp-0",
    "kill tcp/tcp-0 --no-restart",
    "kill gateway/node-0",
    "stop kafka",
    "start kafka",
    "stop tcp",
    "drain tcp/fullest",
    "logs",
    "logs -f tcp",
    "watch",
    "watch --output jsonl",
    "explain",
    "explain tcp",
    "node add",
    "node remove",
    "dashboard --no-open",
    "dashboard --read-only",
    "load tcp-10k",
    "up",
    "diagnose -o bundle.tar.gz",
    "down --graceful",
];

/// The lab's supervisor.
fn supervisor(lab: &Lab) -> Pid {
    let is_it = |pid: &u32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).nth(1) == Some(b"supervisor")
    };
    let pid = lab.processes().into_iter().find(is_it).expect("it runs");
    Pid::from_raw(pid.cast_signed()).expect("a process")
}

fn interrupted_when_it_says_so(lab: &Lab, command: &str) {
    let words: Vec<&str> = command.split(' ').collect();
    let mut started = lab.command(&words);
    started.current_dir(lab.home()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = started.spawn().expect("playctl starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
    let mut said = Vec::new();
    let says_so = lines.by_ref().any(|line| {
        let is_it = line.contains("has not answered for");
        said.push(line);
        is_it
    });
    if says_so {
        kill_process(Pid::from_child(&child), Signal::INT).expect("not waited for yet");
    }
    let ended = eventually(PATIENCE, || child.try_wait().expect("can be waited for").ok_or(()));
    if ended.is_err() {
        child.kill().expect("it runs");
    }
    said.extend(lines);
    assert_eq!(ended.map(|status| status.code()), Ok(Some(130)), "{command}: {said:?}");
}

#[test]
fn every_command_says_that_it_does_not_answer_and_ends_at_the_first_interrupt() {
    let lab = Lab::new("stopped");
    lab.up(&[]);
    kill_process(supervisor(&lab), Signal::STOP).expect("it runs");
    // All at once, since each waits for two seconds.
    std::thread::scope(|scope| {
        for command in COMMANDS {
            scope.spawn(|| interrupted_when_it_says_so(&lab, command));
        }
    });
    // It ends what does not answer.
    lab.ok(&["down"]);
    lab.wait_for_no_process(PATIENCE);
}
