//! The command line itself: help, wrong arguments, exit codes.

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
        "report",
        "dashboard",
        "scale",
        "kill",
        "stop",
        "start",
        "drain",
        "explain",
        "diagnose",
        "logs",
        "doctor",
        "node",
        "serve",
        "image",
        "argocd",
        "completion",
    ];
    for command in commands {
        let text = lab.ok(&[command, "--help"]);
        assert!(text.contains("Examples:"), "{command}: {text}");
        let own = text.find("\nOptions:").expect("it has options");
        let common = text.find("\nGlobal options:").expect("they have a heading");
        assert!(own < common, "{command}: its own options come first: {text}");
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{command}: {line}");
        }
    }
    let all = lab.ok(&["--help"]);
    for command in commands {
        assert!(all.contains(&format!("\n  {command} ")), "{command} is missing in: {all}");
    }
    assert!(!all.contains("supervisor"), "internal commands stay hidden: {all}");
}

#[test]
fn wrong_arguments_are_usage_errors() {
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
        (&["--target", "moon", "status"], "local"),
        (&["status", "-n", "chat"], "--namespace needs --target cluster"),
        (&["load", "--in-cluster", "127.0.0.1:1"], "--in-cluster needs --target cluster"),
        (&["load", "--image", "playctl:1"], "--image needs --target cluster"),
        (&["load", "kill-server", "--target", "cluster"], "for good: a cluster replaces a killed pod"),
        (
            &["load", "ws-storm", "--target", "cluster", "--in-cluster"],
            "for good: a cluster replaces a killed pod",
        ),
        (&["status", "--target", "cluster", "--kubeconfig", "/nowhere/config"], "/nowhere/config"),
        (&["explain", "--hpa", "hpa.yaml"], "--print-state"),
        (&["explain", "--state", "state.yaml"], "--hpa FILE"),
        (&["explain", "tcp", "--hpa", "hpa.yaml", "--print-state"], "not both"),
        (&["explain", "--target", "cluster", "--hpa", "chat", "--print-state"], "from its live state"),
        (&["load", "--duration", "1s"], "--for"),
        (&["load", "--connections", "5"], "--conns"),
        (&["up", "--dry-run"], "--dry-run needs --target cluster"),
        (&["down", "--dry-run"], "only `up --target cluster` has a dry run"),
        (&["up", "--target", "cluster", "--nodes", "2"], "a cluster has its own nodes"),
        (&["up", "--target", "cluster", "--with", "kafka"], "kafka.brokers"),
        (&["up", "--target", "cluster", "--image", "playctl"], "NAME:TAG"),
        (&["up", "--target", "cluster", "--set", "tcp.replcas=3"], "replicas"),
        (&["down", "--target", "cluster", "--hpa", "x"], "--hpa"),
        (&["up", "-f", "minikub"], "did you mean minikube?"),
        (&["scale", "tcp", "many"], "expected a whole number"),
        (&["argocd", "register", "--auto-sync=maybe"], "maybe"),
        (&["argocd", "register", "--manifest", "x.yaml"], "--install"),
        (&["argocd", "register", "--set", "tcp"], "KEY=VALUE"),
        (&["argocd", "sync", "--wait", "--no-wait"], "--no-wait"),
        (&["argocd", "diff", "--local", ".", "--revision", "main"], "--revision"),
        (&["argocd", "status", "--kubeconfig", "/nowhere/config"], "/nowhere/config"),
        (&["logs", "--tail", "99999999999999999999999"], "the number is too large"),
        (&["logs", "-n", "5"], "for the last 5 lines: --tail 5"),
        (&["logs", "-n", "chat"], "--namespace needs --target cluster"),
    ] {
        let output = lab.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", both(&output));
        assert!(lossy(&output.stderr).contains(named), "{arguments:?}: {}", both(&output));
    }
}

/// What people hand to `explain` and `up` instead of what these read.
#[test]
fn other_peoples_files_are_recognised() {
    let lab = Lab::new("files");
    let write = |name: &str, text: &str| {
        let path = lab.home().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let hpa = write("hpa.yaml", include_str!("hpa.yaml"));
    let deployment = write("deployment.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n");
    let scaled =
        write("keda.yaml", "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: x}\n");
    let empty = write("empty.yaml", "");
    let template =
        write("template.yaml", "kind: HorizontalPodAutoscaler\nmetadata: {name: {{ .Release.Name }}}\n");
    let twice = write("twice.yaml", "replicas: 2\npods: [{name: a}, {name: a}]\nmetrics: [{pods: {a: 1}}]\n");
    for (arguments, named) in [
        (
            &["explain", &hpa][..],
            format!("playctl --platform {} explain --hpa {hpa} --print-state", lab.platform),
        ),
        (
            &["explain", "--hpa", &deployment, "--print-state"],
            "it has objects of other kinds: Deployment".to_owned(),
        ),
        (&["explain", "--hpa", &scaled, "--print-state"], "kubectl get hpa -o yaml".to_owned()),
        (&["explain", "--hpa", &empty, "--print-state"], "it is empty".to_owned()),
        (&["explain", "--hpa", &template, "--print-state"], "template.yaml:2:19: expected a name".to_owned()),
        (&["explain", "--hpa", &template, "--print-state"], "(helm template)".to_owned()),
        (
            &["explain", "--hpa", &hpa, "--state", &twice],
            "twice.yaml:2:20: pods[1].name: a is listed twice".to_owned(),
        ),
        (&["up", "-f", &hpa], "hpa.yaml is a Kubernetes object (HorizontalPodAutoscaler)".to_owned()),
    ] {
        let output = lab.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", both(&output));
        assert!(lossy(&output.stderr).contains(&named), "{arguments:?}: {named}: {}", both(&output));
    }
}

#[test]
fn serve_names_the_process_that_has_one_address_of_its_port() {
    let lab = Lab::new("taken-by");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let output =
        lab.command(&["serve", "page", "-p", &port]).env("ADMIN_PORT", "0").output().expect("it starts");
    let said = lossy(&output.stderr);
    let holder = format!("(pid {})", std::process::id());
    assert!(said.contains("it is taken by ") && said.contains(&holder), "{}", both(&output));
}

#[test]
fn a_platform_that_is_not_running_is_reported_with_the_next_step() {
    let lab = Lab::new("absent");
    for arguments in
        [&["status"][..], &["watch"], &["scale", "tcp", "2"], &["kill", "tcp"], &["logs"], &["load"]]
    {
        let output = lab.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", both(&output));
        let hint = format!("playctl --platform {} up", lab.platform);
        assert!(lossy(&output.stderr).contains(&hint), "{arguments:?}: {}", both(&output));
    }
    let of_default = lab.run(&["--platform", "playground", "status"]);
    assert!(lossy(&of_default.stderr).trim().ends_with("playctl up"), "{}", both(&of_default));
}

#[test]
fn a_failure_is_an_object_in_json_output() {
    let lab = Lab::new("failures");
    for (arguments, kind, code) in [
        (&["status"][..], "not_running", 1),
        (&["scale", "tcp", "2"], "not_running", 1),
        (&["up", "--set", "tcp.replcas=3"], "usage", 2),
        (&["up", "--nodes", "many"], "usage", 2),
        (&["load", "--no-such-flag"], "usage", 2),
    ] {
        for output in ["json", "jsonl"] {
            let printed = lab.run(&[arguments, &["--output", output]].concat());
            assert_eq!(printed.status.code(), Some(code), "{}", both(&printed));
            let failure: serde_json::Value = serde_json::from_slice(&printed.stdout).expect("one document");
            assert_eq!(failure["kind"], kind, "{failure}");
            assert!(failure["message"].as_str().is_some_and(|message| !message.is_empty()), "{failure}");
            assert!(failure.get("hint").is_some(), "{failure}");
            assert_eq!(failure["retry"], false, "{failure}");
            if kind == "not_running" {
                let hint = format!("start it with: playctl --platform {} up", lab.platform);
                assert_eq!(failure["hint"], hint, "{failure}");
            }
        }
    }
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let lab = Lab::new("full");
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("bound").to_string();
    for arguments in [
        &["doctor"][..],
        &["doctor", "--output", "json"],
        &["completion", "bash"],
        &["--help"],
        &["load", "--conns", "1", "--silent", "--for", "30s", &address],
    ] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("the device");
        let mut command = lab.command(arguments);
        let output = command.stdout(full).output().expect("starts");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", both(&output));
        assert!(lossy(&output.stderr).contains("could not write"), "{arguments:?}: {}", both(&output));
    }
}

#[test]
fn invalid_utf8_arguments_cannot_break_it() {
    use std::os::unix::ffi::OsStrExt as _;

    let lab = Lab::new("typed");
    for words in [&[&b"stat\xffus"[..]][..], &[b"scale", b"\xff", b"2"], &[b"logs", b"--grep", b"\xfe"]] {
        let mut command = lab.command(&[]);
        let output = command.args(words.iter().map(|word| std::ffi::OsStr::from_bytes(word))).output();
        assert_eq!(output.expect("starts").status.code(), Some(2), "{words:?}");
    }
}

#[test]
fn a_login_program_that_prints_a_bad_token_is_named_in_one_line() {
    let lab = Lab::new("login");
    let kubeconfig = lab.home().join("kubeconfig");
    let text = r#"
        current-context: one
        contexts: [{name: one, context: {cluster: c, user: u}}]
        clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
        users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: echo,
            args: ['{"status": {"token": "HUNTER2\n"}}']}}}]"#;
    std::fs::write(&kubeconfig, text).expect("written");
    let kubeconfig = kubeconfig.to_str().expect("UTF-8");
    let output = lab.run(&["status", "--target", "cluster", "--kubeconfig", kubeconfig]);
    let said = lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("(exec: echo) gives a token that cannot be sent"), "{said}");
    assert!(!said.contains("panicked") && !both(&output).contains("HUNTER2"), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "{said}");
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
fn doctor_answers_as_text_and_as_json() {
    let lab = Lab::new("doctor");
    let words = lab.run(&["doctor"]);
    assert!(lossy(&words.stdout).contains("open files"), "{}", both(&words));
    let output = lab.run(&["doctor", "--output", "json"]);
    let checks: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(checks.as_array().is_some_and(|checks| checks.len() > 3), "{checks}");
}
