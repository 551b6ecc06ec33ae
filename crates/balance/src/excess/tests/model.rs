//! Clients, gateways that choose by least request, counts that arrive late, and the policy between them.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;

use super::super::*;
use super::fleet;
use crate::{Pace, Policy, Selector, Traffic};

const STEP_MS: u64 = 50;
/// Maximum age of a count.
const SCRAPE_MS: u64 = 7_000;
const LOOK_MS: u64 = 10_000;
/// How long a client waits before it reconnects, plus up to half as much.
const BACK_MS: u64 = 1_000;

pub(super) struct Model {
    /// Connections of each server, by gateway: a gateway knows only its own.
    held: Vec<Vec<u64>>,
    at_once_percent: u64,
    random: Pcg32,
}

#[derive(Debug)]
pub(super) struct Run {
    pub(super) final_loads: Vec<u64>,
    /// The smaller share, of two servers.
    pub(super) final_share_percent: u64,
    pub(super) sheds: u64,
    /// The time from which no server was above the tolerance any more.
    pub(super) even_at_s: Option<u64>,
    pub(super) last_shed_s: u64,
    pub(super) max_accepts_per_second: u64,
    /// Number of rebalancings.
    pub(super) waves: u32,
    pub(super) all_active_at_end: bool,
}

impl Model {
    pub(super) fn new(loads: &[u64], seed: u64) -> Self {
        Self { held: vec![loads.to_vec()], at_once_percent: 0, random: Pcg32::seed_from_u64(seed) }
    }

    pub(super) fn gateways(mut self, gateways: u64) -> Self {
        let loads = self.loads();
        self.held = (0..gateways)
            .map(|gateway| loads.iter().map(|load| (load + gateway) / gateways).collect())
            .collect();
        self
    }

    pub(super) fn at_once(mut self, percent: u64) -> Self {
        self.at_once_percent = percent;
        self
    }

    fn loads(&self) -> Vec<u64> {
        (0..self.held[0].len()).map(|server| self.held.iter().map(|held| held[server]).sum()).collect()
    }

    /// A connection of `server` ends, on a gateway chosen in proportion to its connections.
    fn leave(&mut self, server: usize) -> bool {
        let total: u64 = self.held.iter().map(|held| held[server]).sum();
        if total == 0 {
            return false;
        }
        let mut at = self.random.random_range(0..total);
        for held in &mut self.held {
            if at < held[server] {
                held[server] -= 1;
                return true;
            }
            at -= held[server];
        }
        false
    }

    fn come(&mut self, open: &[usize]) -> usize {
        let gateway = self.random.random_range(0..self.held.len());
        let held = &mut self.held[gateway];
        let chosen = Selector::new(Policy::LeastRequest)
            .pick(&mut self.random, open.len(), |index| held[open[index]])
            .map(|index| open[index])
            .expect("a server is open");
        held[chosen] += 1;
        chosen
    }

    pub(super) fn run(mut self, seconds: u64) -> Run {
        let mut policy = Excess::new(ExcessRules::default());
        let mut pace = Pace::default();
        let mut seen = fleet(&self.loads());
        let mut coming = BTreeMap::<u64, u64>::new();
        let mut accepts = BTreeMap::<(u64, usize), u64>::new();
        let mut run = Run {
            final_loads: Vec::new(),
            final_share_percent: 0,
            sheds: 0,
            even_at_s: None,
            last_shed_s: 0,
            max_accepts_per_second: 0,
            waves: 0,
            all_active_at_end: false,
        };
        let mut was_shedding = false;
        for now_ms in (0..seconds * 1000).step_by(STEP_MS as usize) {
            if now_ms % SCRAPE_MS < STEP_MS {
                for (server, load) in seen.servers.iter_mut().zip(self.loads()) {
                    server.connections = load;
                }
            }
            if now_ms % LOOK_MS == 0 {
                for order in policy.look(now_ms, &seen).into_iter().flat_map(|decision| decision.orders) {
                    match order {
                        Order::SetTraffic { server, traffic } => {
                            seen.servers
                                .iter_mut()
                                .filter(|s| s.name == server)
                                .for_each(|s| s.traffic = traffic);
                        }
                        Order::Shed { server, count, per_second } => {
                            pace.begin(now_ms, &server, count, per_second, &mut self.random);
                        }
                        other => panic!("{other:?}"),
                    }
                }
                let is_shedding = matches!(policy.state, State::Shedding { .. });
                run.waves += u32::from(is_shedding && !was_shedding);
                was_shedding = is_shedding;
            }
            for portion in pace.due(now_ms, &mut self.random) {
                policy.shed(now_ms, portion.count);
                let server =
                    seen.servers.iter().position(|server| server.name == portion.server).expect("known");
                for _ in 0..portion.count {
                    if self.leave(server) {
                        let at_once = self.random.random_range(0..100) < self.at_once_percent;
                        let wait_ms =
                            if at_once { 0 } else { self.random.random_range(BACK_MS..BACK_MS * 3 / 2) };
                        *coming.entry(now_ms + wait_ms).or_default() += 1;
                        run.sheds += 1;
                        run.last_shed_s = now_ms / 1000;
                    }
                }
            }
            let open: Vec<usize> = (0..seen.servers.len())
                .filter(|&index| seen.servers[index].traffic == Traffic::Active)
                .collect();
            let later = coming.split_off(&(now_ms + 1));
            for count in std::mem::replace(&mut coming, later).into_values() {
                for _ in 0..count {
                    let server = self.come(&open);
                    *accepts.entry((now_ms / 1000, server)).or_default() += 1;
                }
            }
            let loads = self.loads();
            let total: u64 = loads.iter().sum::<u64>() + coming.values().sum::<u64>();
            let is_even = loads.iter().all(|load| load * loads.len() as u64 * 100 <= total * 110);
            run.even_at_s = if is_even { run.even_at_s.or(Some(now_ms / 1000)) } else { None };
        }
        run.final_loads = self.loads();
        let total = run.final_loads.iter().sum::<u64>().max(1);
        run.final_share_percent = run.final_loads.iter().min().copied().unwrap_or(0) * 100 / total;
        run.max_accepts_per_second = accepts.into_values().max().unwrap_or(0);
        run.all_active_at_end = seen.servers.iter().all(|server| server.traffic.is_active());
        run
    }
}
