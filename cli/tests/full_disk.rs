//! A disk that is full for a while: connections stay, replies arrive, and afterwards everything catches up.
//!
//! The platform's state is on its own small file system. Mounting it needs root, so this is one of the tests of
//! `infrastructure/testbed/test` (as `disk`).

mod support;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::Value;
use support::{Lab, both, eventually, lossy};

const SOON: Duration = Duration::from_mins(1);
/// How long the disk stays full.
const FULL_FOR: Duration = Duration::from_secs(30);

/// A file system of 4 MiB in memory, unmounted at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Self {
        fs::create_dir_all(at).expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m,mode=0700", "playctl-test"]).arg(at);
        assert!(
            mount.status().expect("mount starts").success(),
            "this test takes root: it mounts a small disk"
        );
        Self(at.to_owned())
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Writes until nothing more fits.
    fn fill(&self) {
        let mut file = fs::File::create(self.filler()).expect("a file");
        let block = vec![0_u8; 4096];
        while file.write_all(&block).is_ok() {}
        // Fill the last bytes, too.
        while file.write_all(b"x").is_ok() {}
    }

    fn empty(&self) {
        fs::remove_file(self.filler()).expect("the filler is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a supervisor that the test left behind may still have files here.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_is_full_before_up_is_named_and_nothing_is_left() {
    let lab = Lab::new("full-before");
    let disk = SmallDisk::mount(&lab.state());
    disk.fill();
    let output = lab.run(&["up"]);
    assert_eq!(output.status.code(), Some(4), "{}", both(&output));
    let said = lossy(&output.stderr);
    assert!(said.contains("No space left") && said.contains(&*lab.state().to_string_lossy()), "{said}");
    // Also with a disk that has no room for a word.
    lab.ok(&["down"]);
    assert!(!lab.state_of_platform().exists());
}

#[test]
fn a_full_disk_drops_no_connection_and_everything_catches_up_later() {
    let lab = Lab::new("full-disk");
    let disk = SmallDisk::mount(&lab.state());
    lab.up(&[
        "--set",
        "tcp.autoscaling=null",
        "--set",
        "tcp.replicas=1",
        "--set",
        "metrics.scrapeInterval=1s",
    ]);

    let seconds = FULL_FOR.as_secs() + 10;
    let hold = format!("{seconds}s");
    let arguments =
        ["load", "--conns", "200", "--rate", "2ms", "--every", "100ms", "--hold", &hold, "--output", "jsonl"];
    let load = lab.spawn(&arguments);
    let load = std::thread::spawn(move || load.finish(FULL_FOR * 4));
    let connections = || -> u64 {
        let status = lab.status();
        let replicas = status["services"][0]["replicas"].as_array().expect("replicas").clone();
        replicas.iter().filter_map(|replica| replica["connections"].as_u64()).sum()
    };
    eventually(SOON, || Some(connections()).filter(|open| *open >= 200).ok_or("not all are connected"))
        .expect("200 connections");

    disk.fill();
    lab.ok(&["scale", "tcp", "2"]);
    // The second replica runs, and status reports the problem.
    let troubled = eventually(SOON, || {
        let status = lab.status();
        let problems = status["problems"].as_array().cloned().unwrap_or_default();
        let ready = lab.ready();
        if ready == 2 && !problems.is_empty() { Ok(problems) } else { Err((ready, problems)) }
    })
    .expect("a second replica, and a word about the disk");
    assert!(
        troubled.iter().any(|problem| lossy(problem.to_string().as_bytes()).contains("space")),
        "{troubled:?}"
    );
    // Intended: the disk stays full for that long under load.
    #[expect(
        clippy::disallowed_methods,
        reason = "the disk stays full for a fixed time; there is nothing to wait for"
    )]
    std::thread::sleep(FULL_FOR);
    disk.empty();

    // The failed write succeeds now: the gateway knows both replicas.
    eventually(SOON, || {
        let status = lab.status();
        let problems = status["problems"].as_array().cloned().unwrap_or_default();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    })
    .expect("nothing is wrong any more");
    let endpoints =
        fs::read_to_string(lab.state_of_platform().join("endpoints/endpoints.json")).expect("endpoints");
    assert!(endpoints.contains("tcp-0") && endpoints.contains("tcp-1"), "{endpoints}");

    let output = load.join().expect("the load ends");
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    let text = lossy(&output.stdout);
    let finished = text.lines().find(|line| line.contains("\"LoadFinished\"")).expect("a summary");
    let event: Value = serde_json::from_str(finished).expect("JSON");
    let totals = &event["summary"]["totals"];
    assert_eq!((totals["lost"].as_u64(), totals["refused"].as_u64()), (Some(0), Some(0)), "{totals}");
    assert_eq!(totals["messages_sent"], totals["messages_answered"], "{totals}");
    // Recording continued, and reports what it lost.
    let watched = lab.run(&["logs", "tcp/tcp-1"]);
    assert_eq!(watched.status.code(), Some(0), "{}", both(&watched));
    lab.ok(&["down"]);
}
