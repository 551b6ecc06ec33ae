//! Real servers that are requested but unavailable.

mod support;

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
};

use support::{Lab, both, lossy};

#[test]
fn a_missing_program_is_named_with_the_way_to_get_it() {
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
fn a_server_that_does_not_answer_is_named_before_anything_is_built_on_it() {
    let lab = Lab::new("unanswered");
    let free = fixtures::nobody();
    for (part, key) in [
        ("kafka", "kafka.brokers"),
        ("memcached", "memcached.host"),
        ("elasticsearch", "elasticsearch.url"),
        ("prometheus", "prometheus.url"),
        ("cassandra", "cassandra.contactPoints"),
    ] {
        let output = lab.run(&["up", "--with", &format!("{part}={free}")]);
        assert_eq!(output.status.code(), Some(4), "{}", both(&output));
        let said = lossy(&output.stderr);
        assert!(said.contains(&format!("{part} does not answer at ")), "{said}");
        assert!(said.contains(&format!("{free}, where {key} says it is")), "{said}");
        assert!(said.contains("refused"), "{said}");
        assert!(
            said.contains(&format!("playctl --platform {} up --with {part}", lab.platform)),
            "a way out: {said}"
        );
        assert!(lab.processes().is_empty(), "nothing is left of it");
    }
}

#[test]
fn every_part_shows_its_origin_and_version() {
    let lab = Lab::new("what-it-is");
    // It looks like somebody else's memcached.
    let given = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = given.local_addr().expect("an address").to_string();
    let _serves = std::thread::spawn(move || {
        while let Ok((mut client, _)) = given.accept() {
            std::thread::spawn(move || {
                // The client may be gone.
                let _ = client.write_all(b"VERSION 9.8.7\r\n");
                let _ = client.read(&mut [0; 64]);
            });
        }
    });
    lab.up(&["--with", &format!("memcached={address}")]);
    let status = lab.status();
    let parts = status["parts"].as_array().expect("parts");
    let told = |name: &str| {
        let part =
            parts.iter().find(|part| part["name"] == name).unwrap_or_else(|| panic!("{name}: {status}"));
        (part["origin"].as_str().expect("text"), part["version"].as_str().expect("text"))
    };
    assert_eq!(told("memcached"), ("given", "9.8.7"));
    assert_eq!(told("gateway-node-0"), ("embedded", env!("CARGO_PKG_VERSION")));
    let (origin, version) = told("kafka");
    assert!(origin == "embedded" && version.split('.').count() >= 3, "librdkafka's version: {version}");
    let text = lab.ok(&["status"]);
    let line = text.lines().find(|line| line.contains("memcached")).expect("a line");
    assert!(["given", "9.8.7", &address].iter().all(|word| line.contains(word)), "{line}");
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
    // The named parent is not the one that starts it, as after the supervisor's death.
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
