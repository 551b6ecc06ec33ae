//! Files of a running platform that are removed or replaced. Clients notice nothing, commands end with an answer or a
//! reason, and `down` leaves nothing running.

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use support::{Lab, both, eventually};

const PATIENCE: Duration = Duration::from_mins(2);

/// The location of a platform's file.
type Place = fn(&Lab) -> PathBuf;

/// What happens to a file.
#[derive(Debug, Clone, Copy)]
enum Swap {
    Remove,
    Truncate,
    /// Bytes that are not text.
    Garbage,
    Folder,
    /// A pipe without a writer.
    Pipe,
    /// A link to an endless file.
    Link,
}

impl Swap {
    const ALL: [Self; 6] =
        [Self::Remove, Self::Truncate, Self::Garbage, Self::Folder, Self::Pipe, Self::Link];

    fn carry_out(self, path: &Path) {
        match self {
            Self::Truncate => {
                return fs::File::options().write(true).truncate(true).open(path).map_or((), drop);
            }
            _ => clear(path),
        }
        match self {
            Self::Remove | Self::Truncate => {}
            Self::Garbage => fs::write(path, [0xff; 4096]).expect("written"),
            Self::Folder => fs::create_dir(path).expect("made"),
            Self::Pipe => assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo").success()),
            Self::Link => symlink("/dev/zero", path).expect("linked"),
        }
    }
}

fn clear(path: &Path) {
    let _ = fs::remove_dir(path);
    let _ = fs::remove_file(path);
}

fn echo(client: &mut TcpStream) {
    client.write_all(b"msg:still here").expect("a connection");
    let mut reply = [0; 10];
    client.read_exact(&mut reply).expect("a reply");
    assert_eq!(&reply, b"still here");
}

fn client(lab: &Lab) -> TcpStream {
    let client = TcpStream::connect(lab.endpoint()).expect("a connection");
    client.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    client
}

fn answers(lab: &Lab, arguments: &[&str], after: &str) {
    let output = lab.spawn(arguments).finish(PATIENCE);
    let said = both(&output);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{arguments:?} after {after}: {said}");
    assert!(output.status.success() || !output.stderr.is_empty(), "{arguments:?} after {after}: {said}");
    assert!(!said.contains("panicked"), "{arguments:?} after {after}: {said}");
}

#[test]
fn swapped_data_files_cost_no_connection_and_no_command() {
    let lab = Lab::new("swapped-data");
    lab.up(&["--set", "tcp.autoscaling=null"]);
    let mut client = client(&lab);
    for file in ["events.jsonl", "logs.jsonl", "endpoints/endpoints.json", "supervisor.log"] {
        let path = lab.state_of_platform().join(file);
        for (number, swap) in Swap::ALL.into_iter().enumerate() {
            let after = format!("{swap:?} of {file}");
            swap.carry_out(&path);
            let replicas = if number % 2 == 0 { "2" } else { "1" };
            answers(&lab, &["scale", "tcp", replicas], &after);
            answers(&lab, &["logs", "--tail", "3", "--from", "output"], &after);
            answers(&lab, &["status"], &after);
            echo(&mut client);
            clear(&path);
        }
    }
    lab.ok(&["scale", "tcp", "2"]);
    let settled = eventually(PATIENCE, || {
        let status = lab.status();
        let is_well = status["problems"].as_array().is_none_or(Vec::is_empty);
        if is_well && lab.ready() == 2 { Ok(()) } else { Err(status) }
    });
    settled.expect("the endpoints are written again");
    echo(&mut client);
}

#[test]
fn a_platform_whose_own_traces_were_swapped_can_be_taken_down() {
    let of_run = |lab: &Lab| lab.state_of_platform().join("run.json");
    let lock = |lab: &Lab| lab.state().join("playctl").join(format!("{}.lock", lab.platform));
    let socket = |lab: &Lab| lab.home().join("playctl").join(format!("{}.sock", lab.platform));
    let cases: [(&str, Place, &[Swap]); 3] = [
        ("run", of_run, &[Swap::Remove, Swap::Garbage, Swap::Pipe]),
        ("lock", lock, &[Swap::Remove, Swap::Pipe]),
        ("socket", socket, &[Swap::Remove, Swap::Folder]),
    ];
    for (name, place, swaps) in cases {
        for swap in swaps {
            let lab = Lab::new(&format!("swapped-{name}-{swap:?}").to_lowercase());
            lab.up(&["--set", "tcp.autoscaling=null"]);
            let (path, after) = (place(&lab), format!("{swap:?} of {name}"));
            assert!(path.exists(), "{}", path.display());
            let mut client = client(&lab);
            swap.carry_out(&path);
            answers(&lab, &["status"], &after);
            echo(&mut client);
            let down = lab.spawn(&["down"]).finish(PATIENCE);
            // playctl does not remove a replacement that is not its own, but names it.
            assert!(matches!(down.status.code(), Some(0 | 5)), "{after}: {}", both(&down));
            lab.wait_for_no_process(PATIENCE);
            clear(&path);
        }
    }
}

#[test]
fn without_lock_and_socket_the_next_platform_ends_the_previous_one() {
    let lab = Lab::new("swapped-both");
    lab.up(&["--set", "tcp.autoscaling=null"]);
    let before = lab.processes();
    clear(&lab.state().join("playctl").join(format!("{}.lock", lab.platform)));
    clear(&lab.home().join("playctl").join(format!("{}.sock", lab.platform)));
    lab.up(&["--set", "tcp.autoscaling=null"]);
    let after = lab.processes();
    assert!(!before.is_empty() && before.iter().all(|pid| !after.contains(pid)), "{before:?} {after:?}");
}
