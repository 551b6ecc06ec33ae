//! Every call of minikube, against a stand-in that checks its arguments and plays back what minikube printed. What it plays
//! back is in `recorded/`, with the source of each in `recorded/README.md`.
//!
//! Whether minikube takes those arguments is checked with the real one: `infrastructure/testbed/test minikube`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod stand_in;

use std::{ops::ControlFlow, sync::Arc};

use cluster::minikube::{Machine, Minikube, MinikubeError, Options, Settings, Started, Told};
use parking_lot::Mutex;
use stand_in::{Answer, Arguments, StandIn};

const MACHINE: Machine = Machine { cores: 8, memory_mib: Some(16 << 10) };
const LIST: &[&str] = &["profile", "list", "--output=json"];
const START: &[&str] =
    &["start", "--profile", "playground", "--keep-context", "--interactive=false", "--output=json"];

/// What a list of profiles looks like with our profile in it, which runs, changed by `change`.
fn list(change: impl FnOnce(&mut serde_json::Value)) -> Answer {
    let mut list: serde_json::Value = serde_json::from_str(include_str!("recorded/profiles.json")).unwrap();
    list["valid"][0]["Status"] = "OK".into();
    change(&mut list["valid"][0]);
    Answer::out(&list.to_string())
}

fn nodes(names: &[&str]) -> Answer {
    list(|profile| with_nodes(profile, names))
}

fn with_nodes(profile: &mut serde_json::Value, names: &[&str]) {
    let nodes = profile["Config"]["Nodes"].as_array().unwrap().clone();
    let node = |name: &&str| {
        let mut node = nodes[usize::from(!name.is_empty())].clone();
        node["Name"] = (*name).into();
        node
    };
    profile["Config"]["Nodes"] = names.iter().map(node).collect();
}

fn none() -> Answer {
    Answer::out(include_str!("recorded/no-profiles.json"))
}

fn start(settings: &[&str]) -> Vec<String> {
    START.iter().chain(settings).map(|&argument| argument.to_owned()).collect()
}

#[test]
fn a_new_profile_is_made_and_its_steps_are_told() {
    let stand_in = StandIn::new([
        (LIST.into(), none()),
        (
            start(&["--nodes=3", "--cpus=4", "--memory=4096", "--cni=calico", "--addons=metrics-server"])
                .into(),
            Answer::out(include_str!("recorded/start.jsonl")),
        ),
        (LIST.into(), nodes(&["", "m02", "m03"])),
    ]);
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = Arc::clone(&told);
    let minikube = stand_in.minikube(move |what| {
        heard.lock().extend(what.map(Told::words));
        ControlFlow::Continue(())
    });
    let settings = Settings { nodes: Some(3), ..Settings::default() };
    let started = minikube.start(&settings, MACHINE).unwrap();
    assert_eq!(
        started,
        Started {
            changes: vec!["minikube profile playground created".to_owned()],
            notes: Vec::new(),
            nodes: 3
        }
    );
    let told = told.lock();
    assert_eq!(told[0], "0 of 10, minikube v1.12.1 on Darwin 10.14.6");
    assert_eq!(told[3], "6 of 10, Creating hyperkit VM (CPUs=2, Memory=6000MB, Disk=20000MB) ...");
}

#[test]
fn everything_can_be_set_and_is_passed_on() {
    let settings = Settings {
        nodes: Some(1),
        cpus: Some("2".to_owned()),
        memory: Some("3g".to_owned()),
        driver: Some("podman".to_owned()),
        cni: Some("flannel".to_owned()),
        addons: vec!["ingress".to_owned()],
        extra_config: vec!["kubelet.cgroup-driver=systemd".to_owned()],
        large: false,
    };
    let flags = [
        "--nodes=1",
        "--cpus=2",
        "--memory=3g",
        "--cni=flannel",
        "--addons=metrics-server",
        "--addons=ingress",
        "--driver=podman",
        "--extra-config=kubelet.cgroup-driver=systemd",
    ];
    let stand_in = StandIn::new([
        (LIST.into(), none()),
        (start(&flags).into(), Answer::out("")),
        (LIST.into(), nodes(&[""])),
    ]);
    let made = stand_in.quiet().start(&settings, MACHINE).unwrap();
    assert_eq!(made.nodes, 1);
}

#[test]
fn a_profile_that_is_as_it_should_be_is_left_alone() {
    let stand_in = StandIn::new([
        (LIST.into(), nodes(&["", "m02"])),
        (LIST.into(), nodes(&["", "m02"])),
        (LIST.into(), nodes(&["", "m02"])),
    ]);
    let settings = Settings { nodes: Some(2), ..Settings::default() };
    let started = stand_in.quiet().start(&settings, MACHINE).unwrap();
    assert_eq!(started, Started { nodes: 2, ..Started::default() });
}

#[test]
fn possible_changes_are_made_and_impossible_ones_reported() {
    let without_addon = || {
        list(|profile| {
            profile["Status"] = "Stopped".into();
            profile["Config"]["Addons"] = serde_json::json!({"metrics-server": false});
            with_nodes(profile, &["", "m02"]);
        })
    };
    let stand_in = StandIn::new([
        (LIST.into(), without_addon()),
        // Without settings: those that it was made with count.
        (start(&[]).into(), Answer::out("")),
        (
            ["addons", "enable", "metrics-server", "--profile", "playground"].as_slice().into(),
            Answer::out("* The 'metrics-server' addon is enabled\n"),
        ),
        (LIST.into(), nodes(&["", "m02"])),
        (LIST.into(), nodes(&["", "m02"])),
        (
            ["node", "add", "--profile", "playground"].as_slice().into(),
            Answer::out(include_str!("recorded/node-add.txt")),
        ),
        (LIST.into(), nodes(&["", "m02", "m03"])),
        (LIST.into(), nodes(&["", "m02", "m03"])),
    ]);
    let settings = Settings { nodes: Some(3), cpus: Some("16".to_owned()), ..Settings::default() };
    let started = stand_in.quiet().start(&settings, MACHINE).unwrap();
    assert_eq!(
        started.changes,
        ["minikube profile playground started", "addon metrics-server enabled", "node playground-m03 added"]
    );
    assert_eq!((started.notes.len(), started.nodes), (1, 3), "{started:?}");
    assert!(
        started.notes[0].contains("--cpus 2, not 16") && started.notes[0].contains("cannot change that"),
        "{started:?}"
    );
}

#[test]
fn fewer_nodes_are_not_taken_away_behind_anybody_s_back() {
    let stand_in = StandIn::new([
        (LIST.into(), nodes(&["", "m02", "m03"])),
        (LIST.into(), nodes(&["", "m02", "m03"])),
        (LIST.into(), nodes(&["", "m02", "m03"])),
    ]);
    let settings = Settings { nodes: Some(2), ..Settings::default() };
    let started = stand_in.quiet().start(&settings, MACHINE).unwrap();
    assert!(
        started.notes[0].contains("--nodes 3, not 2") && started.notes[0].contains("playctl node remove")
    );
    assert_eq!((started.changes, started.nodes), (Vec::new(), 3));
}

#[test]
fn a_profile_that_is_paused_changing_or_broken_is_explained() {
    for (status, what, next) in [
        ("Paused", "its containers are frozen", "minikube unpause --profile playground"),
        ("Starting", "another minikube is working on it", "minikube status --profile playground"),
        ("Unknown", "minikube says Unknown", "minikube delete --profile playground"),
    ] {
        let stand_in = StandIn::new([(LIST.into(), list(|profile| profile["Status"] = status.into()))]);
        let error = stand_in.quiet().start(&Settings::default(), MACHINE).unwrap_err().to_string();
        assert!(error.contains(what) && error.contains(next), "{status}: {error}");
    }
    let invalid = include_str!("recorded/invalid-profile.json");
    let stand_in = StandIn::new([(LIST.into(), Answer::out(invalid))]);
    let error = stand_in.quiet().check().unwrap_err().to_string();
    assert!(error.contains("its files are invalid"), "{error}");
}

#[test]
fn leftovers_of_a_failed_start_are_recreated() {
    let invalid = Answer::out(include_str!("recorded/invalid-profile.json"));
    let flags = ["--nodes=2", "--cpus=4", "--memory=4096", "--cni=calico", "--addons=metrics-server"];
    let stand_in = StandIn::new([
        (LIST.into(), invalid),
        (start(&flags).into(), Answer::out("")),
        (LIST.into(), nodes(&["", "m02"])),
    ]);
    let started = stand_in.quiet().start(&Settings::default(), MACHINE).unwrap();
    assert_eq!((started.changes.len(), started.nodes), (1, 2));
}

#[test]
fn failures_carry_the_command_the_status_the_words_and_the_way_out() {
    for (recorded, status, parts) in [
        (
            include_str!("recorded/no-driver.jsonl"),
            include_str!("recorded/no-driver.status"),
            ["`minikube start --profile playground", "exit status: ", "next: install a driver, best Docker"],
        ),
        (
            include_str!("recorded/docker-missing.jsonl"),
            include_str!("recorded/docker-missing.status"),
            [
                "PROVIDER_DOCKER_NOT_FOUND",
                "meaning: what the driver drives",
                "https://docs.docker.com/engine/install",
            ],
        ),
    ] {
        let failed = Answer::out(recorded).status(status.trim().parse().unwrap());
        let flags = ["--nodes=2", "--cpus=4", "--memory=4096", "--cni=calico", "--addons=metrics-server"];
        let stand_in = StandIn::new([(LIST.into(), none()), (start(&flags).into(), failed)]);
        let error = stand_in.quiet().start(&Settings::default(), MACHINE).unwrap_err();
        assert!(matches!(error, MinikubeError::Failed(_)), "{error:?}");
        let error = error.to_string();
        for part in parts {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}

#[test]
fn a_node_that_did_not_join_is_named_with_what_is_left_of_it() {
    let stand_in = StandIn::new([
        (LIST.into(), nodes(&[""])),
        (
            ["node", "add", "--profile", "playground"].as_slice().into(),
            Answer::err(include_str!("recorded/node-add-failed.txt")).status(80),
        ),
        (LIST.into(), nodes(&["", "m02"])),
    ]);
    let error = stand_in.quiet().add_node().unwrap_err().to_string();
    for part in
        ["GUEST_NODE_ADD", "the node was begun and did not join", "playctl node remove playground-m02"]
    {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn a_profile_without_a_network_between_nodes_gets_no_second_one() {
    let alone = list(|profile| {
        profile["Config"]["KubernetesConfig"]["CNI"] = "".into();
        profile["Config"]["MultiNodeRequested"] = false.into();
        with_nodes(profile, &[""]);
    });
    let stand_in = StandIn::new([(LIST.into(), alone)]);
    let error = stand_in.quiet().add_node().unwrap_err().to_string();
    assert!(error.contains("never be ready") && error.contains("playctl down"), "{error}");
}

#[test]
fn an_image_goes_to_every_node_and_to_those_that_come_later() {
    let stand_in = StandIn::new([]);
    let tar = stand_in.path("made.tar");
    let image = image("playctl:0.1.0");
    std::fs::write(&tar, &image).unwrap();
    let kept = stand_in.path("kept/image.tar");
    let load = || {
        Arguments::from(
            ["image", "load", "--overwrite=true", "--profile", "playground", kept.to_str().unwrap()]
                .as_slice(),
        )
    };
    let images =
        || Arguments::from(["image", "ls", "--format", "json", "--profile", "playground"].as_slice());
    let has_it = || {
        Answer::out(
            r#"[{"id":"1","repoDigests":[],"repoTags":["docker.io/library/playctl:0.1.0"],"size":"1"}]"#,
        )
    };
    stand_in.expect([
        (load(), Answer::out("")),
        (images(), has_it()),
        // The same again: it is there.
        (images(), has_it()),
        (LIST.into(), nodes(&[""])),
        (
            ["node", "add", "--profile", "playground"].as_slice().into(),
            Answer::out(include_str!("recorded/node-add.txt")),
        ),
        (LIST.into(), nodes(&["", "m02"])),
        (load(), Answer::out("")),
        (images(), has_it()),
        (images(), Answer::out("[]")),
        (load(), Answer::out("")),
        (images(), Answer::out("[]")),
    ]);
    let minikube = stand_in.quiet();
    assert!(minikube.load_image(&tar).unwrap());
    assert!(!minikube.load_image(&tar).unwrap());
    assert_eq!(minikube.add_node().unwrap(), "playground-m02");
    assert_eq!(std::fs::read(&kept).unwrap(), image);
    // As of <https://github.com/kubernetes/minikube/issues/21393>.
    let error = minikube.load_image(&tar).unwrap_err().to_string();
    assert!(error.contains("it succeeded, but no node has this playctl:0.1.0"), "{error}");
}

/// What `docker save` makes, without layers.
fn image(reference: &str) -> Vec<u8> {
    let text = serde_json::json!([{"Config": "1.json", "RepoTags": [reference], "Layers": []}]).to_string();
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, "manifest.json", text.as_bytes()).unwrap();
    archive.into_inner().unwrap()
}

#[test]
fn only_a_node_that_can_go_is_taken_away() {
    let three = || nodes(&["", "m02", "m03"]);
    let stand_in = StandIn::new([
        (LIST.into(), three()),
        (LIST.into(), three()),
        (LIST.into(), three()),
        (LIST.into(), three()),
        (LIST.into(), nodes(&[""])),
    ]);
    let minikube = stand_in.quiet();
    assert_eq!(minikube.removable(None).unwrap(), "playground-m03");
    assert_eq!(minikube.removable(Some("m02")).unwrap(), "playground-m02");
    let error = minikube.removable(Some("playground")).unwrap_err().to_string();
    assert!(error.contains("is the control plane") && error.contains("playctl down"), "{error}");
    let error = minikube.removable(Some("m04")).unwrap_err().to_string();
    assert!(error.contains("no node m04") && error.contains("playground-m02, playground-m03"), "{error}");
    let error = minikube.removable(None).unwrap_err().to_string();
    assert!(error.contains("only its control plane is left"), "{error}");
}

#[test]
fn a_node_is_deleted_by_the_name_that_kubernetes_knows_and_looked_for() {
    let delete = ["node", "delete", "playground-m02", "--profile", "playground"];
    let stand_in = StandIn::new([
        (delete.as_slice().into(), Answer::out("")),
        (LIST.into(), nodes(&[""])),
        (delete.as_slice().into(), Answer::err(include_str!("recorded/node-delete-failed.txt")).status(80)),
        (delete.as_slice().into(), Answer::out("")),
        (LIST.into(), nodes(&["", "m02"])),
    ]);
    let minikube = stand_in.quiet();
    minikube.delete_node("playground-m02").unwrap();
    let error = minikube.delete_node("playground-m02").unwrap_err().to_string();
    assert!(error.contains("GUEST_NODE_DELETE") && error.contains("disagree"), "{error}");
    let error = minikube.delete_node("playground-m02").unwrap_err().to_string();
    assert!(error.contains("it succeeded, but the profile still has playground-m02"), "{error}");
}

#[test]
fn a_profile_is_deleted_and_looked_for() {
    let delete = ["delete", "--profile", "playground", "--output=json"];
    let stand_in = StandIn::new([
        (LIST.into(), nodes(&[""])),
        (delete.as_slice().into(), Answer::out("")),
        (LIST.into(), none()),
        (LIST.into(), none()),
        (LIST.into(), nodes(&[""])),
        (delete.as_slice().into(), Answer::out("")),
        (LIST.into(), nodes(&[""])),
    ]);
    let minikube = stand_in.quiet();
    assert!(minikube.delete().unwrap());
    assert!(!minikube.delete().unwrap(), "there is none any more");
    let error = minikube.delete().unwrap_err().to_string();
    assert!(error.contains("is still there"), "{error}");
}

#[test]
fn a_kubeconfig_that_was_named_is_the_one_that_minikube_writes() {
    let stand_in = StandIn::new([
        (LIST.into(), none()),
        (
            start(&["--nodes=2", "--cpus=4", "--memory=4096", "--cni=calico", "--addons=metrics-server"])
                .into(),
            Answer::out("").environment("KUBECONFIG=/some/where"),
        ),
        (LIST.into(), nodes(&[""])),
    ]);
    let options = Options { kubeconfig: Some("/some/where".into()), ..stand_in.options() };
    let minikube = Minikube::new(options, Arc::new(|_| ControlFlow::Continue(()))).unwrap();
    minikube.start(&Settings::default(), MACHINE).unwrap();
}

#[test]
fn without_minikube_it_is_said_where_to_get_it() {
    let options = Options {
        program: Some("/nowhere/minikube".into()),
        profile: "playground".to_owned(),
        ..Options::default()
    };
    let minikube = Minikube::new(options, Arc::new(|_| ControlFlow::Continue(()))).unwrap();
    let error = minikube.check().unwrap_err().to_string();
    assert!(error.contains("https://minikube.sigs.k8s.io/docs/start"), "{error}");
}

#[test]
fn a_name_that_minikube_would_refuse_is_refused_first() {
    for name in ["", "x", "-ab", "a b", "Ab", "../a"] {
        let options = Options { profile: name.to_owned(), ..Options::default() };
        let error = Minikube::new(options, Arc::new(|_| ControlFlow::Continue(()))).unwrap_err();
        assert!(matches!(error, MinikubeError::Usage(_)), "{name}: {error}");
    }
}

#[test]
fn who_does_not_want_to_wait_does_not() {
    let stand_in = StandIn::new([(LIST.into(), Answer::out("").stays())]);
    let stays = stand_in.path("stays");
    let minikube = stand_in
        .minikube(move |_| if stays.exists() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) });
    assert!(matches!(minikube.check(), Err(MinikubeError::Interrupted)));
    assert_eq!(
        std::fs::read_to_string(stand_in.path("ended")).unwrap(),
        "ended\n",
        "it was told, not killed"
    );
}
