//! `--target minikube` from `up` to `down` against a real control plane and a real helm; only minikube itself is played:
//! what it would do to machines a script does to kwok's nodes (`infrastructure/testbed/test upminikube`).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// A profile is a file with its nodes, and each node one of kwok's. The context is that of the real control plane.
const MINIKUBE: &str = r#"
kubectl() { command kubectl --kubeconfig "$REAL" "$@"; }
machine() {
    kubectl apply -f - >&2 <<NODE
{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "$1", "annotations": {"kwok.x-k8s.io/node": "fake"},
 "labels": {"kubernetes.io/hostname": "$1", "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}},
 "status": {"allocatable": {"cpu": "8", "memory": "32Gi", "pods": "110"}, "capacity": {"cpu": "8", "memory": "32Gi", "pods": "110"}}}
NODE
}
name() { if [[ $1 == m01 ]]; then echo "$PROFILE"; else echo "$PROFILE-$1"; fi; }
echo "$*" >>"$HERE/calls"
case "$1 $2" in
"profile list")
    nodes=$(sed 's/.*/{"Name": "&", "ControlPlane": false}/; s/m01", "ControlPlane": false/", "ControlPlane": true/' "$HERE/nodes" 2>/dev/null | paste -sd,)
    config='"Memory": 4096, "CPUs": 2, "Driver": "docker", "MultiNodeRequested": true, "KubernetesConfig": {"CNI": "calico"}, "Addons": {"metrics-server": true}'
    if [[ -n $nodes ]]; then
        echo "{\"invalid\": [], \"valid\": [{\"Name\": \"$PROFILE\", \"Status\": \"OK\", \"Config\": {$config, \"Nodes\": [$nodes]}}]}"
    else
        echo '{"invalid": [], "valid": []}'
    fi ;;
"start --profile")
    for node in m01 m02; do machine "$(name $node)"; echo $node >>"$HERE/nodes"; done
    command kubectl --kubeconfig "$REAL" config view --raw --flatten --minify >"$KUBECONFIG"
    command kubectl --kubeconfig "$KUBECONFIG" config rename-context "$(command kubectl --kubeconfig "$KUBECONFIG" config current-context)" "$PROFILE" >&2 ;;
"node add")
    machine "$(name m03)" && echo m03 >>"$HERE/nodes" ;;
"node delete")
    kubectl get pods -A --field-selector "spec.nodeName=$3" -o json >"$HERE/left"
    kubectl delete node "$3" >&2 && sed -i "/^${3#"$PROFILE-"}\$/d" "$HERE/nodes" ;;
"image load") tar -xOf "${@: -1}" manifest.json | sed 's/.*sha256[/:]\([0-9a-f]*\).*"RepoTags":\["\([^"]*\)".*/[{"id": "\1", "repoTags": ["\2"]}]/' >"$HERE/images" ;;
"image ls") cat "$HERE/images" ;;
"delete --profile") while read -r node; do kubectl delete node "$(name "$node")" >&2; done <"$HERE/nodes"; rm "$HERE/nodes" ;;
"tunnel --profile") trap 'exit 0' INT; while :; do sleep 0.1; done ;;
"dashboard --url") echo http://127.0.0.1:1/dashboard; trap 'exit 0' INT; while :; do sleep 0.1; done ;;
*) echo "not played: $*" >&2; exit 14 ;;
esac
"#;

struct Lab {
    profile: String,
    folder: tempfile::TempDir,
    real: PathBuf,
}

impl Lab {
    fn new() -> Self {
        let real =
            env::var_os("KUBECONFIG").expect("run this by infrastructure/testbed/test upminikube").into();
        let folder = tempfile::tempdir().unwrap();
        let profile = format!("mini-{}", &uuid::Uuid::new_v4().simple().to_string()[..6]);
        let lab = Self { profile, folder, real };
        let text = format!(
            "#!/usr/bin/env bash\nset -e\nHERE={} PROFILE={} REAL={}\n{MINIKUBE}",
            lab.path("").display(),
            lab.profile,
            lab.real.display()
        );
        fs::create_dir_all(lab.path("bin")).unwrap();
        fs::write(lab.path("bin/minikube"), text).unwrap();
        fs::set_permissions(lab.path("bin/minikube"), fs::Permissions::from_mode(0o755)).unwrap();
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([self.path("bin")].into_iter().chain(env::split_paths(&path))).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_playctl"));
        command.args(["--target", "minikube", "--platform", &self.profile]).args(arguments);
        command
            .env("PATH", path)
            .env("KUBECONFIG", self.path("kubeconfig"))
            .env("XDG_STATE_HOME", self.path("state"));
        command.stdin(Stdio::null()).output().unwrap()
    }

    fn ok(&self, arguments: &[&str]) -> (String, String) {
        let output = self.run(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {out}{err}");
        (out, err)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let (out, _) = self.ok(&[&["--output", "json"], arguments].concat());
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    fn kubectl(&self, arguments: &[&str]) {
        let mut kubectl = Command::new("kubectl");
        kubectl.arg("--kubeconfig").arg(&self.real).args(arguments);
        assert!(kubectl.status().unwrap().success(), "{arguments:?}");
    }

    fn calls(&self, beginning: &str) -> usize {
        let calls = fs::read_to_string(self.path("calls")).unwrap();
        calls.lines().filter(|call| call.starts_with(beginning)).count()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Whatever went wrong: no node, tunnel or release is left behind.
        self.run(&["down", "--keep-cluster"]);
        self.run(&["down"]);
    }
}

fn process(file: &Path) -> Option<String> {
    let pid = fs::read_to_string(file).ok()?;
    fs::read_to_string(format!("/proc/{}/cmdline", pid.trim())).ok()
}

#[test]
fn a_profile_goes_up_gets_a_node_loses_it_drained_and_goes_down() {
    let lab = Lab::new();
    let small = [
        "--set",
        "prometheus.enabled=false,cadvisor.enabled=false,udp.enabled=false,tcp.autoscaling.metrics=null,\
         tcp.autoscaling=null,tcp.replicas=2",
        "--timeout",
        "100s",
        "--kubernetes-dashboard",
    ];
    let planned = lab.ok(&[&["up", "--dry-run"], &small[..]].concat()).0;
    assert!(planned.contains("would be run: minikube start --profile mini-"), "{planned}");
    assert_eq!(lab.calls("start"), 0);

    let (out, err) = lab.ok(&[&["up"], &small[..]].concat());
    for part in
        ["minikube profile mini-", " made; 2 nodes", "is loaded into every node", "minikube tunnel is open"]
    {
        assert!(err.contains(part), "{part}: {err}");
    }
    assert!(out.contains("is up after") && out.contains("Kubernetes' dashboard: "), "{out}");
    let kept = lab.path("state/playctl-minikube").join(&lab.profile);
    for keep in ["tunnel", "dashboard"] {
        assert!(
            process(&kept.join(format!("{keep}.child"))).is_some_and(|it| it.contains("minikube")),
            "{keep}"
        );
    }

    let (out, err) = lab.ok(&[&["up"], &small[..]].concat());
    assert!(out.contains("nothing changed") && err.contains("is there already"), "{out}{err}");
    assert_eq!(
        (lab.calls("start"), lab.calls("image load"), lab.calls("tunnel")),
        (1, 1, 1),
        "all of it was there"
    );

    let status = lab.json(&["status"]);
    assert_eq!(status["services"][0]["name"], "tcp");
    let added = lab.json(&["node", "add"]);
    let name = format!("{}-m03", lab.profile);
    assert_eq!(added["name"], name.as_str());
    assert!(added["follows"].as_array().unwrap().contains(&"envoy-gateway".into()), "{added}");
    assert_eq!(lab.calls("image load"), 2, "a new node gets the image");

    let overrides = format!(r#"{{"spec": {{"nodeName": "{name}", "terminationGracePeriodSeconds": 1}}}}"#);
    lab.kubectl(&["run", "lonely", "-n", &lab.profile, "--image=x", "--overrides", &overrides]);
    let removed = lab.json(&["node", "remove"]);
    assert_eq!(removed["name"], name.as_str());
    let left: Value = serde_json::from_slice(&fs::read(lab.path("left")).unwrap()).unwrap();
    let owners =
        left["items"].as_array().unwrap().iter().map(|pod| &pod["metadata"]["ownerReferences"][0]["kind"]);
    let owners: Vec<&Value> = owners.collect();
    assert!(
        owners.iter().all(|owner| **owner == "DaemonSet"),
        "drained before minikube was told: {owners:?}"
    );

    let (out, _) = lab.ok(&["down", "--keep-cluster"]);
    assert!(out.contains("nothing is left"), "{out}");
    assert!(!kept.join("tunnel.child").exists() && lab.path("nodes").exists());
    let (out, _) = lab.ok(&["down"]);
    assert!(
        out.contains("is deleted; nothing is left") && !lab.path("nodes").exists() && !kept.exists(),
        "{out}"
    );
}
