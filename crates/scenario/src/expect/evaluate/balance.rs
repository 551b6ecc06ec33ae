//! How many connections each replica has when the load's close begins, and a balancer's decisions until then.

use std::collections::{BTreeMap, BTreeSet};

use platform::event::EventKind;

use crate::spread::{self, UNKNOWN};

/// Bounds the memory if a platform's replicas keep changing.
const REPLICAS_MAX: usize = 10_000;
/// Bounds the memory if a balancer never settles.
const DECISIONS_MAX: usize = 10_000;

#[derive(Debug, Clone, Default)]
pub(super) struct Balance {
    service: String,
    /// Replicas that existed before the run, if that is known, or were added during it. The load does not know those
    /// without a connection.
    here: BTreeSet<String>,
    /// They include those from before the run.
    is_complete: bool,
    /// Replicas that were told to end, or ended.
    left: BTreeSet<String>,
    /// From the load's last tick.
    now: BTreeMap<String, u64>,
    /// Orders and reason of each decision.
    decisions: Vec<String>,
    at_close: Option<BTreeMap<String, u64>>,
}

/// A replica and its connections.
pub(super) struct Holder {
    pub(super) replica: String,
    pub(super) connections: u64,
    /// The connections on all replicas.
    pub(super) all: u64,
}

impl Balance {
    pub(super) fn of(service: &str) -> Self {
        Self { service: service.to_owned(), ..Self::default() }
    }

    pub(super) fn begins_with(&mut self, replicas: impl IntoIterator<Item = String>) {
        self.here.extend(replicas.into_iter().take(REPLICAS_MAX));
        self.is_complete = true;
    }

    pub(super) fn observe(&mut self, event: &EventKind) {
        if self.at_close.is_some() {
            return;
        }
        match event {
            EventKind::LoadTick(tick) => self.now.clone_from(&tick.by_replica),
            EventKind::PhaseStarted { phase, .. } if phase == "close" => self.close(),
            EventKind::PodReady { service, pod, .. } if self.is_new(service) => {
                self.left.remove(pod);
                self.here.insert(pod.clone());
            }
            EventKind::PodDraining { service, pod, .. }
            | EventKind::PodGone { service, pod, .. }
            | EventKind::PodCrashed { service, pod, .. }
                if self.is_new(service) =>
            {
                self.here.remove(pod);
                self.left.insert(pod.clone());
            }
            EventKind::Balanced { service, orders, reason }
                if *service == self.service && !orders.is_empty() && self.decisions.len() < DECISIONS_MAX =>
            {
                self.decisions.push(format!("{}: {reason}", orders.join(", ")));
            }
            _ => {}
        }
    }

    fn is_new(&self, service: &str) -> bool {
        service == self.service && self.here.len() + self.left.len() < REPLICAS_MAX
    }

    /// Later ticks show connections that the load itself has closed.
    fn close(&mut self) {
        let mut counts = std::mem::take(&mut self.now);
        for replica in &self.here {
            counts.entry(replica.clone()).or_insert(0);
        }
        self.at_close = Some(counts);
    }

    fn at_close(&self) -> Result<&BTreeMap<String, u64>, String> {
        self.at_close.as_ref().ok_or_else(|| "the load did not reach its close".to_owned())
    }

    /// Replicas that still count.
    fn part(&self) -> Result<Vec<(&String, u64)>, String> {
        let counts = self.at_close()?.iter();
        let part = counts.filter(|(replica, _)| *replica != UNKNOWN && !self.left.contains(*replica));
        let part: Vec<_> = part.map(|(replica, count)| (replica, *count)).collect();
        if part.is_empty() { Err("no replica reports its name".to_owned()) } else { Ok(part) }
    }

    /// The share refers to all connections. A single replica has no balance.
    pub(super) fn emptiest(&self) -> Result<Holder, String> {
        let part = self.part()?;
        if let [(only, _)] = part.as_slice() {
            return Err(format!("{only} is the only replica"));
        }
        self.holder(part.into_iter().min_by_key(|(_, count)| *count))
    }

    pub(super) fn fullest(&self) -> Result<Holder, String> {
        self.holder(self.part()?.into_iter().rev().max_by_key(|(_, count)| *count))
    }

    fn holder(&self, found: Option<(&String, u64)>) -> Result<Holder, String> {
        let (replica, connections) = found.ok_or("no replica reports its name")?;
        Ok(Holder { replica: replica.clone(), connections, all: self.at_close()?.values().sum() })
    }

    pub(super) fn spread(&self) -> Result<Vec<u64>, String> {
        Ok(spread::sorted(self.part()?.into_iter().map(|(_, count)| count)))
    }

    pub(super) fn replicas(&self) -> Result<u64, String> {
        self.at_close()?;
        if self.is_complete {
            return Ok(self.here.len() as u64);
        }
        Err("the replicas at the beginning are unknown".to_owned())
    }

    pub(super) fn decisions(&self) -> Result<&[String], String> {
        self.at_close()?;
        Ok(&self.decisions)
    }
}

#[cfg(test)]
mod tests;
