//! Real servers that are asked for and cannot be had.

mod support;

use support::{Lab, both, lossy};

#[test]
fn a_program_that_is_nowhere_is_named_with_the_way_to_get_it() {
    let lab = Lab::new("nowhere");
    let nowhere = lab.home().join("nowhere");
    let mut command = lab.command(&["up", "--gateway", "envoy"]);
    let output =
        command.env("PATH", &nowhere).env("TESTBED_HOME", &nowhere).output().expect("playctl starts");
    assert_eq!(output.status.code(), Some(4), "{}", both(&output));
    let said = lossy(&output.stderr);
    assert!(said.contains("envoy is neither on PATH (envoy) nor among"), "{said}");
    assert!(said.contains(&nowhere.display().to_string()), "{said}");
    assert!(said.contains("infrastructure/testbed/testbed install envoy"), "{said}");
    assert!(lab.processes().is_empty(), "nothing is left of it");
}

#[test]
fn a_part_that_does_not_exist_is_a_usage_error() {
    let lab = Lab::new("unknown");
    let output = lab.run(&["up", "--with", "kafak"]);
    assert_eq!(output.status.code(), Some(2), "{}", both(&output));
    assert!(lossy(&output.stderr).contains("PART being one of kafka, memcached"), "{}", both(&output));
}

#[test]
fn a_wrapped_program_does_not_run_without_its_supervisor() {
    let lab = Lab::new("wrapped");
    // The parent that is named is not the one that starts it, as after the supervisor's death.
    let mut command = lab.command(&["run-child", "--", "/bin/echo", "ran"]);
    let output = command.env("PLAYCTL_PARENT_PID", "1").output().expect("playctl starts");
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    assert!(lossy(&output.stderr).contains("the supervisor (pid 1) is gone"), "{}", both(&output));
    assert!(output.stdout.is_empty(), "{}", both(&output));

    let output = lab.run(&["run-child", "--directory", "/", "--", "/bin/pwd"]);
    assert_eq!(lossy(&output.stdout).trim(), "/", "{}", both(&output));
    let output = lab.run(&["run-child", "--", "/no/such/program"]);
    assert!(lossy(&output.stderr).contains("cannot run /no/such/program"), "{}", both(&output));
}
