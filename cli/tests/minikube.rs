//! `--target minikube` with a stand-in on PATH (crates/cluster/tests/minikube checks the single calls): messages to the
//! user, and that only the tunnel's process is ended.

mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use support::{Lab, both, eventually, lossy};

/// A `minikube` on PATH that answers each subcommand by a script, and records its calls.
struct Machine {
    lab: Lab,
    programs: tempfile::TempDir,
}

impl Machine {
    fn new(name: &str) -> Self {
        Self { lab: Lab::new(name), programs: tempfile::tempdir().expect("a folder") }
    }

    fn minikube(self, script: &str) -> Self {
        let path = self.programs.path().join("minikube");
        let noted = self.noted();
        // The tests may be run with SIGINT ignored, and a shell that inherits that never hears of it.
        let shell = "/usr/bin/env -S --default-signal=INT sh";
        let script = format!("#!{shell}\necho \"$*\" >>{}\n{script}\n", noted.display());
        fs::write(&path, script).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
        self
    }

    fn noted(&self) -> PathBuf {
        self.programs.path().join("noted")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.command_for("minikube", arguments)
    }

    fn command_for(&self, target: &str, arguments: &[&str]) -> Command {
        let mut command = self.lab.command(&["--target", target]);
        let path = format!("{}:/usr/bin:/bin", self.programs.path().display());
        command.args(arguments).env("PATH", path).env("KUBECONFIG", self.programs.path().join("kubeconfig"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("playctl starts")
    }

    fn kept(&self) -> PathBuf {
        self.lab.state().join("playctl-minikube").join(&self.lab.platform)
    }
}

const NO_PROFILES: &str = r#"case "$1 $2" in "profile list") echo '{"invalid":[],"valid":[]}' ;; esac"#;

/// A tunnel that runs until it is told to end.
const TUNNEL: &str = r#"case "$1" in
profile) echo '{"invalid":[],"valid":[]}' ;;
tunnel) echo 'Status: running'; trap 'exit 0' INT; while :; do sleep 0.05; done ;;
esac"#;

#[test]
fn without_minikube_every_command_says_where_to_get_it() {
    let machine = Machine::new("no-minikube");
    for arguments in [&["status"][..], &["node", "add"], &["down"], &["scale", "tcp", "2"]] {
        let output = machine.run(arguments);
        let said = lossy(&output.stderr);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(
            said.contains("install minikube: https://minikube.sigs.k8s.io/docs/start"),
            "{arguments:?}: {said}"
        );
    }
    let doctor = machine.run(&["doctor"]);
    assert_eq!(doctor.status.code(), Some(1), "{}", both(&doctor));
    for text in ["✗ minikube ", "✗ minikube driver ", "✗ helm ", "https://helm.sh/docs/intro/install"] {
        assert!(lossy(&doctor.stdout).contains(text), "{text}: {}", both(&doctor));
    }
    let doctor_for = |target| machine.command_for(target, &["doctor"]).output().expect("playctl starts");
    let doctor = lossy(&doctor_for("local").stdout);
    assert!(doctor.contains("- minikube "), "{doctor}");
    let doctor = doctor_for("cluster");
    assert_eq!(doctor.status.code(), Some(1), "{}", both(&doctor));
    assert!(
        lossy(&doctor.stdout).contains("✗ cluster ") && !both(&doctor).contains("driver"),
        "{}",
        both(&doctor)
    );
}

#[test]
fn a_missing_profile_is_reported_as_such() {
    let machine = Machine::new("no-profile").minikube(NO_PROFILES);
    let output = machine.run(&["status"]);
    let said = lossy(&output.stderr);
    let next = format!("playctl --target minikube --profile {} up", machine.lab.platform);
    assert!(said.contains("there is no minikube profile") && said.contains(&next), "{said}");
    let down = machine.run(&["down"]);
    assert!(down.status.success(), "{}", both(&down));
    assert!(lossy(&down.stdout).contains("nothing is left"), "{}", both(&down));
}

#[test]
fn options_of_one_target_are_refused_for_another() {
    let lab = Lab::new("minikube-options");
    for (arguments, named) in [
        (&["status", "--profile", "blue"][..], "--profile needs --target minikube"),
        (&["--target", "minikube", "status", "--context", "blue"], "--context needs --target cluster"),
        (&["--target", "cluster", "status", "--profile", "blue"], "--profile needs --target minikube"),
        (&["--target", "minikube", "status", "--profile", "No"], "minikube profile \"No\""),
    ] {
        let output = lab.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", both(&output));
        assert!(lossy(&output.stderr).contains(named), "{arguments:?}: {}", both(&output));
    }
}

fn pid(file: &Path) -> Option<Pid> {
    fs::read_to_string(file).ok()?.trim().parse().ok().and_then(Pid::from_raw)
}

fn runs(pid: Pid) -> bool {
    // An ended process that was not reaped counts as gone, too.
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    test_kill_process(pid).is_ok() && !stat.contains(") Z ")
}

fn tunnel_of(machine: &Machine) -> Pid {
    let file = machine.kept().join("tunnel.child");
    eventually(Duration::from_mins(1), || pid(&file).filter(|pid| runs(*pid)).ok_or("no tunnel"))
        .expect("it runs")
}

#[test]
fn a_tunnel_is_kept_running_and_ended_by_down() {
    let machine = Machine::new("tunnel").minikube(TUNNEL);
    fs::create_dir_all(machine.kept()).expect("made");
    let mut keeper = machine.command(&["keep", "tunnel"]).spawn().expect("it starts");
    let first = tunnel_of(&machine);
    kill_process(first, Signal::KILL).expect("killed");
    let file = machine.kept().join("tunnel.child");
    let second = eventually(Duration::from_mins(1), || {
        pid(&file).filter(|pid| *pid != first && runs(*pid)).ok_or("not started again")
    });
    let second = second.expect("it is started again");

    let down = machine.run(&["down"]);
    assert!(down.status.success(), "{}", both(&down));
    assert!(!runs(second), "ended");
    assert!(keeper.wait().expect("waited for").code().is_some(), "told, not killed");
    assert!(!machine.kept().exists(), "nothing is left");
}

#[test]
fn a_tunnel_whose_keeper_was_killed_is_ended_too() {
    let machine = Machine::new("orphan").minikube(TUNNEL);
    fs::create_dir_all(machine.kept()).expect("made");
    let mut keeper = machine.command(&["keep", "tunnel"]).spawn().expect("it starts");
    let tunnel = tunnel_of(&machine);
    keeper.kill().expect("killed");
    keeper.wait().expect("waited for");
    assert!(runs(tunnel), "it keeps running without its keeper");
    let down = machine.run(&["down"]);
    assert!(down.status.success(), "{}", both(&down));
    assert!(!runs(tunnel), "ended");
}

#[test]
fn a_reused_pid_is_not_touched() {
    let machine = Machine::new("reused").minikube(NO_PROFILES);
    fs::create_dir_all(machine.kept()).expect("made");
    // As after a power failure; meanwhile another process has the number.
    let mut stranger = Command::new("sleep").arg("600").spawn().expect("it starts");
    for file in ["tunnel.keeper", "tunnel.child"] {
        fs::write(machine.kept().join(file), format!("{}\n", stranger.id())).expect("written");
    }
    let down = machine.run(&["down"]);
    assert!(down.status.success(), "{}", both(&down));
    assert!(stranger.try_wait().expect("asked").is_none(), "it runs on");
    stranger.kill().expect("killed");
    stranger.wait().expect("waited for");
}

#[test]
fn one_tunnel_has_one_keeper() {
    let machine = Machine::new("two-keepers").minikube(TUNNEL);
    fs::create_dir_all(machine.kept()).expect("made");
    let mut keeper = machine.command(&["keep", "tunnel"]).spawn().expect("it starts");
    tunnel_of(&machine);
    let second = machine.run(&["keep", "tunnel"]);
    assert!(lossy(&second.stderr).contains("kept running already"), "{}", both(&second));
    kill_process(Pid::from_child(&keeper), Signal::TERM).expect("told");
    keeper.wait().expect("waited for");
    let noted = fs::read_to_string(machine.noted()).expect("noted");
    let tunnels = noted.lines().filter(|line| line.starts_with("tunnel --profile ")).count();
    assert_eq!(tunnels, 1, "{noted}");
}
