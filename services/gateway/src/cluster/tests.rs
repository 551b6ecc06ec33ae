use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;

const EJECT_TIME: Duration = Duration::from_secs(10);

fn cluster() -> Cluster {
    let thresholds = Thresholds { fall: NonZeroU32::new(2).unwrap(), rise: NonZeroU32::MIN };
    Cluster::new(thresholds, Ejection { failures: 3, duration: EJECT_TIME })
}

fn endpoint(ordinal: u16) -> Endpoint {
    Endpoint {
        name: format!("tcp-{ordinal}"),
        address: ([127, 0, 0, 1], 40_000 + ordinal).into(),
        health: Some(([127, 0, 0, 1], 9_100 + ordinal).into()),
        draining: false,
    }
}

fn draining(ordinal: u16) -> Endpoint {
    Endpoint { draining: true, ..endpoint(ordinal) }
}

fn eligible(cluster: &Cluster) -> Vec<String> {
    let routing = Arc::clone(cluster.routing_view().refresh(cluster.routing()));
    routing.eligible.iter().map(|backend| backend.name.clone()).collect()
}

fn backend(cluster: &Cluster, ordinal: u16) -> Arc<Backend> {
    let name = format!("tcp-{ordinal}");
    let members = cluster.members.lock();
    Arc::clone(&members.list.iter().find(|member| member.backend.name == name).unwrap().backend)
}

fn check(cluster: &Cluster, ordinal: u16, passed: bool) {
    let result = if passed { Ok(()) } else { Err("answered HTTP/1.1 503".to_owned()) };
    cluster.checked(&backend(cluster, ordinal), result);
}

/// A failed connect to the backend.
fn fail(cluster: &Cluster, ordinal: u16, now: Instant) {
    let backend = backend(cluster, ordinal);
    backend.session_opened();
    cluster.connect_failed(&backend, true, now);
}

#[test]
fn unchecked_backends_serve_only_until_one_is_known_to_be_healthy() {
    let cluster = cluster();
    assert!(eligible(&cluster).is_empty());
    cluster.take_over(1, &[endpoint(0), endpoint(1)]);
    assert_eq!(eligible(&cluster), ["tcp-0", "tcp-1"]);
    check(&cluster, 1, true);
    assert_eq!(eligible(&cluster), ["tcp-1"]);
    check(&cluster, 0, false);
    check(&cluster, 1, false);
    check(&cluster, 1, false);
    assert!(eligible(&cluster).is_empty(), "none is ready");
}

#[test]
fn draining_and_removed_backends_get_no_new_sessions_and_keep_theirs() {
    let cluster = cluster();
    cluster.take_over(1, &[endpoint(0), endpoint(1), endpoint(2)]);
    for ordinal in 0..3 {
        check(&cluster, ordinal, true);
    }
    let removed = backend(&cluster, 2);
    removed.session_opened();
    cluster.take_over(2, &[endpoint(0), draining(1)]);
    assert_eq!(eligible(&cluster), ["tcp-0"]);
    assert_eq!(cluster.checks().len(), 1, "only replicas that may get connections are checked");

    let view = cluster.view();
    assert_eq!(view.version, Some(2));
    assert!(view.endpoints.iter().any(|endpoint| endpoint.removed && endpoint.counts.active == 1));
    removed.session_closed();
    assert!(cluster.view().endpoints.iter().all(|endpoint| endpoint.name != "tcp-2"));
}

#[test]
fn a_backend_keeps_its_verdict_over_versions_but_not_over_a_removal_or_a_new_address() {
    let cluster = cluster();
    cluster.take_over(1, &[endpoint(0), endpoint(1)]);
    check(&cluster, 0, true);
    check(&cluster, 1, true);
    let first = backend(&cluster, 1);
    first.session_opened();

    cluster.take_over(2, &[endpoint(1), endpoint(0)]);
    assert_eq!(eligible(&cluster), ["tcp-1", "tcp-0"]);
    cluster.take_over(3, &[endpoint(0)]);
    cluster.take_over(4, &[endpoint(0), endpoint(1)]);
    assert_eq!(eligible(&cluster), ["tcp-0"], "a backend that comes back is checked first");
    assert!(Arc::ptr_eq(&first, &backend(&cluster, 1)));

    let moved = Endpoint { address: ([127, 0, 0, 2], 40_001).into(), ..endpoint(1) };
    cluster.take_over(5, &[endpoint(0), moved]);
    assert_eq!(cluster.view().endpoints.len(), 3, "the old address still has a session");
}

#[test]
fn an_endpoint_without_a_check_is_healthy() {
    let cluster = cluster();
    cluster.take_over(1, &[Endpoint { health: None, ..endpoint(0) }, endpoint(1)]);
    assert_eq!(eligible(&cluster), ["tcp-0"]);
    assert_eq!(cluster.checks().len(), 1);
}

#[test]
fn failures_in_a_row_eject_for_a_while() {
    let cluster = cluster();
    let start = clock::now();
    cluster.take_over(1, &[endpoint(0), endpoint(1)]);
    check(&cluster, 0, true);
    check(&cluster, 1, true);
    fail(&cluster, 1, start);
    fail(&cluster, 1, start);
    backend(&cluster, 1).connect_succeeded();
    fail(&cluster, 1, start);
    fail(&cluster, 1, start);
    assert_eq!(eligible(&cluster).len(), 2, "a success in between resets the count");
    fail(&cluster, 1, start);
    assert_eq!(eligible(&cluster), ["tcp-0"]);
    assert_eq!(cluster.ejections(), 1);

    assert_eq!(cluster.readmit(start), Some(start + EJECT_TIME));
    assert_eq!(eligible(&cluster), ["tcp-0"]);
    assert_eq!(cluster.readmit(start + EJECT_TIME), None);
    assert_eq!(eligible(&cluster).len(), 2);
    fail(&cluster, 1, start);
    assert_eq!(eligible(&cluster).len(), 2, "the count was reset");
}

#[test]
fn the_last_backend_is_never_ejected() {
    let cluster = cluster();
    let start = clock::now();
    cluster.take_over(1, &[endpoint(0), endpoint(1)]);
    check(&cluster, 0, true);
    check(&cluster, 1, true);
    for _ in 0..10 {
        fail(&cluster, 0, start);
        fail(&cluster, 1, start);
    }
    assert_eq!(eligible(&cluster), ["tcp-1"]);
    // The last one becomes unhealthy: then an ejected one is better than none.
    check(&cluster, 1, false);
    check(&cluster, 1, false);
    assert_eq!(eligible(&cluster), ["tcp-0"]);
}

#[test]
fn local_shortages_are_not_counted_as_backend_failures() {
    let cluster = cluster();
    cluster.take_over(1, &[endpoint(0), endpoint(1)]);
    check(&cluster, 0, true);
    check(&cluster, 1, true);
    let backend = backend(&cluster, 0);
    for _ in 0..10 {
        backend.session_opened();
        cluster.connect_failed(&backend, false, clock::now());
    }
    assert_eq!(eligible(&cluster).len(), 2);
    let counts = backend.counts();
    assert_eq!((counts.opened, counts.failed, counts.active), (10, 10, 0));
}

#[derive(Debug, Clone)]
enum Change {
    TakeOver(Vec<(u16, bool)>),
    Check(u16, bool),
    Fail(u16),
    Readmit,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        proptest::collection::btree_map(0..4_u16, any::<bool>(), 0..4)
            .prop_map(|listed| Change::TakeOver(listed.into_iter().collect())),
        (0..4_u16, any::<bool>()).prop_map(|(ordinal, passed)| Change::Check(ordinal, passed)),
        (0..4_u16).prop_map(Change::Fail),
        Just(Change::Readmit),
    ]
}

proptest! {
    /// Whatever happens, eligible backends are listed, not draining and have not failed their checks; and there is one
    /// whenever a healthy one is listed.
    #[test]
    fn eligible_backends_are_always_fit_and_never_missing(changes in proptest::collection::vec(change(), 0..60)) {
        let cluster = cluster();
        let mut now = clock::now();
        for (step, change) in changes.into_iter().enumerate() {
            now += Duration::from_secs(1);
            let present: Vec<String> =
                cluster.members.lock().list.iter().map(|member| member.backend.name.clone()).collect();
            let known = |ordinal: u16| present.contains(&format!("tcp-{ordinal}"));
            match change {
                Change::TakeOver(listed) => {
                    let endpoints: Vec<_> = listed
                        .into_iter()
                        .map(|(ordinal, drains)| if drains { draining(ordinal) } else { endpoint(ordinal) })
                        .collect();
                    cluster.take_over(step as u64, &endpoints);
                }
                Change::Check(ordinal, passed) if known(ordinal) => check(&cluster, ordinal, passed),
                Change::Fail(ordinal) if known(ordinal) => fail(&cluster, ordinal, now),
                Change::Readmit => {
                    cluster.readmit(now);
                }
                Change::Check(..) | Change::Fail(_) => {}
            }
            let view = cluster.view();
            let eligible = eligible(&cluster);
            for name in &eligible {
                let state = view.endpoints.iter().find(|endpoint| endpoint.name == *name).unwrap();
                prop_assert!(!state.draining && !state.removed && state.health != Verdict::Unhealthy);
            }
            let some_healthy = view
                .endpoints
                .iter()
                .any(|endpoint| !endpoint.draining && !endpoint.removed && endpoint.health == Verdict::Healthy);
            prop_assert!(!some_healthy || !eligible.is_empty());
        }
    }
}
