//! Nodes that come and go while pods run on them. A stand-in makes the machine, as minikube does: a node that exists in the
//! API alone. What has to follow, and what holds a node that is to go, is the real controllers' doing.

use std::{fs, ops::ControlFlow, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc};

use cluster::{
    ClusterTarget,
    minikube::{Minikube, Options, Told},
};
use parking_lot::Mutex;
use platform::{EventKind, Target as _, TargetError, event::NodeState};
use serde_json::json;
use tempfile::TempDir;

use crate::world::{Namespace, Watched, until};

/// It knows the same calls; `$here/broken`: a machine that never joins.
const STAND_IN: &str = r#"#!/bin/sh
here=$(dirname "$0")
case "$1 $2" in
"profile list") cat "$here/profiles.json" ;;
"node add")
    [ -e "$here/broken" ] || kubectl apply -f "$here/node.json" >/dev/null || exit 1
    cp "$here/two.json" "$here/profiles.json" ;;
"node delete") kubectl delete node "$3" --ignore-not-found >/dev/null && cp "$here/one.json" "$here/profiles.json" ;;
*) echo "not expected: $*" >&2; exit 99 ;;
esac
"#;

/// The profile, which has the name of its namespace.
struct Machines {
    folder: TempDir,
    profile: String,
}

impl Machines {
    fn new(namespace: &Namespace) -> Self {
        let machines = Self { folder: tempfile::tempdir().unwrap(), profile: namespace.name().to_owned() };
        let name = machines.second();
        let node = json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "annotations": {"kwok.x-k8s.io/node": "fake"},
                "labels": {"type": "kwok", "lab": namespace.name(), "kubernetes.io/hostname": name,
                    "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}},
            "status": {"allocatable": {"cpu": "8", "memory": "32Gi", "pods": "110"},
                "capacity": {"cpu": "8", "memory": "32Gi", "pods": "110"}}});
        let profiles = |nodes: &[(&str, bool)]| {
            let node = |(name, control): &(&str, bool)| json!({"Name": name, "ControlPlane": control, "Worker": true});
            let nodes: Vec<_> = nodes.iter().map(node).collect();
            json!({"invalid": [], "valid": [{"Name": machines.profile, "Status": "OK",
                "Config": {"MultiNodeRequested": true, "KubernetesConfig": {"CNI": "calico"}, "Nodes": nodes}}]})
        };
        machines.write("node.json", &node.to_string());
        for name in ["one.json", "profiles.json"] {
            machines.write(name, &profiles(&[("", true)]).to_string());
        }
        machines.write("two.json", &profiles(&[("", true), ("m02", false)]).to_string());
        machines.write("minikube", STAND_IN);
        fs::set_permissions(machines.path("minikube"), fs::Permissions::from_mode(0o755)).unwrap();
        machines
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// As Kubernetes names it.
    fn second(&self) -> String {
        format!("{}-m02", self.profile)
    }

    /// The administrator; `breaks`: the words of a wait that is broken off.
    fn target(
        &self,
        namespace: &Namespace,
        breaks: Option<&'static str>,
    ) -> (ClusterTarget, Arc<Mutex<Vec<String>>>) {
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = Arc::clone(&told);
        let options = Options {
            program: Some(self.path("minikube")),
            profile: self.profile.clone(),
            kubeconfig: None,
            folder: self.path("kept"),
        };
        let on_told = move |told: Option<&Told>| {
            let Some(Told::Info(words)) = told else { return ControlFlow::Continue(()) };
            heard.lock().push(words.clone());
            if breaks.is_some_and(|breaks| words.contains(breaks)) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let minikube = Minikube::new(options, Arc::new(on_told)).unwrap();
        (namespace.admin().of_minikube(minikube), told)
    }
}

/// Two pods that would rather be on the new node, and what belongs on every node.
fn applications(namespace: &Namespace) {
    let rather = json!([{"weight": 100, "preference": {"matchExpressions":
        [{"key": "lab", "operator": "In", "values": [namespace.name()]}]}}]);
    let pod = |app: &str, affinity: &serde_json::Value| {
        json!({"metadata": {"labels": {"app": app}}, "spec": {"affinity": affinity,
            "containers": [{"name": "app", "image": "somebody/else:1"}]}})
    };
    namespace.put(&json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "chat"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "chat"}}, "template": pod("chat",
            &json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": rather}}))}}));
    namespace.put(&json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": pod("agent", &json!({}))}}));
    namespace.settled("chat", 2);
}

fn budget(namespace: &Namespace, available: u32) {
    namespace
        .put(&json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "chat"},
        "spec": {"minAvailable": available, "selector": {"matchLabels": {"app": "chat"}}}}));
}

fn node_is(events: &[EventKind], name: &str, is: NodeState) -> bool {
    let is_so = |event: &EventKind| matches!(event, EventKind::NodeChanged { node, state, .. } if node == name && *state == is);
    events.iter().any(is_so)
}

#[test]
fn a_node_joins_with_what_belongs_on_it_and_leaves_by_its_pods_budget() {
    let namespace = Namespace::new("nodes");
    let machines = Machines::new(&namespace);
    let name = machines.second();
    let (target, _) = machines.target(&namespace, None);
    let before = target.snapshot().unwrap().nodes;
    applications(&namespace);
    let watched = Watched::new(&target);

    let refused = target.remove_node(None).unwrap_err().to_string();
    assert!(refused.contains("only its control plane is left"), "{refused}");
    let added = target.add_node().unwrap();
    assert_eq!((added.name.as_str(), added.nodes), (name.as_str(), before + 1));
    assert!(added.follows.contains(&"agent".to_owned()), "{:?}", added.follows);
    watched.until("the node ready", |events| node_is(events, &name, NodeState::Ready));
    assert!(namespace.nodes_of("agent").contains(&name));
    for pod in namespace.pods("chat") {
        namespace.delete("v1", "Pod", &pod);
    }
    until("both pods on the new node", || (namespace.nodes_of("chat") == [&*name, &*name]).then_some(()));
    namespace.settled("chat", 2);

    // Both have to stay: the node is cordoned, and waits for its pods until somebody breaks that off.
    budget(&namespace, 2);
    let (impatient, told) = machines.target(&namespace, Some("disruption budget"));
    let held = impatient.remove_node(None).unwrap_err();
    assert!(matches!(held, TargetError::Interrupted), "{held:?}");
    let told = told.lock().join("\n");
    assert!(told.contains(&format!("node {name} is cordoned, but these pods stay")), "{told}");
    assert!(target.snapshot().unwrap().node_list.iter().any(|node| node.name == name && !node.schedulable));
    namespace.settled("chat", 2);

    // One at a time: nobody is without a pod, and what cannot stay goes before the machine does.
    budget(&namespace, 1);
    let removed = target.remove_node(Some("m02")).unwrap();
    assert_eq!((removed.name.as_str(), removed.nodes), (name.as_str(), before));
    watched.until("the node gone", |events| {
        node_is(events, &name, NodeState::Cordoned) && node_is(events, &name, NodeState::Gone)
    });
    namespace.settled("chat", 2);
    assert!(!namespace.nodes_of("chat").contains(&name));
    assert!(!target.snapshot().unwrap().node_list.iter().any(|node| node.name == name));
}

#[test]
fn a_node_that_never_joins_is_said_and_can_be_taken_away() {
    let namespace = Namespace::new("lost-node");
    let machines = Machines::new(&namespace);
    machines.write("broken", "");
    let (target, told) = machines.target(&namespace, Some("has not registered yet"));
    let error = target.add_node().unwrap_err();
    assert!(matches!(error, TargetError::Interrupted), "{error:?}");
    let waited = format!("node {}: it has not registered yet", machines.second());
    assert!(told.lock().contains(&waited), "{told:?}");
    // Kubernetes has never heard of it; minikube's entry goes.
    let removed = target.remove_node(None).unwrap();
    assert_eq!(removed.name, machines.second());
    let refused = target.remove_node(Some("m02")).unwrap_err().to_string();
    assert!(refused.contains("has no node m02; those that can go: none"), "{refused}");
}

/// A plain cluster's nodes are its operator's.
#[test]
fn nodes_of_a_plain_cluster_are_not_ours() {
    let namespace = Namespace::new("plain");
    let target = namespace.admin();
    for error in [target.add_node().unwrap_err(), target.remove_node(Some("kwok-1")).unwrap_err()] {
        let TargetError::Unsupported { what, why } = error else { panic!("{error:?}") };
        assert!(
            what.contains("a node of this cluster") && why.contains("playctl drain node/NAME"),
            "{what}: {why}"
        );
    }
    assert!(target.snapshot().unwrap().node_list.iter().any(|node| node.name == "kwok-1"));
}
