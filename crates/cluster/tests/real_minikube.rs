//! The real minikube, for what needs no driver: `infrastructure/testbed/test minikube` builds it and names it in `MINIKUBE`.
//!
//! That it takes every option that is passed to it, what it says where something is missing, and what it says of a profile
//! whose files are there and whose machine is not. A cluster is never made.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, ops::ControlFlow, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc};

use cluster::minikube::{Machine, Minikube, MinikubeError, Options, Settings, Tools, checks};
use tempfile::TempDir;

const MACHINE: Machine = Machine { cores: 8, memory_mib: Some(16 << 10) };

fn real() -> String {
    std::env::var("MINIKUBE").expect("MINIKUBE names the program: infrastructure/testbed/test minikube")
}

/// A folder with a `minikube` in it that runs `script`, in which `real` is the real one with a home of its own.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("minikube");
        let home = folder.path().display();
        // No driver on PATH, and none of the user's proxies or settings.
        let text = format!(
            "#!/bin/sh\nhere={home}\nreal() {{ env -i HOME={home} MINIKUBE_HOME={home} PATH={home} {} \"$@\"; }}\n{script}\n",
            real()
        );
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn minikube(&self) -> Minikube {
        let options = Options {
            program: Some(self.path("minikube")),
            profile: "playground".to_owned(),
            kubeconfig: Some(self.path("kubeconfig")),
            folder: self.path("kept"),
        };
        Minikube::new(options, Arc::new(|_| ControlFlow::Continue(()))).unwrap()
    }

    /// A profile whose files are there: minikube's own, of <https://github.com/kubernetes/minikube/issues/9970>, with the
    /// keys that this is about.
    fn with_profile(self, nodes: &[&str]) -> Self {
        let folder = self.path(".minikube/profiles/playground");
        fs::create_dir_all(&folder).unwrap();
        let node = |name: &&str| {
            serde_json::json!({"Name": name, "IP": "192.168.49.2", "Port": 8443, "KubernetesVersion": "v1.34.0",
                "ContainerRuntime": "docker", "ControlPlane": name.is_empty(), "Worker": true})
        };
        let nodes: Vec<serde_json::Value> = nodes.iter().map(node).collect();
        let config = serde_json::json!({
            "Name": "playground", "Memory": 4096, "CPUs": 2, "DiskSize": 20000, "Driver": "docker",
            "KubernetesConfig": {"KubernetesVersion": "v1.34.0", "ClusterName": "playground", "Namespace": "default",
                "ContainerRuntime": "docker", "NetworkPlugin": "cni", "CNI": "calico",
                "ExtraOptions": [{"Component": "kubelet", "Key": "v", "Value": "4"}]},
            "Nodes": nodes, "Addons": {"metrics-server": true}, "MultiNodeRequested": true,
        });
        fs::write(folder.join("config.json"), config.to_string()).unwrap();
        self
    }
}

/// Every call is given `--help` last: minikube reads all options before, refuses those that it does not know, and then does
/// nothing. Only the list of profiles is answered, so that there is something to act upon.
const HELP: &str = r#"case "$1" in
profile) real "$@" --help >/dev/null || echo "$*" >>"$here/refused"; cat "$here/profiles.json" ;;
*) real "$@" --help >"$here/last" 2>&1 || { echo "$*" >>"$here/refused"; cat "$here/last" >&2; exit 1; } ;;
esac"#;

fn profiles(nodes: &[&str]) -> String {
    let mut list: serde_json::Value =
        serde_json::from_str(include_str!("minikube/recorded/profiles.json")).unwrap();
    let recorded = list["valid"][0]["Config"]["Nodes"].clone();
    let node = |name: &&str| {
        let mut node = recorded[usize::from(!name.is_empty())].clone();
        node["Name"] = (*name).into();
        node
    };
    list["valid"][0]["Config"]["Nodes"] = nodes.iter().map(node).collect();
    list["valid"][0]["Status"] = "OK".into();
    list.to_string()
}

#[test]
fn every_option_that_is_passed_exists() {
    let place = Place::new(HELP);
    let minikube = place.minikube();
    let has = |list: &str| fs::write(place.path("profiles.json"), list).unwrap();
    has(include_str!("minikube/recorded/no-profiles.json"));
    let settings = Settings {
        nodes: Some(3),
        cpus: Some("max".to_owned()),
        memory: Some("6g".to_owned()),
        driver: Some("docker".to_owned()),
        cni: Some("calico".to_owned()),
        addons: vec!["ingress".to_owned()],
        extra_config: vec!["kubelet.v=4".to_owned()],
        large: false,
    };
    // It made nothing, so that the profile is not found afterwards.
    let error = minikube.start(&settings, MACHINE).unwrap_err().to_string();
    assert!(error.contains("there is no minikube profile playground"), "{error}");

    has(&profiles(&["", "m02"]));
    minikube.start(&Settings { addons: vec!["ingress".to_owned()], ..Settings::default() }, MACHINE).unwrap();
    let error = minikube.add_node().unwrap_err().to_string();
    assert!(error.contains("the profile has no new node"), "{error}");
    let error = minikube.delete_node("playground-m02").unwrap_err().to_string();
    assert!(error.contains("the profile still has playground-m02"), "{error}");
    let error = minikube.delete().unwrap_err().to_string();
    assert!(error.contains("is still there"), "{error}");
    for mut call in minikube.calls_of_images_and_keepers(&place.path("image.tar")) {
        let status = call.status().unwrap();
        assert!(status.success(), "{call:?}");
    }
    assert_eq!(fs::read_to_string(place.path("refused")).unwrap_or_default(), "", "refused");
}

#[test]
fn an_option_that_does_not_exist_would_be_noticed() {
    let place = Place::new(HELP);
    let status = std::process::Command::new(place.path("minikube"))
        .args(["node", "add", "--profile", "playground", "--no-such-option"])
        .status()
        .unwrap();
    assert!(!status.success() && place.path("refused").exists());
}

#[test]
fn without_a_driver_it_says_which_and_we_say_what_to_install() {
    let place = Place::new(r#"real "$@""#);
    let error = place.minikube().start(&Settings::default(), MACHINE).unwrap_err();
    let MinikubeError::Failed(failed) = &error else { panic!("{error:?}") };
    let id = failed.reason.as_ref().map(|reason| reason.id.as_str()).unwrap_or_default();
    assert!(id.starts_with("DRV_"), "{id}: {error}");
    let error = error.to_string();
    assert!(
        error.contains("next: install a driver, best Docker: https://docs.docker.com/engine/install"),
        "{error}"
    );

    let settings = Settings { driver: Some("docker".to_owned()), ..Settings::default() };
    let error = place.minikube().start(&settings, MACHINE).unwrap_err().to_string();
    assert!(
        error.contains("PROVIDER_DOCKER_NOT_FOUND")
            && error.contains("https://docs.docker.com/engine/install"),
        "{error}"
    );
}

#[test]
fn options_that_make_no_sense_are_explained_in_its_words() {
    let place = Place::new(r#"real "$@""#);
    for (settings, part) in [
        (Settings { driver: Some("steam".to_owned()), ..Settings::default() }, "steam"),
        (
            Settings {
                memory: Some("much".to_owned()),
                driver: Some("none".to_owned()),
                ..Settings::default()
            },
            "much",
        ),
        (Settings { extra_config: vec!["kubelet".to_owned()], ..Settings::default() }, "extra-config"),
    ] {
        let error = place.minikube().start(&settings, MACHINE).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_profile_whose_machine_is_gone_is_broken_and_can_be_deleted() {
    let place = Place::new(r#"real "$@""#).with_profile(&["", "m02"]);
    let minikube = place.minikube();
    assert!(minikube.exists().unwrap());
    let error = minikube.check().unwrap_err().to_string();
    assert!(error.contains("is broken") && error.contains("minikube delete --profile playground"), "{error}");
    assert_eq!(minikube.driver().unwrap(), "docker");
}

#[test]
fn its_version_is_found() {
    let place = Place::new(r#"real "$@""#);
    let found = checks(&Tools { folder: Some(place.folder.path().to_owned()) });
    assert!(found[0].detail.starts_with("v1."), "{:?}", found[0]);
}
