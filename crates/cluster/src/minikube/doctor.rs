//! What a machine has and lacks for `--target minikube` and `--target cluster`, and what to install.

use std::{ops::ControlFlow, path::PathBuf, time::Duration};

use platform::doctor::{Check, Verdict};

use super::{
    call::{self, Broken, Call, Heard},
    error::{INSTALL_DRIVER, INSTALL_MINIKUBE},
};

/// How long a program may take to report its version.
const ANSWER: Duration = Duration::from_secs(10);
const INSTALL_HELM: &str = "install helm 3.13 or newer: https://helm.sh/docs/intro/install";

/// Drivers that can run nodes, in minikube's order of preference: the driver's name, and a call that succeeds if it
/// works.
const DRIVERS: [(&str, &str, &[&str]); 6] = [
    ("docker", "docker", &["version", "--format", "{{.Server.Version}}"]),
    ("podman", "podman", &["version", "--format", "{{.Version}}"]),
    ("kvm2", "virsh", &["--version"]),
    ("qemu2", "qemu-system-x86_64", &["--version"]),
    ("vfkit", "vfkit", &["--version"]),
    ("virtualbox", "VBoxManage", &["--version"]),
];

/// Where the programs are; by default on PATH.
#[derive(Debug, Clone, Default)]
pub struct Tools {
    /// The only folder to search for them.
    pub folder: Option<PathBuf>,
}

enum Found {
    Version(String),
    Not,
    /// It is installed but does not work, for this reason.
    Ill(String),
}

impl Tools {
    fn ask(&self, program: &str, arguments: &[&str]) -> Found {
        let path = self.folder.as_ref().map_or_else(|| PathBuf::from(program), |folder| folder.join(program));
        let mut first = None;
        let ended = call::run(&Call::new(path).args(arguments), Some(ANSWER), &mut |heard| {
            if let Heard::Out(line) = heard
                && first.is_none()
                && !line.trim().is_empty()
            {
                first = Some(line.trim().to_owned());
            }
            ControlFlow::Continue(())
        });
        match ended {
            Ok(ended) if ended.status.success() => Found::Version(first.unwrap_or_default()),
            Ok(ended) => {
                Found::Ill(ended.last_words.last().cloned().unwrap_or_else(|| ended.status.to_string()))
            }
            Err(Broken::NotFound) => Found::Not,
            Err(Broken::Io(error)) => Found::Ill(error.to_string()),
            Err(_) => Found::Ill(format!("no answer within {} s", ANSWER.as_secs())),
        }
    }
}

/// Checks everything and changes nothing.
pub fn checks(tools: &Tools) -> Vec<Check> {
    let minikube = tools.ask("minikube", &["version", "--short"]);
    let helm = tools.ask("helm", &["version", "--short"]);
    vec![
        program("minikube", minikube, "--target minikube", INSTALL_MINIKUBE),
        drivers(tools),
        program("helm", helm, "up --target minikube and up --target cluster", INSTALL_HELM),
    ]
}

fn program(name: &str, found: Found, wanted_for: &str, install: &str) -> Check {
    match found {
        Found::Version(version) => Check::new(name, Verdict::Ok, format!("{version}, for {wanted_for}")),
        Found::Not => Check::new(name, Verdict::Missing, format!("missing; needed only for {wanted_for}"))
            .with_fix(install),
        Found::Ill(why) => {
            Check::new(name, Verdict::Warn, format!("does not answer, so {wanted_for} does not work: {why}"))
                .with_fix(install)
        }
    }
}

/// One working driver is enough; Docker that is installed but not running is worth mentioning.
fn drivers(tools: &Tools) -> Check {
    let name = "minikube driver";
    let (mut work, mut ill) = (Vec::new(), Vec::new());
    for (driver, program, arguments) in DRIVERS {
        match tools.ask(program, arguments) {
            Found::Version(version) => work.push(format!("{driver} ({version})")),
            Found::Ill(why) => ill.push(format!("{driver}: {why}")),
            Found::Not => {}
        }
    }
    if !work.is_empty() {
        return Check::new(name, Verdict::Ok, work.join(", "));
    }
    if ill.is_empty() {
        let names: Vec<&str> = DRIVERS.iter().map(|(driver, ..)| *driver).collect();
        let detail = format!("none of {}; needed only for --target minikube", names.join(", "));
        return Check::new(name, Verdict::Missing, detail).with_fix(INSTALL_DRIVER);
    }
    Check::new(name, Verdict::Warn, format!("none works, so --target minikube does not: {}", ill.join("; ")))
        .with_fix("start it (systemctl start docker) and join its group (sudo usermod -aG docker $USER && newgrp docker)")
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn machine(programs: &[(&str, &str)]) -> (tempfile::TempDir, Vec<Check>) {
        let folder = tempfile::tempdir().unwrap();
        for (name, script) in programs {
            let path = folder.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let checks = checks(&Tools { folder: Some(folder.path().to_owned()) });
        (folder, checks)
    }

    #[test]
    fn a_machine_with_nothing_is_told_what_to_install() {
        let (_folder, checks) = machine(&[]);
        let fixes: Vec<&str> = checks.iter().filter_map(|check| check.fix.as_deref()).collect();
        assert!(checks.iter().all(|check| check.ok == Verdict::Missing), "{checks:?}");
        for (fix, address) in fixes.iter().zip([
            "https://minikube.sigs.k8s.io/docs/start",
            "https://docs.docker.com/engine/install",
            "https://helm.sh/docs/intro/install",
        ]) {
            assert!(fix.contains(address), "{fix}");
        }
    }

    #[test]
    fn what_is_there_is_told_with_its_version_and_what_is_ill_with_its_reason() {
        let (_folder, found) =
            machine(&[("minikube", "echo v1.37.0"), ("helm", "echo v3.19.0+g1"), ("podman", "echo 5.0")]);
        assert!(found.iter().all(|check| check.ok == Verdict::Ok), "{found:?}");
        assert!(found[0].detail.starts_with("v1.37.0") && found[1].detail == "podman (5.0)", "{found:?}");
        let docker = "echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock' >&2; exit 1";
        let (_folder, ill) = machine(&[("docker", docker)]);
        assert_eq!(ill[1].ok, Verdict::Warn);
        assert!(ill[1].detail.contains("Cannot connect to the Docker daemon"), "{:?}", ill[1]);
        assert!(ill[1].fix.as_ref().is_some_and(|fix| fix.contains("systemctl start docker")));
    }
}
