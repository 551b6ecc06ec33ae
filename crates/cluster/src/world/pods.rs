//! The life of pods.

use platform::{EventKind, target::Traffic};

use super::{Now, World};
use crate::facts::PodFacts;

/// A pod, and what has been reported of it.
#[derive(Debug)]
pub(super) struct PodState {
    pub(super) facts: PodFacts,
    pub(super) service: Option<String>,
    /// Its start was reported with this many restarts.
    started: Option<u32>,
    /// When that was seen, ms since the run began; absent: before the run.
    started_ms: Option<u64>,
    ready: bool,
    traffic: Traffic,
    draining: Option<Draining>,
    /// The ends of its containers that were reported.
    ends: Vec<String>,
    over: bool,
    /// Whether it was reported as unschedulable.
    unschedulable: bool,
    /// The kubelet's last message about its readiness probe.
    pub(super) probe: Option<String>,
}

/// It is terminating.
#[derive(Debug, Clone, Copy)]
struct Draining {
    /// When that was seen, ms since the run began; absent: before the run.
    since_ms: Option<u64>,
    /// Without a grace period.
    killed: bool,
}

impl Draining {
    fn of(facts: &PodFacts, since_ms: Option<u64>) -> Option<Self> {
        let grace = facts.deleting?;
        Some(Self { since_ms, killed: grace == 0 && facts.node.is_some() })
    }
}

impl PodState {
    fn new(facts: PodFacts) -> Self {
        Self {
            facts,
            service: None,
            started: None,
            started_ms: None,
            ready: false,
            traffic: Traffic::Active,
            draining: None,
            ends: Vec::new(),
            over: false,
            unschedulable: false,
            probe: None,
        }
    }

    /// Marks the present state as reported.
    fn seen_before(mut self) -> Self {
        let facts = &self.facts;
        self.started = facts.node.is_some().then(|| facts.restarts());
        self.ready = facts.is_ready();
        self.traffic = facts.traffic;
        self.draining = Draining::of(facts, None);
        self.over = facts.is_over();
        self.ends = ends(facts).map(|(id, _)| id.to_owned()).collect();
        self
    }
}

fn ends(facts: &PodFacts) -> impl Iterator<Item = (&str, &str)> {
    let ended = facts.containers.iter().filter_map(|container| container.ended.as_ref());
    ended.map(|ended| (ended.id.as_str(), ended.words.as_str()))
}

impl World {
    pub(super) fn pod_is(&mut self, now: Now, facts: PodFacts) {
        let name = facts.name.clone();
        // A new pod of the same name: one of a StatefulSet, replaced while the connection was lost.
        if self.pods.get(&name).is_some_and(|known| known.facts.uid != facts.uid) {
            self.pod_gone(now, &name, None);
        }
        let mut state = if let Some(mut known) = self.pods.remove(&name) {
            if known.facts.labels != facts.labels {
                known.service = self.service_of_labels(&facts.labels);
            }
            known.facts = facts;
            known
        } else {
            let service = self.service_of_labels(&facts.labels);
            let state = PodState::new(facts);
            PodState { service, ..if self.live { state } else { state.seen_before() } }
        };
        let events = state.service.clone().map(|service| news(&mut state, &service, now));
        let service = state.service.clone();
        self.pods.insert(name, state);
        for event in events.into_iter().flatten() {
            self.tell(now, event);
        }
        // Its endpoint may have been seen earlier.
        if let Some(service) = service {
            self.endpoints_of(now, &service);
        }
    }

    pub(super) fn pod_gone(&mut self, now: Now, name: &str, last: Option<&PodFacts>) {
        let Some(state) = self.pods.remove(name) else { return };
        let Some(service) = state.service else { return };
        let last = last.unwrap_or(&state.facts);
        let killed = |facts: &PodFacts| {
            let mut ended = facts.containers.iter().filter_map(|container| container.ended.as_ref());
            ended.any(|ended| ended.exit_code == 137)
        };
        let (after_ms, forced) = match state.draining.or_else(|| Draining::of(last, Some(now.t_ms))) {
            Some(Draining { since_ms, killed: was_killed }) => {
                let new_end = ends(last).any(|(id, _)| !state.ends.iter().any(|known| known == id));
                (now.t_ms.saturating_sub(since_ms.unwrap_or(0)), was_killed || (new_end && killed(last)))
            }
            // It was deleted while the connection was lost.
            None => (0, false),
        };
        self.tell(
            now,
            EventKind::PodGone { service: service.clone(), pod: name.to_owned(), after_ms, forced },
        );
        self.endpoints_of(now, &service);
    }
}

/// The pod's changes since the last call.
fn news(state: &mut PodState, service: &str, now: Now) -> Vec<EventKind> {
    let mut events = Vec::new();
    let (service, pod) = (service.to_owned(), state.facts.name.clone());
    let restarts = state.facts.restarts();
    if let (Some(node), None) = (&state.facts.node, state.started) {
        state.started = Some(restarts);
        state.started_ms = Some(now.t_ms);
        let (service, pod) = (service.clone(), pod.clone());
        events.push(EventKind::PodStarting { service, pod, node: node.clone(), restarts });
    }
    if let Some(why) = &state.facts.unschedulable
        && !state.unschedulable
    {
        state.unschedulable = true;
        events.push(EventKind::Warning { message: format!("no node takes {pod}: {why}") });
    }
    let is_deleting = state.facts.deleting.is_some();
    let new_ends: Vec<(String, String)> = ends(&state.facts)
        .filter(|(id, _)| !state.ends.iter().any(|known| known == id))
        .map(|(id, words)| (id.to_owned(), words.to_owned()))
        .collect();
    // Ends during a drain are reported with the pod's own.
    if !is_deleting {
        for (_, exit) in &new_ends {
            state.ready = false;
            let restart_in_ms = restart_in_ms(&state.facts);
            state.over |= restart_in_ms.is_none();
            let (service, pod, exit) = (service.clone(), pod.clone(), exit.clone());
            events.push(EventKind::PodCrashed { service, pod, exit, restart_in_ms });
        }
        if !new_ends.is_empty() {
            // Only the last end of each container is kept, by the API as here.
            state.ends = ends(&state.facts).map(|(id, _)| id.to_owned()).collect();
        }
        if state.facts.is_over() && !state.over {
            state.over = true;
            state.ready = false;
            let (service, pod, exit) = (service.clone(), pod.clone(), over_words(&state.facts));
            events.push(EventKind::PodCrashed { service, pod, exit, restart_in_ms: None });
        }
    }
    let runs = state.facts.containers.iter().all(|container| container.running.is_some());
    if let (Some(node), Some(told)) = (&state.facts.node, state.started)
        && restarts > told
        && runs
    {
        state.started = Some(restarts);
        state.started_ms = Some(now.t_ms);
        let (service, pod, node) = (service.clone(), pod.clone(), node.clone());
        events.push(EventKind::PodStarting { service, pod, node, restarts });
    }
    if state.facts.is_ready() != state.ready && !is_deleting {
        state.ready = state.facts.is_ready();
        let (service, pod) = (service.clone(), pod.clone());
        events.push(if state.ready {
            let after_ms = state
                .started_ms
                .map_or_else(|| took_ms(&state.facts), |started_ms| now.t_ms.saturating_sub(started_ms));
            EventKind::PodReady { service, pod, after_ms }
        } else {
            let reason = state.probe.clone().unwrap_or_else(|| state.facts.why_not_ready());
            EventKind::PodUnready { service, pod, reason }
        });
    }
    if state.facts.traffic != state.traffic && !is_deleting {
        state.traffic = state.facts.traffic;
        let (service, pod) = (service.clone(), pod.clone());
        events.push(EventKind::TrafficChanged { service, pod, traffic: state.traffic });
    }
    if state.draining.is_none() {
        state.draining = Draining::of(&state.facts, Some(now.t_ms));
        if state.draining.is_some_and(|draining| !draining.killed) {
            events.push(EventKind::PodDraining { service, pod, connections: None });
        }
    }
    events
}

/// The time from its start to its readiness, in the API server's whole seconds.
fn took_ms(facts: &PodFacts) -> u64 {
    let ready = facts.ready.as_ref().and_then(|ready| ready.since);
    let took =
        ready.zip(facts.started.or(facts.created)).map(|(ready, started)| ready.duration_since(started));
    took.and_then(|took| u64::try_from(took.as_millis()).ok()).unwrap_or(0)
}

/// When an ended container is restarted; absent: never.
fn restart_in_ms(facts: &PodFacts) -> Option<u64> {
    if facts.is_over() {
        return None;
    }
    // "back-off 1m20s restarting failed container=…"
    let back_off = facts.containers.iter().find_map(|container| {
        let (reason, message) = container.waiting.as_ref()?;
        let wait = message.strip_prefix("back-off ")?.split(' ').next()?;
        (reason == "CrashLoopBackOff").then(|| platform::duration::parse(wait).ok())?
    });
    Some(back_off.map_or(0, platform::duration::whole_ms))
}

fn over_words(facts: &PodFacts) -> String {
    if facts.phase_reason.is_empty() { facts.phase.to_lowercase() } else { facts.phase_reason.clone() }
}
