//! The command line itself: help, wrong words, exit codes.

mod support;

use support::{Lab, both, lossy};

#[test]
fn every_command_has_help_with_examples() {
    let lab = Lab::new("help");
    let commands = [
        "demo",
        "up",
        "down",
        "status",
        "load",
        "watch",
        "scale",
        "kill",
        "logs",
        "doctor",
        "serve",
        "completion",
    ];
    for command in commands {
        let text = lab.ok(&[command, "--help"]);
        assert!(text.contains("Examples:"), "{command}: {text}");
    }
    let all = lab.ok(&["--help"]);
    for command in commands {
        assert!(all.contains(&format!("\n  {command} ")), "{command} is missing in: {all}");
    }
    assert!(!all.contains("supervisor"), "internal commands stay hidden: {all}");
}

#[test]
fn wrong_words_are_usage_errors() {
    let lab = Lab::new("wrong");
    for (arguments, named) in [
        (&["upp"][..], "up"),
        (&["up", "--nodes", "0"], "--nodes"),
        (&["up", "--set", "tcp.replcas=3"], "replicas"),
        (&["up", "--set", "tcp.replicas=many"], "tcp.replicas"),
        (&["up", "-f", "/nowhere/values.yaml"], "/nowhere/values.yaml"),
        (&["load", "--rate", "fast", "127.0.0.1:1"], "fast"),
        (&["load", "--for", "soon", "127.0.0.1:1"], "soon"),
        (&["load", "tcp-11k"], "tcp-10k"),
        (&["load", "tcp-10k", "--for", "1s", "--hold", "1s"], "--hold"),
        (&["--platform", "Not A Name", "up"], "Not A Name"),
    ] {
        let output = lab.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", both(&output));
        assert!(lossy(&output.stderr).contains(named), "{arguments:?}: {}", both(&output));
    }
}

#[test]
fn a_platform_that_does_not_run_is_said_with_the_next_step() {
    let lab = Lab::new("absent");
    for arguments in
        [&["status"][..], &["watch"], &["scale", "tcp", "2"], &["kill", "tcp"], &["logs"], &["load"]]
    {
        let output = lab.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", both(&output));
        assert!(lossy(&output.stderr).contains("playctl up"), "{arguments:?}: {}", both(&output));
    }
}

#[test]
fn completions_are_printed_for_the_shells() {
    let lab = Lab::new("completion");
    assert!(lab.ok(&["completion", "bash"]).contains("_playctl"));
    assert!(lab.ok(&["completion", "zsh"]).contains("#compdef playctl"));
    assert!(lab.ok(&["completion", "fish"]).contains("complete -c playctl"));
}

#[test]
fn serve_names_every_bad_variable() {
    let lab = Lab::new("settings");
    let output = lab
        .command(&["serve", "tcp"])
        .env("PORT", "seventy")
        .env("BUFF_SIZE", "-1")
        .output()
        .expect("starts");
    assert_eq!(output.status.code(), Some(2), "{}", both(&output));
    let said = lossy(&output.stderr);
    for word in ["PORT", "seventy", "BUFF_SIZE", "-1"] {
        assert!(said.contains(word), "{word} is missing in: {said}");
    }
}

#[test]
fn doctor_answers_in_words_and_in_json() {
    let lab = Lab::new("doctor");
    let words = lab.run(&["doctor"]);
    assert!(lossy(&words.stdout).contains("open files"), "{}", both(&words));
    let output = lab.run(&["doctor", "--output", "json"]);
    let checks: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(checks.as_array().is_some_and(|checks| checks.len() > 3), "{checks}");
}
