//! Spreads orders to shed over time, because clients that are sent away together come back together.

use std::collections::BTreeMap;

use rand::{Rng, RngExt};

/// Time between two portions for one server.
const STEP_MS: std::ops::RangeInclusive<u64> = 250..=750;

/// What to shed now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portion {
    pub server: String,
    pub count: u64,
}

/// Orders to shed that are being carried out.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    running: BTreeMap<String, Running>,
}

#[derive(Debug, Clone)]
struct Running {
    left: u64,
    per_second: u64,
    next_ms: u64,
    next_count: u64,
}

impl Running {
    /// A portion is as large as the time since the last one allows.
    fn plan<R: Rng + ?Sized>(&mut self, now_ms: u64, random: &mut R) {
        let mut wait_ms = random.random_range(STEP_MS);
        let mut count = self.per_second.saturating_mul(wait_ms) / 1000;
        if count == 0 {
            count = 1;
            wait_ms = 1000_u64.div_ceil(self.per_second) + random.random_range(0..=*STEP_MS.start());
        }
        self.next_count = count.min(self.left);
        self.next_ms = now_ms.saturating_add(wait_ms);
    }
}

impl Pace {
    /// Begins an order; the rest of an earlier one for the same server is dropped. Orders in quick succession do not
    /// delay each other.
    pub fn begin<R: Rng + ?Sized>(
        &mut self,
        now_ms: u64,
        server: &str,
        count: u64,
        per_second: u64,
        random: &mut R,
    ) {
        let mut running =
            Running { left: count, per_second: per_second.max(1), next_ms: now_ms, next_count: 0 };
        match self.running.remove(server) {
            Some(Running { next_ms, next_count, .. }) => {
                (running.next_ms, running.next_count) = (next_ms, next_count.min(count));
            }
            None => running.plan(now_ms, random),
        }
        if count > 0 {
            self.running.insert(server.into(), running);
        }
    }

    /// Drops everything except for `servers`.
    pub fn keep(&mut self, servers: impl Fn(&str) -> bool) {
        self.running.retain(|server, _| servers(server));
    }

    /// What to shed by now. After a pause there is one portion per server, not all the missed ones.
    pub fn due<R: Rng + ?Sized>(&mut self, now_ms: u64, random: &mut R) -> Vec<Portion> {
        let mut portions = Vec::new();
        for (server, running) in &mut self.running {
            if running.next_ms <= now_ms {
                portions.push(Portion { server: server.clone(), count: running.next_count });
                running.left -= running.next_count;
                running.plan(now_ms, random);
            }
        }
        self.running.retain(|_, running| running.left > 0);
        portions
    }

    /// When to ask again.
    pub fn next_due(&self) -> Option<u64> {
        self.running.values().map(|running| running.next_ms).min()
    }

    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_pcg::Pcg32;

    use super::*;

    proptest! {
        /// Everything is shed in the end, and never faster than allowed.
        #[test]
        fn an_order_is_carried_out_at_its_rate(
            count in 0..5_000_u64,
            per_second in 0..2_000_u64,
            seed in any::<u64>(),
            late_ms in 0..3_000_u64,
        ) {
            let mut random = Pcg32::seed_from_u64(seed);
            let mut pace = Pace::default();
            pace.begin(0, "tcp-0", count, per_second, &mut random);
            let (mut now_ms, mut shed) = (0, 0);
            while let Some(next_ms) = pace.next_due() {
                prop_assert!(next_ms > now_ms);
                now_ms = next_ms + late_ms;
                for portion in pace.due(now_ms, &mut random) {
                    prop_assert!(portion.count > 0);
                    shed += portion.count;
                }
                prop_assert!(shed * 1000 <= per_second.max(1) * now_ms, "{shed} in {now_ms} ms");
            }
            prop_assert_eq!(shed, count);
        }
    }

    #[test]
    fn frequent_orders_do_not_delay_each_other() {
        let mut random = Pcg32::seed_from_u64(1);
        let mut pace = Pace::default();
        let mut shed = 0;
        for now_ms in (0..10_000).step_by(100) {
            pace.begin(now_ms, "a", 1_000, 100, &mut random);
            shed += pace.due(now_ms, &mut random).iter().map(|portion| portion.count).sum::<u64>();
        }
        assert!((700..=1_000).contains(&shed), "{shed} in 10 s at 100 a second");
    }

    #[test]
    fn a_later_order_replaces_the_rest_of_its_own_and_leaves_others_alone() {
        let mut random = Pcg32::seed_from_u64(1);
        let mut pace = Pace::default();
        pace.begin(0, "a", 1_000, 100, &mut random);
        pace.begin(0, "b", 1_000, 100, &mut random);
        pace.begin(0, "a", 10, 100, &mut random);
        let mut shed = BTreeMap::<String, u64>::new();
        while let Some(now_ms) = pace.next_due() {
            for portion in pace.due(now_ms, &mut random) {
                *shed.entry(portion.server).or_default() += portion.count;
            }
        }
        assert_eq!(shed, BTreeMap::from([("a".into(), 10), ("b".into(), 1_000)]));
    }
}
