//! A worker's reports to the coordinator: counts and distributions, never single samples.

use std::{collections::HashMap, sync::mpsc};

use platform::event::{Counters, Ending};
use scenario::{Protocol, Scenario};

use crate::{
    histogram::Distributions,
    messages::{Broadcast, Held, Measured, Report},
};

/// Further replicas count as unknown, so that a target that invents one per connection costs no memory.
const REPLICAS_MAX: usize = 4096;
/// Further codes are not distinguished.
const CODES_MAX: usize = 64;

/// The channel from a worker to the coordinator.
#[derive(Debug)]
pub(super) struct Outbox {
    worker: u32,
    reports: mpsc::SyncSender<(u32, Report)>,
}

impl Outbox {
    pub(super) fn new(worker: u32, reports: mpsc::SyncSender<(u32, Report)>) -> Self {
        Self { worker, reports }
    }

    pub(super) fn send(&self, report: Report) {
        // Fails only if the coordinator is gone, and then there is nobody to notify.
        let _ = self.reports.send((self.worker, report));
    }

    /// Sends a report if the coordinator keeps up. Returns whether it does.
    pub(super) fn try_send(&self, report: Report) -> bool {
        self.reports.try_send((self.worker, report)).is_ok()
    }

    /// Reports the state; the measurements wait for the next time if the coordinator is behind.
    pub(super) fn progress(&self, tally: &mut Tally, regular: bool) {
        let measured = tally.take();
        if let Err(mpsc::TrySendError::Full((_, Report::Progress { measured, .. }))) =
            self.reports.try_send((self.worker, Report::Progress { regular, measured }))
        {
            tally.distributions.merge(&measured.distributions);
            tally.held = measured.held;
        }
    }
}

/// A worker's counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) totals: Counters,
    pub(super) distributions: Distributions,
    pub(super) connecting: u64,
    pub(super) broadcasts: Vec<Broadcast>,
    pub(super) held: Vec<Held>,
    open: u64,
    open_max: u64,
    /// Open connections by index; index 0 is the unknown replica.
    replicas: Vec<(Option<String>, u64)>,
    /// Rates of new connections, by the same index.
    rushes: Vec<Rush>,
    endings: Vec<Ending>,
    /// No particular replica serves a peer.
    peers: bool,
    indices: HashMap<String, u16>,
}

/// Connections of the current second, and of the busiest one.
#[derive(Debug, Clone, Copy, Default)]
struct Rush {
    second: u32,
    count: u64,
    most: u64,
}

impl Rush {
    fn came(&mut self, second: u32) {
        if self.second != second {
            (self.second, self.count) = (second, 0);
        }
        self.count += 1;
        self.most = self.most.max(self.count);
    }
}

impl Tally {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self {
            broadcasts: vec![Broadcast::default(); scenario.broadcasts().count()],
            replicas: vec![(None, 0)],
            rushes: vec![Rush::default()],
            peers: scenario.protocol == Protocol::Udp,
            ..Self::default()
        }
    }

    pub(super) fn open(&self) -> u64 {
        self.open
    }

    /// A connection opened; its replica is not known yet.
    pub(super) fn opened(&mut self) {
        self.open += 1;
        self.open_max = self.open_max.max(self.open);
        self.replicas[0].1 += 1;
    }

    pub(super) fn ended(&mut self, replica: u16) {
        self.open -= 1;
        self.replicas[usize::from(replica)].1 -= 1;
    }

    /// The connection, counted as unknown until now, is served by `replica`. Returns its index.
    pub(super) fn identified(&mut self, replica: &str) -> u16 {
        let index = match self.indices.get(replica) {
            Some(index) => *index,
            None if self.replicas.len() < REPLICAS_MAX => {
                let index = self.replicas.len() as u16;
                self.replicas.push((Some(replica.to_owned()), 0));
                self.rushes.push(Rush::default());
                self.indices.insert(replica.to_owned(), index);
                index
            }
            None => 0,
        };
        self.replicas[0].1 -= 1;
        self.replicas[usize::from(index)].1 += 1;
        index
    }

    /// A replica accepted a connection in that second of the run.
    pub(super) fn served(&mut self, replica: u16, second: u32) {
        self.rushes[usize::from(replica)].came(second);
    }

    /// The index of a known replica.
    pub(super) fn index_of(&self, replica: &str) -> Option<u16> {
        self.indices.get(replica).copied()
    }

    pub(super) fn replica(&self, index: u16) -> Option<&str> {
        self.replicas[usize::from(index)].0.as_deref()
    }

    /// A server ended a connection, or refused one, with this code.
    pub(super) fn ended_by_code(&mut self, code: u16, reason: &str) {
        if let Some(known) = self.endings.iter_mut().find(|ending| ending.code == code) {
            known.count += 1;
        } else if self.endings.len() < CODES_MAX {
            self.endings.push(Ending { code, reason: reason.to_owned(), count: 1 });
        }
    }

    pub(super) fn take(&mut self) -> Box<Measured> {
        Box::new(Measured {
            open: self.open,
            connecting: self.connecting,
            open_max: self.open_max,
            totals: self.totals,
            distributions: self.distributions.take(),
            broadcasts: self.broadcasts.clone(),
            held: std::mem::take(&mut self.held),
            endings: self.endings.clone(),
            replicas: self.replicas.iter().filter(|(_, open)| *open > 0 && !self.peers).cloned().collect(),
            busiest: self
                .replicas
                .iter()
                .zip(&self.rushes)
                .filter(|(_, rush)| rush.most > 0)
                .map(|((replica, _), rush)| (replica.clone(), rush.most))
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_second_of_each_replica_is_kept() {
        let mut tally = Tally::new(&Scenario::default());
        for (replica, second) in
            [("a", 0), ("a", 0), ("a", 1), ("b", 1), ("b", 7), ("b", 7), ("b", 7), ("a", 9)]
        {
            tally.opened();
            let index = tally.identified(replica);
            tally.served(index, second);
        }
        tally.opened();
        tally.served(0, 9);
        let expected = [(None, 1), (Some("a".to_owned()), 2), (Some("b".to_owned()), 3)];
        assert_eq!(tally.take().busiest, expected);
    }
}
