//! Locks while Redis and replicas are killed: by their events, no two clients ever have the same pair.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fixtures::{Redis, eventually};
use parking_lot::Mutex;

use crate::profiles::Profiles;
use crate::support::{Ground, Pair, Replica};

const PAIRS: usize = 6;
/// The longest outage of Redis, with time to spare.
const TERMS: [(&str, &str); 2] = [("LOCK_TTL", "12"), ("LOCK_REFRESH", "1")];

/// The time from the first to the last event of one opening.
#[derive(Debug, Clone, Copy)]
struct Held {
    replica: usize,
    first: Instant,
    last: Instant,
    events: u64,
}

/// The spans that all clients have seen, by pair.
#[derive(Debug, Default)]
struct Seen(Mutex<BTreeMap<Pair, Vec<Held>>>);

impl Seen {
    /// Opens the pair again and again at one replica.
    fn compete(&self, pair: &Pair, replica: usize, server: &Replica, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let mut held: Option<usize> = None;
            let Some(mut client) = server.try_connect(pair) else {
                // It was killed.
                fixtures::pause(Duration::from_millis(50));
                continue;
            };
            while let Ok(Some(event)) = client.try_next() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                if event.id.is_none() {
                    continue;
                }
                let (now, mut seen) = (clock::now(), self.0.lock());
                let all = seen.entry(pair.clone()).or_default();
                if let Some(at) = held {
                    all[at].last = now;
                    all[at].events += 1;
                } else {
                    held = Some(all.len());
                    all.push(Held { replica, first: now, last: now, events: 1 });
                }
            }
            fixtures::pause(Duration::from_millis(50));
        }
    }

    fn latest(&self) -> BTreeMap<Pair, Held> {
        let seen = self.0.lock();
        seen.iter().filter_map(|(pair, all)| Some((pair.clone(), *all.last()?))).collect()
    }

    /// Fails if two openings of a pair had events at the same time.
    fn check(&self) {
        for (pair, all) in &*self.0.lock() {
            for two in all.windows(2) {
                assert!(two[0].last < two[1].first, "{pair:?} was held twice: {all:?}");
            }
        }
    }
}

#[test]
fn a_pair_has_one_holder_while_redis_and_replicas_are_killed() {
    let mut ground = Ground { redis: Redis::durable(), profiles: Profiles::start() };
    let pairs: Vec<Pair> = (0..PAIRS).map(|_| ground.pair()).collect();
    let replicas = [Replica::start(&ground, &TERMS), Replica::start(&ground, &TERMS)];
    let (seen, stop) = (Seen::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let ends = StopAtEnd(&stop);
        for pair in &pairs {
            for (number, replica) in replicas.iter().enumerate() {
                let (seen, stop) = (&seen, &stop);
                scope.spawn(move || seen.compete(pair, number, replica, stop));
            }
        }
        eventually("each pair is open", || {
            let latest = seen.latest();
            latest.len() == PAIRS && latest.values().all(|held| held.events >= 2)
        });
        seen.check();

        // Redis is away for five events of each client, and returns with its data.
        let before = seen.latest();
        ground.redis.down();
        eventually("five more events", || {
            let latest = seen.latest();
            before.iter().all(|(pair, held)| latest[pair].events >= held.events + 5)
        });
        ground.redis.up();
        for replica in &replicas {
            replica.expect_all_well();
        }
        let later = seen.latest();
        eventually("a refresh and more", || {
            let latest = seen.latest();
            later.iter().all(|(pair, held)| latest[pair].events >= held.events + 3)
        });
        for (pair, held) in seen.latest() {
            assert_eq!(held.first, before[&pair].first, "the same stream continues");
        }
        seen.check();

        // A replica ends at once, and loses its state.
        let lost = seen.latest().values().next().unwrap().replica;
        replicas[lost].shutdown.force();
        eventually("every pair is open at the other replica", || {
            seen.latest().values().all(|held| held.replica != lost)
        });
        seen.check();
        drop(ends);
    });
}

/// Ends the threads with the test, even if it fails.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
