//! Endpoints that change while packets are forwarded.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use platform::endpoints::Endpoint;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::{Client, gateway, replicas};
use crate::support::wait_until;

/// How many packets a client has in flight.
const WINDOW: usize = 8;

#[test]
fn changing_endpoints_lose_or_duplicate_no_packet() {
    const VERSIONS: u64 = 100;
    let replicas = replicas(4);
    let all = super::endpoints(&replicas);
    let (running, mut file) = gateway(&all, &[]);
    let (address, over, answered) = (running.address, AtomicBool::new(false), AtomicU64::new(0));
    let (over, answered) = (&over, &answered);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(move || {
                let (client, mut said) = (Client::new(address), 0_u64);
                let mut under_way = HashSet::new();
                while !over.load(Ordering::SeqCst) || !under_way.is_empty() {
                    while under_way.len() < WINDOW && !over.load(Ordering::SeqCst) {
                        client.say(&said.to_string());
                        under_way.insert(said.to_string());
                        said += 1;
                    }
                    // A lost packet causes a time-out, which fails the test.
                    let answer = client.hear();
                    assert!(under_way.remove(&answer.text), "{answer:?} came before or was never asked for");
                    answered.fetch_add(1, Ordering::SeqCst);
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
            let before = answered.load(Ordering::SeqCst);
            running.replace(&mut file, &listed);
            wait_until("clients go on", || answered.load(Ordering::SeqCst) >= before + 50);
        }
        over.store(true, Ordering::SeqCst);
    });
    let dropped =
        |reason: &str| running.metric(&format!("gateway_packets_dropped_total{{reason=\"{reason}\"}}"));
    assert_eq!((dropped("kernel"), dropped("unsent"), dropped("no_session")), (0, 0, 0));
    running.expect_metric("gateway_packets_received_total", answered.load(Ordering::SeqCst));
    running.expect_metric("gateway_packets_answered_total", answered.load(Ordering::SeqCst));
    assert!(running.metric("gateway_sessions_moved_total") > 8, "they did move");
    running.expect_metric("gateway_sessions_opened_total", 8);
}
