//! Argo CD where there is none: the controllers of this manifest are pods that kwok pretends, so nobody looks at what is
//! registered. `infrastructure/testbed/test argocd` has the real ones.

use std::{fs, ops::ControlFlow, path::Path, time::Duration};

use cluster::argocd::{ArgoCd, Outcome, Register, Registered, Step};
use platform::TargetError;
use serde_json::{Value, json};

use crate::world::Namespace;

/// What of the official manifest matters to its installation.
fn manifest(selector: &Value) -> String {
    let rbac = "rbac.authorization.k8s.io/v1";
    let labels = |name: &str| json!({"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "argocd"});
    let definition = |kind: &str, plural: &str| {
        let schema =
            json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.argoproj.io")},
            "spec": {"group": "argoproj.io", "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
                "versions": [{"name": "v1alpha1", "served": true, "storage": true, "schema": schema}]},
        })
    };
    let workload = |kind: &str, name: &str, selector: &Value| {
        json!({
            "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "labels": labels(name)},
            "spec": {"selector": {"matchLabels": {"app.kubernetes.io/name": name}},
                "template": {"metadata": {"labels": labels(name)},
                    "spec": {"nodeSelector": selector, "containers": [{"name": "it", "image": "argocd"}]}}},
        })
    };
    let objects = [
        workload("Deployment", "argocd-repo-server", selector),
        workload("StatefulSet", "argocd-application-controller", &json!({})),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm", "labels": labels("argocd-cm")},
            "data": {"theirs": "stays"}}),
        json!({"apiVersion": rbac, "kind": "ClusterRoleBinding", "metadata": {"name": "test-argocd"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "argocd"}]}),
        definition("Application", "applications"),
        definition("AppProject", "appprojects"),
    ];
    objects.map(|object| object.to_string()).join("\n---\n")
}

fn wanted(manifest: Option<&Path>) -> Register {
    Register {
        repo: Some("https://host.example/lab/playctl.git".to_owned()),
        revision: Some("main".to_owned()),
        ssh_key_file: None,
        check: false,
        image_tag: None,
        presets: None,
        set: Vec::new(),
        set_string: Vec::new(),
        auto_sync: None,
        prune: None,
        self_heal: None,
        secrets: true,
        take_over: false,
        install: manifest.map(|file| file.display().to_string()),
        wait: false,
        timeout: Duration::from_mins(3),
    }
}

fn register(argocd: &ArgoCd, wanted: &Register) -> Result<Registered, TargetError> {
    argocd.register(wanted, &mut |_: &Step| ControlFlow::Continue(()))
}

#[test]
fn argo_cd_is_installed_from_a_manifest_and_registering_again_changes_nothing() {
    let namespace = Namespace::new("gitops");
    let argocd = ArgoCd::connect(&namespace.options_of_admin(), namespace.name(), None).unwrap();
    let error = register(&argocd, &wanted(None)).unwrap_err().to_string();
    assert!(error.contains("Argo CD is not installed") && error.contains("--install"), "{error}");
    let error = argocd.status(&mut |_: &Step| ControlFlow::Continue(())).unwrap_err().to_string();
    assert!(error.contains("Argo CD is not installed"), "{error}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("install.yaml");
    fs::write(&file, manifest(&json!({"kubernetes.io/hostname": "nowhere"}))).unwrap();
    let hasty = Register { timeout: Duration::from_secs(5), ..wanted(Some(&file)) };
    let error = register(&argocd, &hasty).unwrap_err().to_string();
    for word in ["installed, but not ready", "Deployment", "argocd-repo-server", "no node takes it"] {
        assert!(error.contains(word), "{word} is missing in: {error}");
    }

    fs::write(&file, manifest(&json!({}))).unwrap();
    let registered = register(&argocd, &wanted(Some(&file))).unwrap();
    let outcome = |registered: &Registered, kind: &str, name: &str| {
        let found = registered.objects.iter().rfind(|put| put.object.kind == kind && put.object.name == name);
        found.map(|put| put.outcome)
    };
    let of = |kind: &str, name: &str| outcome(&registered, kind, name);
    assert_eq!(of("Deployment", "argocd-repo-server"), Some(Outcome::Changed), "it was continued");
    assert_eq!(of("CustomResourceDefinition", "applications.argoproj.io"), Some(Outcome::Unchanged));
    assert_eq!(of("Application", "playground-apps"), Some(Outcome::Created));
    assert_eq!(of("AppProject", "playground-apps"), Some(Outcome::Created));
    assert_eq!(of("Secret", "playground-kafka-user-passwords"), Some(Outcome::Created));
    assert_eq!(namespace.data("ConfigMap", "argocd-cm")["theirs"], "stays");

    let again = register(&argocd, &wanted(Some(&file))).unwrap();
    assert!(again.is_unchanged(), "{again:#?}");
    let without = register(&argocd, &wanted(None)).unwrap();
    assert!(without.is_unchanged(), "{without:#?}");

    let waits = Register { wait: true, timeout: Duration::from_secs(3), ..wanted(None) };
    let error = register(&argocd, &waits).unwrap_err().to_string();
    assert!(error.contains("is its application controller running"), "{error}");
    let stopped = argocd.register(&Register { wait: true, ..wanted(None) }, &mut |step: &Step| match step {
        Step::Waiting => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    assert_eq!(stopped, Err(TargetError::Interrupted));

    // A key of the configuration that somebody else set differently is theirs.
    let key = "resource.customizations.health.argoproj.io_Application";
    namespace.patch("ConfigMap", "argocd-cm", &json!({"data": {key: "return {}"}}));
    let mut notes = Vec::new();
    let outcome = argocd.register(&wanted(None), &mut |step: &Step| {
        if let Step::Note { text } = step {
            notes.push(text.clone());
        }
        ControlFlow::Continue(())
    });
    outcome.unwrap();
    assert!(notes.iter().any(|note| note.contains(key) && note.contains("stays")), "{notes:?}");
    assert_eq!(namespace.data("ConfigMap", "argocd-cm")[key], "return {}");

    let removed =
        argocd.remove(true, Duration::from_mins(3), &mut |_: &Step| ControlFlow::Continue(())).unwrap();
    assert!(removed.removed.iter().any(|one| one.name == "playground-apps"), "{removed:?}");
    let error = argocd.status(&mut |_: &Step| ControlFlow::Continue(())).unwrap_err().to_string();
    assert!(error.contains("playctl argocd register"), "{error}");
}
