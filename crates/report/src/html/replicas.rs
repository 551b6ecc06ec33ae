//! The replicas of a run: their states, and their numbers of connections.

use std::collections::BTreeMap;

use platform::EventKind;
use serde::Serialize;

use super::lines::text;
use crate::series::Samples;

/// Maximum number of replicas kept, and of state changes of each.
const REPLICAS_MAX: usize = 512;
const STATES_MAX: usize = 200;
/// Maximum number of moments at which connections are shown, and of numbers in total.
const MOMENTS_MAX: usize = 600;
const CELLS_MAX: usize = 150_000;

/// A load that has not counted for this long has ended.
const LOAD_ENDED_MS: u64 = 10_000;

type Counts = Vec<(usize, u64)>;

/// A number from each of these moments on.
pub(super) type Steps = Vec<(u64, u32)>;

/// All replicas.
#[derive(Debug, Clone, Default)]
pub(super) struct Replicas {
    names: BTreeMap<String, usize>,
    list: Vec<Replica>,
    /// Connections by the replica's number: the load's counts, or scraped ones without a load.
    counts: Samples<Counts>,
    latest: Option<Counts>,
    counted_ms: Option<u64>,
    scraped: BTreeMap<usize, u64>,
}

#[derive(Debug, Clone)]
struct Replica {
    /// Empty: not known.
    service: String,
    states: Vec<(u64, State)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Starting,
    Ready,
    Unready,
    /// It keeps its connections and accepts no new ones.
    Inactive,
    Draining,
    Gone,
    Crashed,
}

/// The replicas in a page.
#[derive(Debug, Serialize)]
pub(super) struct Drawn<'a> {
    replicas: Vec<DrawnReplica<'a>>,
    /// When connections were counted.
    moments: Vec<u64>,
}

#[derive(Debug, Serialize)]
struct DrawnReplica<'a> {
    name: String,
    service: String,
    states: &'a [(u64, State)],
    /// Connections at each moment; absent: not counted.
    connections: Vec<Option<u64>>,
}

impl Replicas {
    pub(super) fn observe(&mut self, t_ms: u64, kind: &EventKind) {
        match kind {
            EventKind::PodStarting { service, pod, .. } => self.set(t_ms, service, pod, State::Starting),
            EventKind::PodReady { service, pod, .. } => self.set(t_ms, service, pod, State::Ready),
            EventKind::PodUnready { service, pod, .. } => self.set(t_ms, service, pod, State::Unready),
            EventKind::PodDraining { service, pod, .. } => self.set(t_ms, service, pod, State::Draining),
            EventKind::PodGone { service, pod, .. } => self.set(t_ms, service, pod, State::Gone),
            EventKind::PodCrashed { service, pod, .. } => self.set(t_ms, service, pod, State::Crashed),
            EventKind::TrafficChanged { service, pod, traffic } => {
                let state = if traffic.is_active() { State::Ready } else { State::Inactive };
                self.set(t_ms, service, pod, state);
            }
            EventKind::EndpointsChanged { service, ready, draining } => {
                // Replicas from before the start of the run have no events of their own.
                for (pods, state) in [(ready, State::Ready), (draining, State::Draining)] {
                    for pod in pods {
                        if self.state_of(pod).is_none() {
                            self.set(t_ms, service, pod, state);
                        }
                    }
                }
            }
            EventKind::LoadTick(tick) => {
                let counts = tick.by_replica.iter();
                let counts = counts.filter_map(|(name, count)| Some((self.number("", name)?, *count)));
                let counts: Counts = counts.collect();
                if !counts.is_empty() || self.counted_ms.is_some() {
                    self.counted_ms = Some(t_ms);
                    self.count(t_ms, counts);
                }
            }
            EventKind::MetricScraped { service, metric, values_milli }
                if !matches!(metric.as_str(), "cpu" | "memory") =>
            {
                for (name, milli) in values_milli {
                    if let Some(number) = self.number(service, name) {
                        self.scraped.insert(number, u64::try_from(*milli).unwrap_or(0) / 1000);
                    }
                }
                if self.counted_ms.is_none_or(|counted| t_ms.saturating_sub(counted) > LOAD_ENDED_MS) {
                    let now = self.scraped.iter().map(|(number, count)| (*number, *count)).collect();
                    self.count(t_ms, now);
                }
            }
            _ => {}
        }
    }

    fn count(&mut self, t_ms: u64, counts: Counts) {
        self.latest = Some(counts.clone());
        self.counts.push(t_ms, counts);
    }

    /// Connections by replica, from the last count.
    pub(super) fn latest(&self) -> Option<BTreeMap<&str, u64>> {
        let counts: BTreeMap<usize, u64> = self.latest.as_ref()?.iter().copied().collect();
        Some(
            self.names
                .iter()
                .filter_map(|(name, number)| Some((name.as_str(), *counts.get(number)?)))
                .collect(),
        )
    }

    fn number(&mut self, service: &str, name: &str) -> Option<usize> {
        let number = match self.names.get(name) {
            Some(number) => *number,
            None if self.list.len() >= REPLICAS_MAX => return None,
            None => {
                self.names.insert(name.to_owned(), self.list.len());
                self.list.push(Replica { service: String::new(), states: Vec::new() });
                self.list.len() - 1
            }
        };
        if !service.is_empty() {
            service.clone_into(&mut self.list[number].service);
        }
        Some(number)
    }

    fn state_of(&self, name: &str) -> Option<State> {
        let replica = &self.list[*self.names.get(name)?];
        replica.states.last().map(|(_, state)| *state)
    }

    fn set(&mut self, t_ms: u64, service: &str, name: &str, state: State) {
        let Some(number) = self.number(service, name) else { return };
        if state == State::Gone {
            self.scraped.remove(&number);
        }
        let states = &mut self.list[number].states;
        if states.len() >= STATES_MAX {
            states.pop();
        }
        if states.last().is_none_or(|(_, known)| *known != state) {
            states.push((t_ms, state));
        }
    }

    /// Number of ready replicas of a service over time.
    pub(super) fn ready(&self, service: &str) -> Steps {
        let mut changes: BTreeMap<u64, i32> = BTreeMap::new();
        for replica in self.list.iter().filter(|replica| replica.service == service) {
            let mut was_ready = false;
            for (t_ms, state) in &replica.states {
                let is_ready = matches!(state, State::Ready | State::Inactive);
                *changes.entry(*t_ms).or_default() += i32::from(is_ready) - i32::from(was_ready);
                was_ready = is_ready;
            }
        }
        let mut ready = 0;
        let mut steps = Steps::new();
        for (t_ms, change) in changes {
            ready += change;
            let now = u32::try_from(ready).unwrap_or(0);
            if steps.last().is_none_or(|(_, known)| *known != now) {
                steps.push((t_ms, now));
            }
        }
        steps
    }

    pub(super) fn finish(&self) -> Drawn<'_> {
        let samples = self.counts.list();
        let most = (CELLS_MAX / self.list.len().max(1)).clamp(1, MOMENTS_MAX);
        let every = samples.len().div_ceil(most).max(1);
        let samples: Vec<_> = samples.iter().step_by(every).collect();
        let mut replicas: Vec<DrawnReplica<'_>> = self
            .list
            .iter()
            .map(|replica| DrawnReplica {
                name: String::new(),
                service: text(&replica.service),
                states: &replica.states,
                connections: vec![None; samples.len()],
            })
            .collect();
        for (name, number) in &self.names {
            replicas[*number].name = text(name);
        }
        for (moment, (_, counts)) in samples.iter().enumerate() {
            for (number, count) in counts {
                replicas[*number].connections[moment] = Some(*count);
            }
        }
        Drawn { replicas, moments: samples.iter().map(|(t_ms, _)| *t_ms).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_present_before_the_run_count_as_ready_until_they_are_not() {
        let mut replicas = Replicas::default();
        let (service, pod) = (|| "tcp".to_owned(), |name: &str| name.to_owned());
        let before = EventKind::EndpointsChanged {
            service: service(),
            ready: vec![pod("a")],
            draining: vec![pod("b")],
        };
        replicas.observe(0, &before);
        replicas.observe(10, &EventKind::PodReady { service: service(), pod: pod("c"), after_ms: 1 });
        replicas
            .observe(20, &EventKind::PodDraining { service: service(), pod: pod("a"), connections: None });
        replicas.observe(
            20,
            &EventKind::PodGone { service: service(), pod: pod("b"), after_ms: 1, forced: false },
        );
        assert_eq!(replicas.ready("tcp"), [(0, 1), (10, 2), (20, 1)]);
        assert_eq!(replicas.ready("udp"), []);
    }

    #[test]
    fn a_flapping_replica_stays_bounded_and_its_last_state_is_kept() {
        let mut replicas = Replicas::default();
        for t_ms in 0..10_000 {
            let state = if t_ms % 2 == 0 { State::Ready } else { State::Unready };
            replicas.set(t_ms, "tcp", "tcp-0", state);
        }
        for number in 0..10_000 {
            replicas.set(0, "tcp", &format!("tcp-{number}"), State::Gone);
        }
        let drawn = replicas.finish();
        assert_eq!(drawn.replicas.len(), REPLICAS_MAX);
        assert_eq!(drawn.replicas[0].states.len(), STATES_MAX);
        assert_eq!(replicas.state_of("tcp-0"), Some(State::Gone));
    }
}
