//! `up`, `down` and `diagnose` of a platform in a cluster, against a real control plane and a real helm:
//! `infrastructure/testbed/test install`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod balancer;
mod lab;

use std::{collections::BTreeSet, fs, io::Read as _};

use lab::{Lab, SMALL, until};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Stops the real helm in the middle of its work, says so, and forwards Ctrl-C to it. At one request per second, that
/// middle lasts long enough to be noticed by a watch; on a busy machine, helm would end before a second poll.
const STOPPED: &str = r#"
exec 3< <(exec kubectl get secrets -n "$NAMESPACE" -l owner=helm,status=pending-install -o name --watch)
watcher=$!
HELM_QPS=1 HELM_BURST_LIMIT=1 "$HELM" "$@" &
helm=$!
trap 'kill $watcher $helm 2>/dev/null' EXIT
trap 'kill -INT $helm; kill -CONT $helm; wait $helm; exit $?' INT
for _ in {1..120}; do
    status=0
    read -r -t 1 _ <&3 || status=$?
    ((status > 128)) && kill -0 $helm 2>/dev/null && kill -0 $watcher 2>/dev/null || break
done
((status == 0)) || exit 1
kill -STOP $helm
kill $watcher
echo $$ $helm >"$HERE/stopped.part" && mv "$HERE/stopped.part" "$HERE/stopped"
while kill -0 $helm 2>/dev/null; do sleep 0.1; done
wait $helm
"#;

/// Everything in the minikube preset, including cluster-wide objects: no other test may use those.
#[test]
fn all_of_the_chart_goes_up_changes_and_goes_away_again() {
    let lab = Lab::new("all");
    let preset = ["-f", "minikube", "--set", "envoy.externalIPs={192.0.2.1}", "--timeout", "100s"];
    let up = |more: &[&str]| lab.run(&[&["--output", "json", "up"], &preset[..], more].concat());
    let places = [lab.namespace.as_str(), "monitoring", "cadvisor"];

    let planned = up(&["--dry-run"]).json();
    assert_eq!(planned["action"], "install");
    let creates = planned["changes"].as_array().unwrap();
    assert!(creates.iter().all(|change| change["what"] == "create"), "{planned:#}");
    let position = |kind: &str| creates.iter().position(|change| change["object"]["kind"] == kind).unwrap();
    assert_eq!((position("Namespace"), creates[0]["by"].as_str()), (0, Some("playctl")));
    assert!(position("Secret") < position("ConfigMap") && position("ConfigMap") < position("Deployment"));
    assert!(planned["requests"]["cpu_milli"].as_i64().unwrap() > 2000, "{planned:#}");
    assert!(lab.get("namespace", &lab.namespace).is_none(), "a dry run changes nothing");

    let installed = up(&[]).json();
    assert_eq!(installed["plan"]["action"], "install");
    assert_eq!(installed["plan"]["changes"], planned["changes"]);
    assert_eq!(installed["pods"], planned["requests"]["pods"], "{installed:#}");
    assert_eq!(installed["endpoints"][0], "tcp 192.0.2.1:10000/TCP");
    // Nothing runs on these nodes that could say what it knows.
    let is_unknown =
        |installed: &Value| installed["notes"].to_string().contains("whether the gateways know the replicas");
    assert!(is_unknown(&installed), "{installed:#}");
    assert_eq!(lab.status(), "deployed");
    let secret = lab.get("secret", "playground-kafka-user-passwords").unwrap();
    let password = secret["data"]["client-passwords"].as_str().unwrap().to_owned();
    assert!(password.len() > 40 && !installed.to_string().contains(&password));

    let before = lab.written(&places);
    let again = up(&[]).json();
    assert_eq!((&again["plan"]["action"], &again["plan"]["changes"]), (&json!("nothing"), &json!([])));
    assert_eq!(lab.written(&places), before, "nothing is written");
    assert!(!is_unknown(&again), "by now the gateways have had the time: {again:#}");

    let changed = ["--set", "tcp.env.BUFF_SIZE=900,udp.enabled=false,tcp.podAnnotations.a=b"];
    let planned = up(&[&changed[..], &["--dry-run"]].concat()).json();
    assert_eq!(lab.written(&places), before, "a dry run changes nothing");
    assert_eq!(planned["action"], "upgrade");
    let field =
        field(&planned, "Deployment", "tcp", "spec.template.spec.containers[tcp].env[BUFF_SIZE].value");
    assert_eq!((&field["old"], &field["new"]), (&json!("512"), &json!("900")));
    let removed: BTreeSet<String> = objects(&planned, "remove");
    assert!(
        removed.contains("Deployment udp") && removed.contains("HorizontalPodAutoscaler udp"),
        "{removed:?}"
    );
    let installed = up(&changed).json();
    assert_eq!(installed["plan"]["changes"], planned["changes"]);
    let deployment = lab.get("deployment", "tcp").unwrap();
    assert_eq!(deployment["spec"]["template"]["metadata"]["annotations"]["a"], "b");
    assert!(lab.get("deployment", "udp").is_none());
    let secret = lab.get("secret", "playground-kafka-user-passwords").unwrap();
    assert_eq!(secret["data"]["client-passwords"], password, "passwords stay");

    let bundle = lab.folder().join("bundle.tar.gz");
    lab.run(&["diagnose", "-o", bundle.to_str().unwrap()]).ok();
    diagnosed(&bundle, &password);

    let said = lab.run(&["down"]).ok();
    assert!(said.contains("nothing is left"), "{said}");
    // Other tests have releases of this name in their own namespaces, and no cluster-wide objects.
    assert_eq!(lab.labelled("kube-system", "app.kubernetes.io/instance=playground"), Vec::<String>::new());
    for place in places {
        assert!(lab.get("namespace", place).is_none(), "{place}");
    }
    let again = lab.run(&["down"]).ok();
    assert!(again.contains("there is no playground"), "{again}");
}

/// The bundle has useful data, and no secrets.
fn diagnosed(bundle: &std::path::Path, password: &str) {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(fs::File::open(bundle).unwrap()));
    let mut names = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_string_lossy().into_owned();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        assert!(!text.contains(password), "{name}");
        names.push(name.split_once('/').unwrap().1.to_owned());
    }
    for wanted in [
        "versions.json",
        "release/release.json",
        "release/values.json",
        "PROBLEMS.txt",
        "objects/cluster/nodes.json",
    ] {
        assert!(names.iter().any(|name| name == wanted), "{wanted} is missing in {names:?}");
    }
    for part in ["/deployments.apps.json", "/secrets.json", "events/", "objects/monitoring/"] {
        assert!(names.iter().any(|name| name.contains(part)), "{part} is missing in {names:?}");
    }
}

fn field(plan: &Value, kind: &str, name: &str, path: &str) -> Value {
    let changes = plan["changes"].as_array().unwrap();
    let object = changes.iter().find(|one| one["object"]["kind"] == kind && one["object"]["name"] == name);
    let fields = object.unwrap_or_else(|| panic!("{plan:#}"))["fields"].as_array().unwrap();
    fields.iter().find(|field| field["path"] == path).unwrap_or_else(|| panic!("{fields:#?}")).clone()
}

fn objects(plan: &Value, what: &str) -> BTreeSet<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let changes = plan["changes"].as_array().unwrap().iter().filter(|change| change["what"] == what);
    changes.map(|one| format!("{} {}", text(&one["object"]["kind"]), text(&one["object"]["name"]))).collect()
}

#[test]
fn what_failed_is_explained_and_continued() {
    let lab = Lab::new("failed");
    lab.create_namespace();
    lab.apply(&[json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"},
        "spec": {"hard": {"count/statefulsets.apps": "0"}}})]);
    until("the quota", || lab.get("resourcequota", "none")?["status"]["hard"].as_object().cloned());
    lab.up(&[]).failed(
        4,
        &["exceeded quota", "A ResourceQuota of the namespace is used up", "playctl --target cluster"],
    );
    assert_eq!(lab.status(), "failed");
    lab.kubectl(&["delete", "resourcequota", "none"]).ok();
    let installed = lab.up(&["--output", "json"]).json();
    assert_eq!(installed["plan"]["action"], "repair");
    assert_eq!(lab.status(), "deployed");

    // Objects that were deleted or changed by hand are repaired.
    lab.kubectl(&["delete", "service", "tcp"]).ok();
    lab.kubectl(&["set", "env", "deployment/tcp", "BUFF_SIZE=7"]).ok();
    lab.kubectl(&["delete", "secret", "playground-kafka-user-passwords"]).ok();
    let repaired = lab.up(&["--output", "json"]).json();
    assert_eq!(
        objects(&repaired["plan"], "create"),
        ["Secret playground-kafka-user-passwords", "Service tcp"].map(str::to_owned).into()
    );
    assert_eq!(objects(&repaired["plan"], "change"), ["Deployment tcp"].map(str::to_owned).into());
    let again = lab.up(&[]).ok();
    assert!(again.contains("nothing changed"), "{again}");
    let page = again.lines().find_map(|line| line.strip_prefix("  dashboard ")).unwrap().trim();
    let whole = |page: &str| page.contains("--target cluster") && page.contains(&lab.namespace);
    assert!(page.starts_with("playctl ") && page.ends_with(" dashboard") && whole(page), "{again}");

    // A namespace that playctl did not create stays.
    lab.run(&["down"]).ok();
    let namespace = lab.get("namespace", &lab.namespace).unwrap();
    assert!(namespace["metadata"]["deletionTimestamp"].is_null());
    assert_eq!(lab.status(), "");
    assert!(lab.get("secret", "playground-kafka-user-passwords").is_none());
}

#[test]
fn fields_that_cannot_change_and_objects_of_others_are_named_before_anything_is_changed() {
    let lab = Lab::new("others");
    lab.create_namespace();
    lab.apply(&[json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tcp", "labels": {"of": "somebody"}}})]);
    lab.up(&[]).failed(4, &["ServiceAccount", "/tcp exists already", "kubectl wrote it", "--take-ownership"]);
    assert_eq!(lab.status(), "", "nothing was changed");
    lab.up(&["--take-ownership"]).ok();

    let mut service = lab.get("service", "tcp").unwrap();
    lab.kubectl(&["delete", "service", "tcp"]).ok();
    let spec = service["spec"].as_object_mut().unwrap();
    for key in ["clusterIP", "clusterIPs"] {
        spec.remove(key);
    }
    let meta = &service["metadata"];
    lab.apply(&[json!({"apiVersion": "v1", "kind": "Service", "spec": service["spec"],
        "metadata": {"name": "tcp", "labels": meta["labels"], "annotations": meta["annotations"]}})]);
    let said = lab.up(&[]).failed(
        4,
        &["Service", "/tcp cannot be changed to what the chart wants", "clusterIP", "delete service tcp"],
    );
    assert!(!said.contains("cascade"), "{said}");
    lab.kubectl(&["delete", "service", "tcp"]).ok();
    lab.up(&[]).ok();

    // Where the API server cannot say what would change, Helm's notes do.
    let webhook = format!("broken-{}", lab.namespace);
    lab.apply(&[json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": webhook}, "webhooks": [{"name": "broken.example.com", "admissionReviewVersions": ["v1"],
            "sideEffects": "None", "failurePolicy": "Fail", "clientConfig": {"url": "https://127.0.0.1:1/"},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": lab.namespace}},
            "rules": [{"apiGroups": ["autoscaling"], "apiVersions": ["*"], "resources": ["horizontalpodautoscalers"],
                "operations": ["UPDATE"]}]}]})]);
    until("the webhook", || {
        let annotated = lab.kubectl(&["annotate", "--dry-run=server", "hpa", "tcp", "a=b"]);
        (annotated.code != Some(0)).then_some(())
    });
    let said = lab.up(&["--dry-run", "--set", "tcp.autoscaling.maxReplicas=3"]).ok();
    assert!(said.contains("spec.maxReplicas  5 → 3") && said.contains("could not be compared"), "{said}");
    assert!(lab.up(&["--dry-run"]).ok().contains("0 to create, 0 to change"));
    lab.kubectl(&["delete", "validatingwebhookconfiguration", &webhook]).ok();

    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "applications.argoproj.io"},
        "spec": {"group": "argoproj.io", "scope": "Namespaced",
            "names": {"kind": "Application", "plural": "applications", "singular": "application"},
            "versions": [{"name": "v1alpha1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
    lab.apply(&[crd]);
    let application = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": "playground"},
        "spec": {"destination": {"namespace": lab.namespace}, "source": {"helm": {"releaseName": "playground"}}}});
    until("applications", || (lab.kubectl(&["get", "applications"]).code == Some(0)).then_some(()));
    lab.apply(&[application]);
    let name = format!("Argo CD's application {}/playground manages this platform", lab.namespace);
    lab.up(&["--set", "tcp.env.BUFF_SIZE=7"]).failed(4, &[&name, "argocd remove --keep-objects"]);
    lab.run(&["down"]).failed(1, &[&name]);
    lab.kubectl(&["delete", "application", "playground"]).ok();
    lab.run(&["down"]).ok();
}

#[test]
fn permissions_that_are_missing_are_named() {
    let lab = Lab::new("rights");
    lab.create_namespace();
    let rbac = "rbac.authorization.k8s.io";
    let rules = json!([
        {"apiGroups": [""], "resources": ["secrets", "services", "serviceaccounts", "configmaps", "pods"], "verbs": ["*"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]},
    ]);
    lab.apply(&[
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "half"}}),
        json!({"apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": {"name": "half"}, "rules": rules}),
        json!({"apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": {"name": "half"},
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "half"},
            "subjects": [{"kind": "ServiceAccount", "name": "half", "namespace": lab.namespace}]}),
    ]);
    let file = lab.log_in("half");
    let here = format!("in namespace {}", lab.namespace);
    lab.up(&["--kubeconfig", file.to_str().unwrap()]).failed(
        4,
        &[
            "nothing was changed",
            &format!("not allowed to create, patch, delete deployments.apps {here}"),
            &format!("statefulsets.apps {here}"),
            &format!("networkpolicies.networking.k8s.io {here}"),
        ],
    );
    assert_eq!(lab.status(), "");
    let claims = ["--dry-run", "--set", "kafka.storage.size=1Gi"];
    let dry = lab.up(&[&["--kubeconfig", file.to_str().unwrap()], &claims[..]].concat());
    assert!(dry.out.contains("not allowed to list StorageClasses"), "{dry:?}");
    assert!(!dry.failed(4, &[]).contains("StorageClass"), "what it may not see is no reason to refuse");
}

#[test]
fn a_namespace_that_cannot_be_inspected_stays() {
    let lab = Lab::new("unseen");
    lab.up(&[]).ok();
    let group = format!("{}.example.com", lab.namespace);
    let things = format!("things.{group}");
    lab.apply(&[json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": things},
        "spec": {"group": group, "scope": "Namespaced", "names": {"kind": "Thing", "plural": "things", "singular": "thing"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}})]);
    until("things", || (lab.kubectl(&["get", &things]).code == Some(0)).then_some(()));
    lab.apply(&[json!({"apiVersion": format!("{group}/v1"), "kind": "Thing", "metadata": {"name": "dear"}})]);
    // Everything but things.
    let groups = [
        "",
        "apps",
        "autoscaling",
        "batch",
        "policy",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "networking.k8s.io",
        "rbac.authorization.k8s.io",
        "apiregistration.k8s.io",
        "apiextensions.k8s.io",
        "storage.k8s.io",
        "resource.k8s.io",
    ];
    let rbac = "rbac.authorization.k8s.io";
    let name = format!("limited-{}", lab.namespace);
    lab.apply(&[
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "limited"}}),
        json!({"apiVersion": format!("{rbac}/v1"), "kind": "ClusterRole", "metadata": {"name": name},
            "rules": [{"apiGroups": groups, "resources": ["*"], "verbs": ["*"]}]}),
        json!({"apiVersion": format!("{rbac}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "limited", "namespace": lab.namespace}]}),
    ]);
    let file = lab.log_in("limited");
    let said = lab.run(&["down", "--kubeconfig", file.to_str().unwrap()]).ok();
    for words in
        ["could not look whether any of these is left", "stays, because it may hold objects", &things]
    {
        assert!(said.contains(words), "{words} is missing in {said}");
    }
    assert_eq!(lab.status(), "");
    assert!(lab.get(&things, "dear").unwrap()["metadata"]["deletionTimestamp"].is_null());

    let said = lab.run(&["down"]).ok();
    assert!(said.contains("holds other objects") && said.contains("/dear"), "{said}");
    lab.kubectl(&["delete", "crd", &things]).ok();
    lab.kubectl(&["delete", "serviceaccount", "limited"]).ok();
    lab.kubectl(&["delete", "clusterrole,clusterrolebinding", &name]).ok();
    lab.run(&["down"]).ok();
    assert!(lab.get("namespace", &lab.namespace).is_none());
}

#[test]
fn the_second_of_two_concurrent_ups_says_so_and_does_no_harm() {
    let lab = Lab::new("two");
    let script =
        r#"echo here >"$HERE/waits"; until [[ -e $HERE/go ]]; do sleep 0.05; done; exec "$HELM" "$@""#;
    let first = lab.up_with_helm(script, &[]);
    lab.file("waits");
    lab.up(&[])
        .failed(4, &["playctl up (process", "is at work on release playground", "nothing was changed"]);
    lab.run(&["down"]).failed(1, &["is at work on release playground"]);
    lab.touch("go");
    let ran = first.end();
    assert!(ran.err.contains("namespace two-"), "{ran:?}");
    ran.ok();
    assert_eq!(lab.status(), "deployed");
    assert!(lab.get("lease", "playctl-playground").is_none(), "it is given back");
    lab.run(&["down"]).ok();
    assert!(lab.get("namespace", &lab.namespace).is_none());
}

#[test]
fn ctrl_c_says_what_was_installed_and_the_next_up_continues() {
    let lab = Lab::new("ctrl-c");
    let script = format!("NAMESPACE={}\n{STOPPED}", lab.namespace);
    let up = lab.up_with_helm(&script, &[]);
    lab.file("stopped");
    up.signal(Signal::INT);
    up.end()
        .failed(130, &["interrupted: revision 1 of release playground is failed", "continue with", "down"]);
    assert_eq!(lab.status(), "failed");
    let installed = lab.up(&["--output", "json"]).json();
    assert_eq!(installed["plan"]["action"], "repair");
    assert_eq!(lab.status(), "deployed");
    lab.run(&["down"]).ok();
}

#[test]
fn an_up_that_was_killed_is_continued() {
    let lab = Lab::new("killed");
    let script = format!("NAMESPACE={}\n{STOPPED}", lab.namespace);
    let up = lab.up_with_helm(&script, &[]);
    let pids = lab.file("stopped");
    up.signal(Signal::KILL);
    // The script, then the helm that it started. They have not been reaped, so the pids are still theirs.
    for pid in pids.split_whitespace() {
        let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
    }
    up.end();
    assert_eq!(lab.status(), "pending-install");
    let ran = lab.up(&[]);
    assert!(ran.err.contains("revision 1 was interrupted (pending-install): continuing it"), "{ran:?}");
    ran.ok();
    assert_eq!(lab.status(), "deployed");
    assert!(lab.up(&[]).ok().contains("nothing changed"));
    lab.run(&["down"]).ok();
    assert!(lab.get("namespace", &lab.namespace).is_none());
}

/// Runs only by name, because the other tests need the API server.
#[test]
fn up_survives_an_api_server_that_is_killed_in_the_middle() {
    let lab = Lab::new("api-server");
    let script = format!("NAMESPACE={}\n{STOPPED}", lab.namespace);
    let up = lab.up_with_helm(&script, &[]);
    let pids = lab.file("stopped");
    let folder = std::env::var("KUBERNETES_RUN").unwrap();
    let kill = |pid: &str, signal| {
        let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    };
    kill(&fs::read_to_string(format!("{folder}/apiserver.pid")).unwrap(), Signal::KILL);
    kill(pids.split_whitespace().nth(1).unwrap(), Signal::CONT);
    let ran = up.end();
    // The testbed restarts it at once; helm may or may not outlast that.
    if ran.code != Some(0) {
        ran.failed(4, &["API server no longer answers", "playctl --target cluster"]);
    }
    until("the API server", || (lab.kubectl(&["get", "--raw", "/readyz"]).code == Some(0)).then_some(()));
    lab.up(&[]).ok();
    assert_eq!(lab.status(), "deployed");
    lab.run(&["down"]).ok();
}

#[test]
fn a_namespace_that_does_not_end_is_explained() {
    let lab = Lab::new("stuck");
    lab.create_namespace();
    lab.apply(&[json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held", "finalizers": ["example.com/hold"]}})]);
    lab.kubectl(&["delete", "namespace", &lab.namespace, "--wait=false"]).ok();
    until("the condition", || {
        lab.get("namespace", &lab.namespace)?.to_string().contains("finalizers remaining").then_some(())
    });
    lab.up(&[]).failed(4, &["does not finish terminating", "example.com/hold", "finalizers"]);
    lab.kubectl(&[
        "patch",
        "configmap",
        "held",
        "--type",
        "merge",
        "-p",
        r#"{"metadata":{"finalizers":null}}"#,
    ])
    .ok();
    until("the namespace gone", || lab.get("namespace", &lab.namespace).is_none().then_some(()));
    lab.up(&[]).ok();
    lab.run(&["down"]).ok();
}

#[test]
fn pods_that_do_not_become_ready_say_why() {
    let lab = Lab::new("why");
    let class = format!("nobody-provides-{}", lab.namespace);
    let storage = format!("kafka.storage.size=1Gi,kafka.storage.storageClass={class}");
    let claim = ["--set", storage.as_str(), "--timeout", "8s"];
    let up = [&["up"], &SMALL[..2], &claim[..]].concat();
    // Nothing would ever make the volume: that is said before anything is changed.
    let needs = format!("its claim data-playground-kafka-0 needs StorageClass {class}");
    lab.run(&up).failed(4, &[&needs, "--set kafka.storage.size="]);
    assert!(lab.get("namespace", &lab.namespace).is_none());
    lab.apply(&[
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": class},
        "provisioner": "example.com/nobody"}),
    ]);
    lab.run(&up).failed(
        4,
        &[
            "StatefulSet playground-kafka has 0 of 1",
            "playground-kafka-0: no node takes it",
            "PersistentVolumeClaim",
            "claim data-playground-kafka-0: Pending",
        ],
    );
    // Helm would remove the claim, which Kubernetes does not allow. That is reported before anything is changed.
    let refused =
        ["StatefulSet", "cannot be changed to what the chart wants", "delete statefulset playground-kafka"];
    let dry = lab.up(&["--dry-run"]);
    assert!(dry.out.contains("cannot be changed as requested"), "{dry:?}");
    dry.failed(4, &refused);
    lab.up(&[]).failed(4, &refused);
    assert_eq!(lab.status(), "deployed");
    // Once there is a volume, the same `up` finds everything ready.
    let volume = format!("volume-{}", lab.namespace);
    lab.apply(&[json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": "/nowhere"},
            "claimRef": {"namespace": lab.namespace, "name": "data-playground-kafka-0"}}})]);
    let again = lab.run(&[&["up"], &SMALL[..2], &claim[..2], &SMALL[2..]].concat()).ok();
    assert!(again.contains("nothing changed"), "{again}");
    // A lack of room is reported before anything is changed.
    let large = ["--set", "tcp.resources.requests.cpu=9000m,tcp.resources.limits.cpu=9000m"];
    lab.up(&[&large[..], &["--dry-run"]].concat()).failed(
        4,
        &["no node has room for a pod of Deployment tcp, which requests 9 CPU", "--ignore-capacity"],
    );
    lab.run(&["down"]).failed(5, &["this is left", &format!("PersistentVolume {volume}"), "Retain"]);
    lab.kubectl(&["delete", "persistentvolume", &volume]).ok();
    lab.kubectl(&["delete", "storageclass", &class]).ok();
    lab.run(&["down"]).ok();
    assert!(lab.get("namespace", &lab.namespace).is_none());
}
