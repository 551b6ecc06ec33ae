//! Pairs that open and close at random, at two replicas.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use rand::RngExt as _;

use crate::support::{Ground, Pair, Replica};

const PAIRS: usize = 500;
/// Concurrent clients.
const CLIENTS: usize = 24;
/// Default for `STREAM_CHURN_OPENINGS`.
const OPENINGS: usize = 150;

/// The times of the first and the last event of an opening.
type Spans = BTreeMap<usize, Vec<(Instant, Instant)>>;

#[test]
fn no_pair_has_two_holders_under_random_churn() {
    let openings = std::env::var("STREAM_CHURN_OPENINGS")
        .map_or(OPENINGS, |text| text.parse().expect("STREAM_CHURN_OPENINGS is a number"));
    let ground = Ground::new();
    let release = [("LOCK_RELEASE", "true")];
    let replicas = [Replica::start(&ground, &release), Replica::start(&ground, &release)];
    let pairs: Vec<Pair> = (0..PAIRS).map(|_| ground.pair()).collect();
    let (spans, opened) = (Mutex::new(Spans::new()), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut random = rand::rng();
                while opened.load(Ordering::Relaxed) < openings {
                    // All clients compete for half of the pairs.
                    let among = if random.random() { PAIRS } else { CLIENTS / 4 };
                    let (pair, replica) = (random.random_range(0..among), random.random_range(0..2));
                    let mut client = replicas[replica].connect(&pairs[pair]);
                    let mut held: Option<(Instant, Instant)> = None;
                    for _ in 0..random.random_range(0..3) {
                        let Some(event) = client.next().filter(|event| event.id.is_some()) else { break };
                        assert!(event.data.is_some());
                        let now = clock::now();
                        held = Some((held.map_or(now, |(first, _)| first), now));
                    }
                    // The span is recorded before the pair is free.
                    if let Some(span) = held {
                        spans.lock().entry(pair).or_default().push(span);
                        opened.fetch_add(1, Ordering::Relaxed);
                    }
                    drop(client);
                }
            });
        }
    });
    let spans = spans.into_inner();
    assert!(spans.values().any(|spans| spans.len() > 2), "some were opened again and again");
    for (pair, mut spans) in spans {
        spans.sort_unstable();
        for two in spans.windows(2) {
            assert!(two[0].1 < two[1].0, "pair {pair} had two holders: {two:?}");
        }
    }
    for replica in &replicas {
        replica.expect_metric("users", 0);
    }
}
