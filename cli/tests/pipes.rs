//! Files that are not regular files: pipes without a writer, endless devices, folders.

mod support;

use std::{fs, process::Command, time::Duration};

use rustix::process::Signal;
use support::{Lab, both, eventually, lossy};

const PATIENCE: Duration = Duration::from_mins(1);
const SIGINT_BIT: u64 = 1 << 1;

/// A pipe without a writer.
fn pipe(lab: &Lab, name: &str) -> String {
    let path = lab.home().join(name);
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
    path.to_str().expect("UTF-8").to_owned()
}

/// Whether a process already handles SIGINT.
fn takes_interrupts(pid: rustix::process::Pid) -> Result<(), String> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()))
        .map_err(|error| error.to_string())?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or_default();
    let mask = u64::from_str_radix(mask.trim(), 16).map_err(|error| error.to_string())?;
    if mask & SIGINT_BIT > 0 { Ok(()) } else { Err(status) }
}

#[test]
fn the_first_interrupt_ends_a_command_that_waits_for_a_pipe() {
    let lab = Lab::new("pipes");
    let fifo = pipe(&lab, "fifo");
    for arguments in [
        &["explain", "--hpa", &fifo, "--print-state"][..],
        &["explain", "--hpa", "/dev/null", "--state", &fifo],
        &["load", "--payload-file", &fifo, "127.0.0.1:1"],
    ] {
        let running = lab.spawn(arguments);
        eventually(PATIENCE, || takes_interrupts(running.pid())).expect("it takes signals");
        running.signal(Signal::INT);
        let output = running.finish(PATIENCE);
        assert_eq!(output.status.code(), Some(130), "{arguments:?}: {}", both(&output));
    }
}

#[test]
fn pipes_and_folders_are_refused_as_files_without_waiting() {
    let lab = Lab::new("no-files");
    let (fifo, folder) = (pipe(&lab, "fifo.yaml"), lab.home().to_str().expect("UTF-8").to_owned());
    let with_values = |file: &str| vec!["up".to_owned(), "-f".to_owned(), file.to_owned()];
    let chart = lab.home().join("chart");
    fs::create_dir(&chart).expect("a folder");
    pipe(&lab, "chart/Chart.yaml");
    for (arguments, said) in [
        (with_values(&fifo), "a pipe or a device"),
        (with_values("/dev/zero"), "a pipe or a device"),
        (with_values(&folder), "is a directory"),
        (vec!["up".into(), "--chart".into(), chart.display().to_string()], "a pipe or a device"),
        (vec!["load".into(), fifo.clone()], "a pipe or a device"),
        (vec!["load".into(), format!("{folder}/.")], "is a directory"),
        (vec!["explain".into(), "--hpa".into(), "/dev/zero".into(), "--print-state".into()], "larger than"),
        (vec!["explain".into(), "--hpa".into(), folder.clone(), "--print-state".into()], "directory"),
        (["load", "--payload-file", "/dev/zero", "127.0.0.1:1"].map(str::to_owned).to_vec(), "payload"),
    ] {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = lab.spawn(&words).finish(PATIENCE);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", both(&output));
        assert!(lossy(&output.stderr).contains(said), "{words:?}: {}", both(&output));
    }
}

#[test]
fn files_that_are_not_yaml_are_refused_with_an_explanation() {
    let lab = Lab::new("no-yaml");
    let bomb: String = (1..30).fold("a0: &a0 [x, x]\n".to_owned(), |text, level| {
        let before = format!("*a{}", level - 1);
        format!("{text}a{level}: &a{level} [{}]\n", vec![before; 9].join(", "))
    });
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (name, content) in [
        ("latin1.yaml", b"tcp: {image: caf\xe9}".to_vec()),
        ("utf16.yaml", "tcp: {}".encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("bomb.yaml", bomb.into_bytes()),
        ("nested.yaml", nested.into_bytes()),
        ("zeros.yaml", vec![0; 4096]),
        ("large.yaml", [b"tcp: {}\n#".as_slice(), &vec![b'x'; 20 << 20]].concat()),
    ] {
        let path = lab.home().join(name);
        fs::write(&path, content).expect("written");
        let file = path.to_str().expect("UTF-8");
        for arguments in [
            &["up", "-f", file][..],
            &["load", file],
            &["explain", "--hpa", file, "--print-state"],
            &["explain", "--hpa", "/dev/null", "--state", file],
        ] {
            let output = lab.spawn(arguments).finish(PATIENCE);
            assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", both(&output));
            let said = lossy(&output.stderr);
            assert!(said.contains(name) && said.len() < 2_000, "{arguments:?}: {said}");
        }
    }
}
