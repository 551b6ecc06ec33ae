//! The servers: their addresses, and how to kill and restart them.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::time::Duration;

/// A variable that `infrastructure/testbed/test` sets.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run this by infrastructure/testbed/test logger"))
}

/// Runs `testbed`, which must succeed.
pub(crate) fn testbed(arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } =
        Command::new(variable("TESTBED")).args(arguments).output().expect("testbed can be run");
    assert!(status.success(), "testbed {arguments:?}: {status}\n{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("UTF-8")
}

/// The variables that `testbed env` prints.
pub(crate) fn environment(arguments: &[&str]) -> BTreeMap<String, String> {
    let printed = testbed(&[&["env"], arguments].concat());
    let pair = |line: &str| {
        let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    printed.lines().map(|line| pair(line).unwrap_or_else(|| panic!("not a variable: {line}"))).collect()
}

/// Kills a server (SIGKILL), keeps it down for `away`, and starts it on its data.
pub(crate) fn kill_for(server: &str, away: Duration) {
    testbed(&["kill", server]);
    let back = clock::now() + away;
    while clock::now() < back {
        pause();
    }
    testbed(&["up", server]);
}

/// Waits for the condition.
#[track_caller]
pub(crate) fn eventually(what: &str, within: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = clock::now() + within;
    while !is_so() {
        assert!(clock::now() < deadline, "{what}: not within {within:?}");
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "between two looks at something that nothing announces")]
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}
