//! Every command without something that usually exists: a home, writable folders, a writable output, a wide terminal.
//! Each ends by itself, with a documented exit code and without a panic.

mod support;

use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::Read as _,
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt as _},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use support::{Lab, Running, both, lossy};

const PATIENCE: Duration = Duration::from_mins(1);
/// A path below which nobody can create anything, not even root.
const NOWHERE: &str = "/dev/null/nowhere";
/// Variables that determine the locations of a platform's files.
const VARIABLES: [&str; 3] = ["HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"];

/// Arguments with which each command ends: most of them find no platform.
const TYPED: [(&str, &[&str]); 17] = [
    ("demo", &["--nodes", "0"]),
    ("up", &["--nodes", "0"]),
    ("down", &[]),
    ("status", &[]),
    ("load", &["tcp-10k"]),
    ("watch", &[]),
    ("scale", &["tcp", "2"]),
    ("kill", &["tcp"]),
    ("stop", &["tcp"]),
    ("start", &["tcp"]),
    ("drain", &["tcp/tcp-0"]),
    ("logs", &[]),
    ("explain", &["tcp"]),
    ("doctor", &[]),
    ("serve", &["udp", "--port", "many"]),
    ("image", &["load", "/dev/null"]),
    ("completion", &["bash"]),
];

/// For all commands in `--help`; those missing in the table run without arguments.
fn command_lines(lab: &Lab) -> Vec<Vec<String>> {
    let help = lab.ok(&["--help"]);
    let (_, listed) = help.split_once("\nCommands:\n").expect("a list of commands");
    let (listed, _) = listed.split_once("\n\n").expect("an end of it");
    let names: BTreeSet<&str> = listed
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(TYPED.iter().all(|(name, _)| names.contains(name)), "{names:?}");
    let typed = |name: &&str| {
        let known = TYPED.iter().find(|(known, _)| known == name).map_or(&[][..], |(_, typed)| *typed);
        std::iter::once(*name).chain(known.iter().copied()).map(str::to_owned).collect()
    };
    names.iter().map(typed).collect()
}

fn command(lab: &Lab, typed: &[String]) -> Command {
    let words: Vec<&str> = typed.iter().map(String::as_str).collect();
    let mut command = lab.command(&words);
    command.current_dir(lab.home()).env_remove("HOME");
    command
}

/// Runs it with its output in pipes.
fn piped(mut command: Command) -> std::process::Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("playctl starts");
    Running::of(child).finish(PATIENCE)
}

fn ended_well(what: &[String], surroundings: &str, output: &std::process::Output) {
    let said = both(output);
    let code = output.status.code();
    assert!(matches!(code, Some(0..=5 | 130)), "{what:?} with {surroundings}: {said}");
    assert!(!said.contains("panicked"), "{what:?} with {surroundings}: {said}");
}

#[test]
fn without_a_home_every_command_explains_itself() {
    let lab = Lab::new("no-home");
    for typed in command_lines(&lab) {
        let output = piped(command(&lab, &typed));
        ended_well(&typed, "no home", &output);
        assert!(output.status.success() || !output.stderr.is_empty(), "{typed:?}: {}", both(&output));
    }
}

#[test]
fn commands_that_need_a_folder_name_it_if_it_is_unwritable() {
    let lab = Lab::new("nowhere");
    let mut lines = command_lines(&lab);
    lines.push(vec!["up".into()]);
    lines.push(vec!["demo".into()]);
    for typed in lines {
        let mut nowhere = command(&lab, &typed);
        nowhere.envs(VARIABLES.map(|variable| (variable, NOWHERE)));
        let output = piped(nowhere);
        ended_well(&typed, "no folder", &output);
        if typed == ["up"] || typed == ["demo"] || typed == ["doctor"] {
            assert_ne!(output.status.code(), Some(0), "{typed:?}: {}", both(&output));
            assert!(both(&output).contains(NOWHERE), "{typed:?}: {}", both(&output));
            assert!(both(&output).contains("set XDG_STATE_HOME"), "a way out: {typed:?}: {}", both(&output));
        }
    }
}

#[test]
fn closed_or_full_outputs_end_no_command_early() {
    let lab = Lab::new("outputs");
    let full = || OpenOptions::new().write(true).open("/dev/full").expect("the device");
    for typed in command_lines(&lab) {
        let mut closed = Command::new("sh");
        let words = command(&lab, &typed);
        closed
            .args(["-c", r#"exec "$@" <&- >&- 2>&-"#, "sh"])
            .arg(words.get_program())
            .args(words.get_args());
        closed.current_dir(lab.home());
        for (name, value) in words.get_envs() {
            match value {
                Some(value) => closed.env(name, value),
                None => closed.env_remove(name),
            };
        }
        ended_well(&typed, "closed outputs", &piped(closed));

        let mut both_full = command(&lab, &typed);
        let child = both_full.stdout(full()).stderr(full()).spawn().expect("playctl starts");
        let code = Running::of(child).code(PATIENCE);
        assert!(matches!(code, Some(1..=5 | 130)) || typed[0] == "down", "{typed:?}, full: {code:?}");
    }
}

#[test]
fn a_runtime_folder_that_is_none_is_a_platform_that_does_not_run() {
    let lab = Lab::new("no-folder");
    let file = lab.home().join("file");
    std::fs::write(&file, "").expect("written");
    for (typed, expected) in
        [("status", "is not running"), ("up", "set XDG_RUNTIME_DIR to another directory")]
    {
        let output = piped({
            let mut command = lab.command(&[typed]);
            command.env("XDG_RUNTIME_DIR", &file);
            command
        });
        assert!(lossy(&output.stderr).contains(expected), "{typed}: {}", both(&output));
    }
}

#[test]
fn tables_fit_the_width_that_the_environment_tells() {
    let lab = Lab::new("columns");
    lab.up(&[]);
    let mut command = lab.command(&["status"]);
    let output = piped({
        command.env("COLUMNS", "40");
        command
    });
    let shown = lossy(&output.stdout);
    let titles = shown.lines().find(|line| line.contains("REPLICA")).expect("a table");
    assert!(titles.chars().count() <= 40 && titles.contains("PHASE"), "{shown}");
}

#[test]
fn results_fit_a_narrow_terminal() {
    let lab = Lab::new("narrow");
    let columns = 40;
    let files = lab.home();
    std::fs::write(files.join("hpa.yaml"), include_str!("hpa.yaml")).expect("written");
    std::fs::write(files.join("state.yaml"), include_str!("state.yaml")).expect("written");
    let explain = ["explain", "--hpa", "hpa.yaml", "--state", "state.yaml"].map(str::to_owned).to_vec();
    for typed in [explain, vec!["doctor".to_owned()]] {
        let (ours, theirs) = terminal(columns);
        let mut command = command(&lab, &typed);
        let child = command.stdout(theirs).stderr(Stdio::null()).spawn().expect("playctl starts");
        // This process must close the child's end of the terminal.
        drop(command);
        let mut shown = Vec::new();
        let mut ours = File::from(ours);
        let mut chunk = [0; 4096];
        // Reading a terminal whose other side is closed fails.
        while let Ok(length @ 1..) = ours.read(&mut chunk) {
            shown.extend_from_slice(&chunk[..length]);
        }
        Running::of(child).code(PATIENCE);
        let shown = without_colours(&lossy(&shown));
        assert!(shown.lines().count() > 5, "{shown}");
        for line in shown.lines() {
            assert!(
                line.trim_end_matches('\r').chars().count() <= columns.into(),
                "{typed:?}: {line:?}\n{shown}"
            );
        }
    }
}

/// Both ends of a terminal.
fn terminal(columns: u16) -> (OwnedFd, OwnedFd) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&ours).expect("granted");
    unlockpt(&ours).expect("unlocked");
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&ours, size).expect("a size");
    let name = ptsname(&ours, Vec::new()).expect("a name");
    let name = name.into_string().expect("UTF-8");
    // It must not become the tests' controlling terminal, or its end would end them too.
    let flags = rustix::fs::OFlags::NOCTTY.bits().cast_signed();
    let mut options = OpenOptions::new();
    let theirs = options.read(true).write(true).custom_flags(flags).open(name).expect("the other end");
    (ours, theirs.into())
}

fn without_colours(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    plain + rest
}
