//! A supervisor that does not answer.

mod support;

use std::{
    io::{BufRead as _, BufReader},
    os::unix::net::UnixDatagram,
    process::Stdio,
    sync::mpsc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use support::{Lab, eventually};

const PATIENCE: Duration = Duration::from_mins(2);

/// Every command that queries the supervisor.
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
    // On a busy machine, it must not give up before the interrupt.
    started.env("PLAYCTL_ANSWER_DEADLINE", "3600");
    started.current_dir(lab.home()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = started.spawn().expect("playctl starts");
    let stderr = BufReader::new(child.stderr.take().expect("piped"));
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let deadline = clock::now() + PATIENCE;
    let (mut says_so, mut said) = (false, Vec::new());
    while !says_so {
        let left = deadline.saturating_duration_since(clock::now());
        let Ok(line) = lines.recv_timeout(left) else { break };
        says_so = line.contains("has not answered for");
        said.push(line);
    }
    if says_so {
        kill_process(Pid::from_child(&child), Signal::INT).expect("not waited for yet");
    }
    let patience = if says_so { PATIENCE } else { Duration::ZERO };
    let ended = eventually(patience, || child.try_wait().expect("can be waited for").ok_or(()));
    if ended.is_err() {
        child.kill().expect("not waited for yet");
        child.wait().expect("it ends");
    }
    said.extend(lines.try_iter());
    assert_eq!(ended.map(|status| status.code()), Ok(Some(130)), "{command}: {said:?}");
}

#[test]
fn every_command_reports_a_stopped_supervisor_and_ends_at_the_first_interrupt() {
    let lab = Lab::new("stopped");
    lab.up(&[]);
    kill_process(supervisor(&lab), Signal::STOP).expect("it runs");
    // Several at a time, since each waits for two seconds.
    std::thread::scope(|scope| {
        for commands in COMMANDS.chunks(COMMANDS.len() / 6) {
            let lab = &lab;
            scope
                .spawn(move || commands.iter().for_each(|command| interrupted_when_it_says_so(lab, command)));
        }
    });
    // It kills a supervisor that does not answer.
    lab.ok(&["down"]);
    lab.wait_for_no_process(PATIENCE);
}

#[test]
fn an_unreachable_supervisor_is_not_killed() {
    let lab = Lab::new("unasked");
    lab.up(&[]);
    let running = supervisor(&lab);
    let socket = lab.home().join("playctl").join(format!("{}.sock", lab.platform));
    let aside = socket.with_extension("aside");
    std::fs::rename(&socket, &aside).expect("it listens there");
    // A datagram socket refuses connections for a reason other than a missing listener.
    let other = UnixDatagram::bind(&socket).expect("the place is free");
    let down = lab.run(&["down"]);
    drop(other);
    std::fs::rename(&aside, &socket).expect("back again");
    let said = String::from_utf8_lossy(&down.stderr);
    assert!(said.contains("cannot reach the supervisor"), "{said}");
    assert_eq!(down.status.code(), Some(1));
    assert_eq!(supervisor(&lab), running);
    lab.ok(&["status"]);
}
