//! A load's Job as the API server and its controllers take it. Pods of nodes that exist in the API alone say nothing, so
//! what they measure is tested on real nodes (`infrastructure/testbed/test nodes`).

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cluster::{ClusterTarget, LoadJob, LoadRequest};
use parking_lot::Mutex;
use platform::{Target as _, TargetError, target::Endpoint};
use serde_json::json;

use crate::{reading, world::Namespace};

fn request() -> LoadRequest {
    LoadRequest { workers: 3, image: Some("playctl:test".to_owned()), at_most: Duration::from_mins(1) }
}

/// What `load --in-cluster` needs beside reading.
fn loading() -> serde_json::Value {
    let mut rules = reading();
    rules.as_array_mut().unwrap().extend([
        json!({"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "delete"]}),
        json!({"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]}),
        json!({"apiGroups": [""], "resources": ["pods/attach"], "verbs": ["get", "create"]}),
    ]);
    rules
}

/// Nodes that exist in the API alone end a Job's pods at once. That there was one shows that it was let in.
#[test]
fn a_loads_pods_are_let_into_a_restricted_namespace_and_leave_nothing_when_they_end() {
    let namespace = Namespace::new("load");
    namespace.enforce_restricted();
    let target = Arc::new(namespace.account("loader", &loading(), false));
    let ended = LoadJob::start(&target, &request(), &|_| {}).unwrap_err().to_string();
    let name = ended.strip_prefix("the load's workers do not run: pod ").and_then(|rest| rest.get(..21));
    let name = name.unwrap_or_else(|| panic!("{ended}"));
    assert!(name.starts_with("playctl-load-") && ended.contains("ended in order"), "{ended}");
    namespace.until_gone("batch/v1", "Job", name);
    namespace.until_no_pods("app.kubernetes.io/name=playctl-load");
}

#[test]
fn permissions_that_a_load_lacks_are_named_before_anything_is_created() {
    let namespace = Namespace::new("denied");
    let target = Arc::new(namespace.account("reader", &reading(), false));
    let refused = LoadJob::start(&target, &request(), &|_| {}).unwrap_err().to_string();
    for missing in ["create and delete jobs.batch", "get pods/log", "get and create pods/attach"] {
        assert!(refused.contains(missing), "{missing} is missing in: {refused}");
    }
    assert!(!refused.contains("list pods"), "{refused}");
}

#[test]
fn without_our_chart_an_image_must_be_named() {
    let namespace = Namespace::new("image");
    let target = Arc::new(namespace.admin());
    let request = LoadRequest { image: None, ..request() };
    let refused = LoadJob::start(&target, &request, &|_| {}).unwrap_err();
    assert!(matches!(refused, TargetError::Invalid { .. }), "{refused:?}");
    assert!(refused.to_string().contains("--image REF"), "{refused}");
}

#[test]
fn pods_that_the_cluster_refuses_are_explained_while_they_are_waited_for() {
    let namespace = Namespace::new("quota");
    namespace.quota("count/pods", "0");
    let given_up = Arc::new(AtomicBool::new(false));
    let give_up = Arc::clone(&given_up);
    let target = Arc::new(namespace.admin_until(move |_| {
        if give_up.load(Ordering::SeqCst) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }));
    let said: Mutex<Vec<String>> = Mutex::default();
    let told = |words: &str| {
        said.lock().push(words.to_owned());
        given_up.fetch_or(words.contains("exceeded quota"), Ordering::SeqCst);
    };
    let refused = LoadJob::start(&target, &request(), &told);
    let said = said.lock().join("\n");
    assert!(matches!(refused, Err(TargetError::Interrupted)), "{refused:?}: {said}");
    assert!(said.contains("0 of 3 pods run; ") && said.contains("exceeded quota"), "{said}");
    let name = said.lines().next().unwrap().split([' ', ':']).nth(1).unwrap().to_owned();
    namespace.until_gone("batch/v1", "Job", &name);
}

fn address(target: &ClusterTarget) -> String {
    match target.endpoint("chat").unwrap() {
        Endpoint::At(address) => address.to_string(),
        Endpoint::NoneYet { why } => why,
    }
}

#[test]
fn clients_are_led_to_where_somebody_listens() {
    let namespace = Namespace::new("reach");
    namespace.application("chat", 1);
    let target = namespace.admin();
    assert_eq!(
        target.endpoint_inside("chat").unwrap().to_string(),
        format!("chat.{}.svc:7000", namespace.name())
    );
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    namespace.front("chat", &json!({"type": "LoadBalancer", "ports": [{"name": "chat", "port": port}]}));
    let why = address(&target);
    assert!(why.contains("has no address yet") || why.contains("nothing answers from here"), "{why}");
    namespace.balancer("chat", &["127.0.0.2", "127.0.0.1"]);
    assert_eq!(address(&target), format!("127.0.0.1:{port}"), "nobody listens at the first");
    let snapshot = target.snapshot().unwrap();
    let published = snapshot.services.iter().find(|service| service.name == "chat").unwrap().endpoint.clone();
    assert_eq!(published.unwrap().to_string(), format!("127.0.0.2:{port}"), "where clients should connect");
    drop(listener);
    assert!(address(&target).contains("nothing answers from here at 127.0.0.2"), "{}", address(&target));
}
