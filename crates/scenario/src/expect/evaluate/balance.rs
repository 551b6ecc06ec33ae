//! Which replica holds how many connections when the load's close begins.

use std::collections::{BTreeMap, BTreeSet};

use platform::event::EventKind;

/// Where the load counts connections whose replica it does not know.
const UNKNOWN: &str = "unknown";
/// Against a platform whose replicas come and go for ever.
const REPLICAS_MAX: usize = 10_000;

#[derive(Debug, Clone, Default)]
pub(super) struct Balance {
    service: String,
    /// Replicas that came during the run. The load does not know them as long as they have no connection.
    came: BTreeSet<String>,
    /// Replicas that were told to end, or ended.
    left: BTreeSet<String>,
    /// As of the load's last tick.
    now: BTreeMap<String, u64>,
    at_close: Option<BTreeMap<String, u64>>,
}

/// The replica with the fewest connections.
pub(super) struct Emptiest {
    pub(super) replica: String,
    pub(super) connections: u64,
    /// On all replicas.
    pub(super) all: u64,
}

impl Balance {
    pub(super) fn of(service: &str) -> Self {
        Self { service: service.to_owned(), ..Self::default() }
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
                self.came.insert(pod.clone());
            }
            EventKind::PodDraining { service, pod, .. }
            | EventKind::PodGone { service, pod, .. }
            | EventKind::PodCrashed { service, pod, .. }
                if self.is_new(service) =>
            {
                self.came.remove(pod);
                self.left.insert(pod.clone());
            }
            _ => {}
        }
    }

    fn is_new(&self, service: &str) -> bool {
        service == self.service && self.came.len() + self.left.len() < REPLICAS_MAX
    }

    /// Later ticks show connections that the load itself has closed.
    fn close(&mut self) {
        let mut counts = std::mem::take(&mut self.now);
        for replica in &self.came {
            counts.entry(replica.clone()).or_insert(0);
        }
        self.at_close = Some(counts);
    }

    /// Only replicas that still take part; the share is of all connections.
    pub(super) fn emptiest(&self) -> Result<Emptiest, String> {
        let counts = self.at_close.as_ref().ok_or("the load did not come to its close")?;
        let all = counts.values().sum();
        let part: Vec<_> = counts
            .iter()
            .filter(|(replica, _)| *replica != UNKNOWN && !self.left.contains(*replica))
            .collect();
        match part.as_slice() {
            [] => Err("no replica says who it is".to_owned()),
            [(only, _)] => Err(format!("{only} is the only replica")),
            [first, rest @ ..] => {
                let (replica, connections) =
                    rest.iter().fold(*first, |least, other| if other.1 < least.1 { *other } else { least });
                Ok(Emptiest { replica: replica.clone(), connections: *connections, all })
            }
        }
    }
}

#[cfg(test)]
mod tests;
