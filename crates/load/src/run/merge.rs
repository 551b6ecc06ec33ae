//! Merges the measurements of several workers.

use std::collections::BTreeMap;

use platform::event::{Counters, Ending, EventKind, LoadPlan, LoadSummary, LoadTick, ReplicaShare, Skew};
use uuid::Uuid;

use super::{ReplicaNames, holdings::Holdings};
use crate::{histogram::Distributions, messages::Measured};

/// The name of replicas that do not identify themselves.
const UNKNOWN: &str = "unknown";

#[derive(Default)]
pub(super) struct Merge {
    names: Names,
    /// The latest measurements of each worker.
    latest: Vec<Measured>,
    /// Workers that have reported regularly since the last tick, and those that are done.
    fresh: Vec<bool>,
    done: Vec<bool>,
    ramps_done: u32,
    ramp_end_ms: u32,
    took_ms: u32,
    tick: Distributions,
    run: Distributions,
    holdings: Holdings,
    open_max: u64,
    /// The counts when most connections were open.
    fullest: BTreeMap<String, u64>,
}

impl Merge {
    pub(super) fn new(workers: u32, names: Option<ReplicaNames>) -> Self {
        let workers = workers as usize;
        Self {
            names: Names { lookup: names, ..Names::default() },
            latest: vec![Measured::default(); workers],
            fresh: vec![false; workers],
            done: vec![false; workers],
            ..Self::default()
        }
    }

    pub(super) fn totals(&self) -> Counters {
        let mut totals = Counters::default();
        for measured in &self.latest {
            totals += measured.totals;
        }
        // A refused broadcast is not expected: neither receiving nor missing it is an error.
        for number in 0..self.latest.iter().map(|measured| measured.broadcasts.len()).max().unwrap_or(0) {
            let of_all = self.latest.iter().filter_map(|measured| measured.broadcasts.get(number));
            let refused = of_all.clone().any(|broadcast| broadcast.refused);
            totals.broadcasts_refused += u64::from(refused);
            for broadcast in of_all {
                totals.broadcasts_sent += u64::from(broadcast.sent);
                totals.broadcasts_received += broadcast.received;
                totals.broadcasts_doubled += broadcast.doubled;
                totals.broadcasts_due += if refused { broadcast.received } else { broadcast.due };
            }
        }
        totals.pairs_held_twice = self.holdings.twice;
        totals.broadcasts_missed = totals.broadcasts_due.saturating_sub(totals.broadcasts_received);
        totals
    }

    /// Reports, once, that two clients held a pair at the same time.
    pub(super) fn held_twice(&mut self) -> Option<String> {
        self.holdings.first.take()
    }

    pub(super) fn open(&self) -> u64 {
        self.latest.iter().map(|measured| measured.open).sum()
    }

    /// Merges a report. Returns the tick that it completes, if every worker has reported.
    pub(super) fn progress(&mut self, worker: u32, measured: Measured, regular: bool) -> Option<LoadTick> {
        self.take(worker, measured);
        if !regular {
            return None;
        }
        self.fresh[worker as usize] = true;
        if !self.fresh.iter().zip(&self.done).all(|(fresh, done)| *fresh || *done) {
            return None;
        }
        self.fresh.fill(false);
        Some(self.tick())
    }

    /// The current state, and the latencies since the last call.
    pub(super) fn tick(&mut self) -> LoadTick {
        let by_replica = self.by_replica();
        let tick = LoadTick {
            open: self.open(),
            connecting: self.latest.iter().map(|measured| measured.connecting).sum(),
            totals: self.totals(),
            connect: self.tick.connect.summary(),
            first_byte: self.tick.first_byte.summary(),
            message: self.tick.message.summary(),
            skew: skew(&by_replica),
            by_replica,
        };
        self.tick = Distributions::default();
        tick
    }

    /// One worker's ramp is done. Returns when the last one's was.
    pub(super) fn ramp_done(&mut self, at_ms: u32) -> Option<u32> {
        self.ramps_done += 1;
        self.ramp_end_ms = self.ramp_end_ms.max(at_ms);
        (self.ramps_done as usize == self.latest.len()).then_some(self.ramp_end_ms)
    }

    pub(super) fn done(&mut self, worker: u32, at_ms: u32, measured: Measured) {
        self.take(worker, measured);
        self.done[worker as usize] = true;
        self.took_ms = self.took_ms.max(at_ms);
    }

    /// A worker is gone, with its connections. Returns how many they were, and the number of workers.
    pub(super) fn lose(&mut self, worker: u32) -> (u64, usize) {
        self.done[worker as usize] = true;
        let latest = &mut self.latest[worker as usize];
        latest.replicas.clear();
        latest.connecting = 0;
        (std::mem::take(&mut latest.open), self.latest.len())
    }

    fn take(&mut self, worker: u32, mut measured: Measured) {
        measured.held.drain(..).for_each(|held| self.holdings.add(held));
        self.tick.merge(&measured.distributions);
        self.run.merge(&measured.distributions);
        self.latest[worker as usize] = measured;
        let open = self.open();
        // Also with equal counts: the later state has had more time to learn which replica serves whom.
        if open >= self.open_max && open > 0 {
            self.fullest = self.by_replica();
        }
        // The workers' own maxima need not coincide, but with one worker the maximum is exact.
        self.open_max = self.open_max.max(open);
        if let [only] = self.latest.as_slice() {
            self.open_max = self.open_max.max(only.open_max);
        }
    }

    /// Of all workers, the most frequent first.
    fn endings(&self) -> Vec<Ending> {
        let mut all: BTreeMap<u16, Ending> = BTreeMap::new();
        for ending in self.latest.iter().flat_map(|measured| &measured.endings) {
            let known = all.entry(ending.code).or_insert_with(|| Ending { count: 0, ..ending.clone() });
            known.count += ending.count;
        }
        let mut all: Vec<Ending> = all.into_values().collect();
        all.sort_by_key(|ending| std::cmp::Reverse(ending.count));
        all
    }

    fn by_replica(&mut self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for (own, open) in self.latest.iter().flat_map(|measured| &measured.replicas) {
            let name = own.as_ref().map_or_else(|| UNKNOWN.to_owned(), |own| self.names.of(own));
            *counts.entry(name).or_default() += open;
        }
        counts
    }

    /// Open connections of each worker.
    pub(super) fn open_by_worker(&self) -> Vec<u64> {
        self.latest.iter().map(|measured| measured.open).collect()
    }

    /// Each replica's names for itself, and how many connections each worker has on it.
    pub(super) fn known_replicas(&mut self) -> BTreeMap<String, (Vec<String>, Vec<u64>)> {
        let mut known: BTreeMap<String, (Vec<String>, Vec<u64>)> = BTreeMap::new();
        for (worker, measured) in self.latest.iter().enumerate() {
            for (own, open) in &measured.replicas {
                let Some(own) = own else { continue };
                let of_replica = known.entry(self.names.of(own));
                let (all, by_worker) = of_replica.or_insert_with(|| (Vec::new(), vec![0; self.latest.len()]));
                if !all.contains(own) {
                    all.push(own.clone());
                }
                by_worker[worker] += open;
            }
        }
        known
    }

    /// The most connections that a replica accepted in a second. With several workers, the sum of their own maxima,
    /// which may not have coincided.
    fn busiest_second(&self) -> u64 {
        let mut all: BTreeMap<Option<&str>, u64> = BTreeMap::new();
        for (own, most) in self.latest.iter().flat_map(|measured| &measured.busiest) {
            *all.entry(own.as_deref()).or_default() += most;
        }
        all.into_values().max().unwrap_or(0)
    }

    /// An event of a single connection, with its replica's name.
    pub(super) fn named(&mut self, mut event: EventKind) -> EventKind {
        if let EventKind::ConnectionOpened { replica: Some(replica), .. } = &mut event {
            *replica = self.names.of(replica);
        }
        event
    }

    pub(super) fn summary(self, plan: LoadPlan, interrupted: bool) -> LoadSummary {
        let (all, endings): (u64, _) = (self.fullest.values().sum(), self.endings());
        LoadSummary {
            plan,
            took_ms: u64::from(self.took_ms),
            totals: self.totals(),
            connect: self.run.connect.summary(),
            first_byte: self.run.first_byte.summary(),
            message: self.run.message.summary(),
            lateness: self.run.lateness.summary(),
            reconnect: self.run.reconnect.summary(),
            broadcast: self.run.broadcast.summary(),
            gap: self.run.gap.summary(),
            gap_without_delay: self.run.gap_without_delay.summary(),
            event_gap: self.run.event_gap.summary(),
            message_histogram: self.run.message.buckets(),
            open_max: self.open_max,
            busiest_second: self.busiest_second(),
            skew: skew(&self.fullest),
            shares: self
                .fullest
                .into_iter()
                .map(|(replica, connections)| ReplicaShare {
                    replica,
                    connections,
                    share: connections as f64 / all.max(1) as f64,
                })
                .collect(),
            scale_up: None,
            scale_down: None,
            expectations: Vec::new(),
            interrupted,
            first_error: None,
            first_wrong_answer: None,
            ended_early: None,
            endings,
        }
    }
}

/// Over the replicas known by name; a target that does not identify them has no skew.
fn skew(by_replica: &BTreeMap<String, u64>) -> Option<Skew> {
    Skew::of(by_replica.iter().filter(|(name, _)| *name != UNKNOWN).map(|(_, count)| *count))
}

/// Replicas' names, looked up until they are found.
#[derive(Default)]
struct Names {
    lookup: Option<ReplicaNames>,
    known: BTreeMap<String, String>,
}

impl Names {
    fn of(&mut self, own: &str) -> String {
        if let Some(name) = self.known.get(own) {
            return name.clone();
        }
        match self.lookup.as_ref().and_then(|lookup| lookup(own)) {
            Some(name) => {
                self.known.insert(own.to_owned(), name.clone());
                name
            }
            // The start of a UUID distinguishes them.
            None => own
                .parse::<Uuid>()
                .map_or_else(|_| own.to_owned(), |uuid| uuid.simple().to_string()[..8].to_owned()),
        }
    }
}
