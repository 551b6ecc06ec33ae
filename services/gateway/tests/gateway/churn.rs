//! Endpoints that change while there are connections.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use platform::endpoints::Endpoint;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use crate::support::{EndpointsFile, Replica, Running, assert_echo, endpoint, wait_until};

#[test]
fn changing_endpoints_drop_no_connection_and_lose_no_byte() {
    const VERSIONS: u64 = 150;
    let replicas: Vec<_> = (0..4).map(|_| Replica::echo()).collect();
    let all: Vec<_> = replicas
        .iter()
        .enumerate()
        .map(|(ordinal, replica)| endpoint(&format!("tcp-{ordinal}"), replica.address))
        .collect();
    let (running, mut file) = Running::with_file(&all, &[]);
    let (address, over) = (running.address, AtomicBool::new(false));
    let (over, exchanged, opened) = (&over, &AtomicU64::new(0), &AtomicU64::new(0));
    std::thread::scope(|scope| {
        for client in 0..8 {
            scope.spawn(move || {
                let kept = crate::support::connect(address);
                let mut round = 0;
                while !over.load(Ordering::SeqCst) {
                    assert_echo(&kept, &format!("kept {client} {round}"));
                    let fresh = crate::support::connect(address);
                    assert_echo(&fresh, &format!("fresh {client} {round}"));
                    opened.fetch_add(1, Ordering::SeqCst);
                    exchanged.fetch_add(2, Ordering::SeqCst);
                    round += 1;
                }
            });
        }
        let mut random = Pcg64::seed_from_u64(9);
        for _ in 0..VERSIONS {
            let mut listed: Vec<Endpoint> = all.iter().filter(|_| random.random()).cloned().collect();
            for endpoint in &mut listed {
                endpoint.draining = random.random_bool(0.3);
            }
            if listed.iter().all(|endpoint| endpoint.draining) {
                listed = vec![all[random.random_range(0..all.len())].clone()];
            }
            let before = exchanged.load(Ordering::SeqCst);
            running.replace(&mut file, &listed);
            wait_until("clients go on", || exchanged.load(Ordering::SeqCst) > before);
        }
        over.store(true, Ordering::SeqCst);
    });
    running.replace(&mut file, &all);
    running.expect_metric("gateway_sessions_reset_total", 0);
    running.expect_metric("gateway_connections_refused_total{reason=\"no_endpoint\"}", 0);
    running.expect_metric("gateway_connections_opened_total", opened.load(Ordering::SeqCst) + 8);
    let reached: u64 = replicas.iter().map(Replica::accepted).sum();
    assert_eq!(reached, opened.load(Ordering::SeqCst) + 8);
}

#[test]
fn a_draining_endpoint_keeps_its_connections_and_gets_no_new_ones() {
    let (old, new) = (Replica::echo(), Replica::echo());
    let (old_endpoint, new_endpoint) = (endpoint("tcp-0", old.address), endpoint("tcp-1", new.address));
    let (running, mut file) = Running::with_file(std::slice::from_ref(&old_endpoint), &[]);
    let kept = running.connect();
    assert_echo(&kept, "before");

    running.replace(&mut file, &[Endpoint { draining: true, ..old_endpoint }, new_endpoint.clone()]);
    for _ in 0..10 {
        assert_echo(&running.connect(), "elsewhere");
    }
    assert_eq!((old.accepted(), new.accepted()), (1, 10));
    assert_echo(&kept, "while it drains");

    running.replace(&mut file, &[new_endpoint]);
    assert_echo(&kept, "after it is gone from the file");
    running.expect_backend("tcp-0", "removed", true);
    drop(kept);
    wait_until("it is forgotten with its last session", || running.backend("tcp-0").is_null());
}

#[test]
fn a_bad_file_changes_nothing_and_is_reported() {
    let replica = Replica::echo();
    let endpoints = [endpoint("tcp-0", replica.address)];
    let (running, mut file) = Running::with_file(&endpoints, &[]);
    file.write_text("{\"version\": 7, \"clusters\": [");
    running.expect_metric("gateway_endpoints_rejected_total", 1);
    running.expect_metric("gateway_endpoints_stale", 1);
    running.expect_degraded("endpoints: it is not a document of endpoints");
    assert_echo(&running.connect(), "the last good state is in use");

    std::fs::remove_file(file.path()).unwrap();
    running.expect_metric("gateway_endpoints_rejected_total", 2);
    assert_echo(&running.connect(), "still");

    running.replace(&mut file, &endpoints);
    running.expect_metric("gateway_endpoints_stale", 0);
    running.expect_all_well();
}

#[test]
fn a_fifo_as_endpoints_file_changes_and_blocks_nothing() {
    let replica = Replica::echo();
    let endpoints = [endpoint("tcp-0", replica.address)];
    let (running, mut file) = Running::with_file(&endpoints, &[]);
    file.replace_by_fifo();
    running.expect_metric("gateway_endpoints_rejected_total", 1);
    running.expect_degraded("endpoints: it is not a regular file");
    assert_echo(&running.connect(), "the last good state is in use");
    running.replace(&mut file, &endpoints);
    running.expect_all_well();
    file.replace_by_fifo();
    running.shutdown.drain();
    running.join().unwrap();
}

#[test]
fn a_gateway_that_is_its_own_endpoint_serves_by_the_others() {
    let replica = Replica::echo();
    let (running, mut file) = Running::with_file(&[], &[]);
    running.replace(&mut file, &[endpoint("own", running.address), endpoint("tcp-0", replica.address)]);
    running.expect_degraded("endpoints: endpoint \"own\" at 127.0.0.1:");
    for _ in 0..10 {
        assert_echo(&running.connect(), "served");
    }
    running.expect_metric("gateway_connections_opened_total", 10);
    running.replace(&mut file, &[endpoint("tcp-0", replica.address)]);
    running.expect_all_well();
}

#[test]
fn a_replica_that_dies_resets_its_clients_and_others_take_the_new_ones() {
    let (dying, living) = (Replica::echo(), Replica::echo());
    let endpoints = [endpoint("tcp-0", dying.address), endpoint("tcp-1", living.address)];
    let running = Running::with(&endpoints, &[("POLICY", "round-robin"), ("EJECT_FAILURES", "1")]);
    dying.close();
    for _ in 0..10 {
        let mut client = running.connect();
        client.write_all(b"").unwrap();
        assert_echo(&client, "served");
    }
    running.expect_backend("tcp-0", "ejected", true);
    running.expect_count("tcp-1", "opened", 10);
}

#[test]
fn clients_wait_until_the_endpoints_file_is_there() {
    let replica = Replica::echo();
    let mut file = EndpointsFile::new(&[]);
    std::fs::remove_file(file.path()).unwrap();
    let running = Running::start(&file.path(), &[]);
    let client = running.connect();
    assert_eq!(running.get("/readyz").0, 503);
    file.write(&[endpoint("tcp-0", replica.address)]);
    assert_echo(&client, "it is there");
    running.expect_all_well();
}
