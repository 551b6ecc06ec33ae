//! Test data: profiles with users, created in the background, one run at a time.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt as _;
use futures_util::stream;
use rand::RngExt as _;
use tracing::{info, warn};
use uuid::Uuid;

use crate::metrics::Metrics;
use crate::names;
use crate::profiles::Profiles;

/// Profiles of a run, and users created for each profile.
const PROFILES: RangeInclusive<usize> = 2..=100;
const USERS: RangeInclusive<usize> = 2..=100;
/// Maximum number of users created concurrently.
const AT_A_TIME: usize = 16;
/// After this many consecutive failed profiles, `profiles` counts as away.
const FAILURES_MAX: usize = 3;
/// Profiles between two log lines about the progress.
const TELL_EVERY: usize = 10;

#[derive(Debug)]
pub(crate) struct Testdata {
    profiles: Arc<Profiles>,
    metrics: Arc<Metrics>,
    running: AtomicBool,
}

impl Testdata {
    pub(crate) fn new(profiles: Arc<Profiles>, metrics: Arc<Metrics>) -> Self {
        Self { profiles, metrics, running: AtomicBool::new(false) }
    }

    /// Starts a run, unless one is active; it ends by itself.
    pub(crate) fn start(self: &Arc<Self>) {
        if self.running.swap(true, Ordering::Relaxed) {
            info!("test data are already being created");
            return;
        }
        let run = Arc::clone(self);
        tokio::spawn(async move {
            run.metrics.testdata_running.set(1);
            run.make().await;
            run.metrics.testdata_running.set(0);
            run.running.store(false, Ordering::Relaxed);
        });
    }

    async fn make(&self) {
        let wanted = rand::rng().random_range(PROFILES);
        self.metrics.testdata_wanted.set(wanted as i64);
        info!(profiles = wanted, "creating test data");
        // The first profile's users belong to all profiles.
        let mut first: Vec<Uuid> = Vec::new();
        let (mut made, mut failures) = (0, 0);
        for number in 1..=wanted {
            let count = rand::rng().random_range(USERS);
            let own = self.users(count).await;
            let all = [&first[..], &own[..]].concat();
            if own.is_empty() || !self.profile(&all).await {
                failures += 1;
                if failures == FAILURES_MAX {
                    warn!(made, wanted, "gave up creating test data: see the log of profiles");
                    return;
                }
                continue;
            }
            failures = 0;
            made += 1;
            if first.is_empty() {
                first = own;
            }
            if number % TELL_EVERY == 0 {
                info!(made, wanted, "creating test data");
            }
        }
        info!(made, wanted, "test data created");
    }

    /// Creates users; returns fewer than wanted if some could not be created.
    async fn users(&self, count: usize) -> Vec<Uuid> {
        let making =
            stream::iter(0..count).map(|_| async { self.profiles.create_user(&names::name()).await });
        let made: Vec<Uuid> = making
            .buffer_unordered(AT_A_TIME)
            .filter_map(|outcome| std::future::ready(outcome.ok()))
            .collect()
            .await;
        self.metrics.testdata_users.inc_by(made.len() as u64);
        self.metrics.testdata_failures.inc_by((count - made.len()) as u64);
        made
    }

    async fn profile(&self, users: &[Uuid]) -> bool {
        let made = self.profiles.create_profile(users).await.is_ok();
        if made { &self.metrics.testdata_profiles } else { &self.metrics.testdata_failures }.inc();
        made
    }
}
