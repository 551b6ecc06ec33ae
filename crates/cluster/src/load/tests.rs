use serde_json::{Value, json};

use super::{job::describe, talk::how_it_ended, *};

fn pod(value: Value) -> Pod {
    serde_json::from_value(value).unwrap()
}

fn facts(value: Value) -> PodFacts {
    match pod(value).facts() {
        Object::Pod(facts) => *facts,
        other => panic!("no pod but {other:?}"),
    }
}

fn job() -> Value {
    let request = LoadRequest { workers: 3, image: None, at_most: Duration::from_mins(4) };
    let image = Image::named("registry.example/playctl:1");
    serde_json::to_value(describe("playctl-load-1", "chat", &request, &image, PATIENCE)).unwrap()
}

#[test]
fn its_pods_have_no_privileges_and_are_of_no_release() {
    let job = job();
    let template = &job["spec"]["template"];
    let (pod, container) = (&template["spec"], &template["spec"]["containers"][0]);
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(container["securityContext"]["capabilities"], json!({"drop": ["ALL"]}));
    for volume in ["volumes", "hostNetwork", "hostPID", "serviceAccountName"] {
        assert_eq!(pod[volume], Value::Null, "{volume}");
    }
    // The chart's policies select by this label.
    assert_eq!(template["metadata"]["labels"]["app.kubernetes.io/instance"], Value::Null);
    assert_eq!((&container["stdin"], &container["stdinOnce"]), (&json!(true), &json!(false)));
}

#[test]
fn it_ends_and_goes_by_itself() {
    let spec = &job()["spec"];
    assert_eq!((&spec["parallelism"], &spec["completions"]), (&json!(3), &json!(3)));
    assert_eq!((&spec["completionMode"], &spec["backoffLimit"]), (&json!("Indexed"), &json!(0)));
    // The load, the wait for its pods, and 30 s of grace.
    assert_eq!(spec["activeDeadlineSeconds"], 240 + 180 + 30);
    assert_eq!(spec["ttlSecondsAfterFinished"], 600);
    let request = LoadRequest { workers: 1, image: None, at_most: Duration::MAX };
    let endless = describe("x", "y", &request, &Image::named("z:1"), PATIENCE);
    assert_eq!(endless.spec.unwrap().active_deadline_seconds, Some(i64::MAX));
}

#[test]
fn the_image_is_that_of_a_pod_that_serves_pulled_the_same_way() {
    let of = |args: Value| {
        let container =
            json!({"name": "tcp", "image": "mine/playctl:2", "imagePullPolicy": "Never", "args": args});
        Image::served_by(&pod(json!({"spec": {
            "containers": [{"name": "sidecar", "image": "other:1"}, container], "imagePullSecrets": [{"name": "s"}]}})))
    };
    let image = of(json!(["serve", "tcp"])).unwrap();
    assert_eq!(image.reference, "mine/playctl:2");
    let request = LoadRequest { workers: 1, image: None, at_most: Duration::from_secs(1) };
    let job = serde_json::to_value(describe("x", "y", &request, &image, PATIENCE)).unwrap();
    let spec = &job["spec"]["template"]["spec"];
    assert_eq!(spec["containers"][0]["imagePullPolicy"], "Never");
    assert_eq!(spec["imagePullSecrets"], json!([{"name": "s"}]));
    assert_eq!(of(json!(["load"])), None);
}

#[test]
fn how_a_worker_ended_is_told_in_words() {
    let ended = |phase: &str, reason: Value, terminated: Value| {
        let status = json!({"phase": phase, "reason": reason, "containerStatuses": [{"name": "c", "image": "i",
            "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": terminated}}]});
        how_it_ended(&facts(json!({"metadata": {"name": "p"}, "status": status})))
    };
    let oom = ended("Failed", Value::Null, json!({"exitCode": 137, "reason": "OOMKilled"})).unwrap();
    assert_eq!(oom, "OOMKilled (signal 9)");
    let evicted = ended("Failed", json!("Evicted"), json!({"exitCode": 143, "reason": "Error"})).unwrap();
    assert_eq!(evicted, "Evicted: signal 15");
    let done = ended("Succeeded", Value::Null, json!({"exitCode": 0, "reason": "Completed"})).unwrap();
    assert!(done.contains("not in its log"), "{done}");
    let running = json!({"metadata": {"name": "p"}, "status": {"phase": "Running", "containerStatuses": [{"name": "c",
        "image": "i", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}}]}});
    assert_eq!(how_it_ended(&facts(running)), None);
    let gone = json!({"metadata": {"name": "p"}, "status": {"phase": "Failed", "reason": "NodeLost"}});
    assert_eq!(how_it_ended(&facts(gone)).as_deref(), Some("NodeLost"));
}

#[test]
fn a_missing_image_is_waited_for_and_then_reported() {
    let waits = |reason: &str| {
        facts(
            json!({"metadata": {"name": "p"}, "status": {"phase": "Pending", "containerStatuses": [{"name": "c",
            "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": reason, "message": "no such image"}}}]}}),
        )
    };
    assert!(is_refused(&waits("InvalidImageName")) && !is_refused(&waits("ContainerCreating")));
    assert!(fails_to_pull(&waits("ImagePullBackOff")) && !fails_to_pull(&waits("ContainerCreating")));
    assert_eq!(waits("ErrImagePull").why_not_ready(), "c waits: ErrImagePull: no such image");
}
