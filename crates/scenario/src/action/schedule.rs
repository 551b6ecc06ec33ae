//! The schedule: consumes the events of a run, and says which actions are due. It has no clock.

use platform::{Event, EventKind, duration::whole_ms, target::Subject};

use super::{Action, Happening, Trigger, Verb, known};

/// Something to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub verb: Verb,
    /// The reason, such as `at 30s`.
    pub because: String,
}

/// The actions of a run, and which of them have been taken.
#[derive(Debug, Clone)]
pub struct Schedule {
    actions: Vec<(Action, State)>,
    /// Parts that were stopped for a time, until when, and why.
    stopped: Vec<(Subject, u64, String)>,
    phase: Phase,
}

/// What can still be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Everything.
    Load,
    /// What an event brings about on the platform: the load's clients are gone, and its times are over.
    Closed,
    /// Starting what is stopped.
    Over,
}

impl Phase {
    fn allows(self, action: &Action) -> bool {
        match self {
            Self::Load => true,
            Self::Closed => action.verb.is_of_platform() && matches!(action.trigger, Trigger::When { .. }),
            Self::Over => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    /// Due from this time of the run on.
    Due(u64),
    Taken,
}

impl Schedule {
    pub fn new(actions: &[Action]) -> Self {
        let actions = actions.iter().map(|action| (action.clone(), State::Waiting)).collect();
        Self { actions, stopped: Vec::new(), phase: Phase::Load }
    }

    /// Processes the next event of the run.
    pub fn observe(&mut self, event: &Event) {
        for (action, state) in self.actions.iter_mut().filter(|(_, state)| *state == State::Waiting) {
            if let Some(delay) = action.trigger.delay_after(event) {
                *state = State::Due(event.t_ms.saturating_add(whole_ms(delay)));
            }
        }
        match &event.kind {
            EventKind::LoadClosed { .. } => {
                self.phase = Phase::Closed;
                // They were stopped to disturb the load.
                for (_, until, _) in &mut self.stopped {
                    *until = event.t_ms.min(*until);
                }
            }
            // A part that could not be stopped need not be started again.
            EventKind::ActionTaken { action, failed: true, .. } => {
                self.stopped.retain(|(what, ..)| !action.starts_with(&format!("stop {what} for ")));
            }
            _ => {}
        }
    }

    /// When the next step is due, ms of the run.
    pub fn next_due(&self) -> Option<u64> {
        let actions = self.actions.iter().filter_map(|(action, state)| match state {
            State::Due(at) if self.phase.allows(action) => Some(*at),
            _ => None,
        });
        actions.chain(self.stopped.iter().map(|(_, until, _)| *until)).min()
    }

    /// Everything due by now, by time. Once the load has closed, its clients do nothing more.
    pub fn take_due(&mut self, now_ms: u64) -> Vec<Step> {
        let mut due: Vec<(u64, Step)> = Vec::new();
        self.stopped.retain(|(what, until, because)| {
            if *until <= now_ms || self.phase == Phase::Over {
                let verb = Verb::Start { what: what.clone() };
                due.push((*until, Step { verb, because: because.clone() }));
                return false;
            }
            true
        });
        let phase = self.phase;
        for (action, state) in self.actions.iter_mut().filter(|(action, _)| phase.allows(action)) {
            let State::Due(at) = *state else { continue };
            if at > now_ms {
                continue;
            }
            *state = State::Taken;
            let step = Step { verb: action.verb.clone(), because: action.trigger.to_string() };
            if let Verb::Stop { what, length: Some(length) } = &action.verb {
                let because = format!("it was to be stopped for {}", platform::duration::format(*length));
                self.stopped.push((what.clone(), now_ms.saturating_add(whole_ms(*length)), because));
            }
            due.push((at, step));
        }
        due.sort_by_key(|(at, _)| *at);
        due.into_iter().map(|(_, step)| step).collect()
    }

    /// The run is over, at its end or earlier: returns what to start again now.
    pub fn end(&mut self) -> Vec<Step> {
        self.phase = Phase::Over;
        self.take_due(u64::MAX)
    }

    /// Once the load has closed: actions that can still happen, in words.
    pub fn pending(&self) -> Vec<String> {
        let can_happen = |(action, state): &&(Action, State)| {
            let can_trigger = match (state, &action.trigger) {
                (State::Due(_), _) => true,
                (State::Waiting, Trigger::When { event, .. }) => self.can_come(event),
                _ => false,
            };
            can_trigger && self.phase.allows(action)
        };
        self.actions.iter().filter(can_happen).map(|(action, _)| action.to_string()).collect()
    }

    /// Whether an event can come after the load's close.
    fn can_come(&self, event: &Happening) -> bool {
        let by = |is_cause: &dyn Fn(&Verb) -> bool| {
            let mut left = self.actions.iter().filter(|(_, state)| *state != State::Taken);
            left.any(|(action, _)| self.phase.allows(action) && is_cause(&action.verb))
        };
        match event {
            // Only this scenario stops anything, and starts it again; but parts also start by themselves.
            Happening::Stopped(what) => {
                by(&|verb| matches!(verb, Verb::Stop { what: one, .. } if one == what))
            }
            Happening::Started(what) if !known::is_part(&what.name) => {
                self.stopped.iter().any(|(one, ..)| one == what)
                    || by(&|verb| matches!(verb, Verb::Start { what: one } if one == what))
            }
            event => event.service().is_some(),
        }
    }

    /// Actions that were never taken, in words.
    pub fn never_taken(&self) -> Vec<String> {
        let left = self.actions.iter().filter(|(_, state)| *state != State::Taken);
        left.map(|(action, _)| action.to_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use platform::event::{Source, Stamper};
    use uuid::Uuid;

    use super::*;
    use crate::Scenario;

    fn schedule(actions: &str) -> Schedule {
        let text = format!("name: x\nphases: {{hold: {{for: 10m}}}}\nactions: {actions}");
        Schedule::new(&Scenario::parse(&text, "x").unwrap_or_else(|error| panic!("{error}")).actions)
    }

    fn observe(schedule: &mut Schedule, t_ms: u64, kind: EventKind) {
        let mut stamper = Stamper::new(Uuid::nil(), Source::Load, Timestamp::UNIX_EPOCH);
        schedule.observe(&stamper.stamp(t_ms, kind));
    }

    fn started() -> EventKind {
        EventKind::LoadStarted { plan: Scenario::default().describe(String::new()) }
    }

    fn changed(from: u32, to: u32) -> EventKind {
        EventKind::DesiredChanged {
            service: "tcp".to_owned(),
            from,
            to,
            reason: String::new(),
            explanation: String::new(),
            metrics: Vec::new(),
        }
    }

    fn due(schedule: &mut Schedule, now_ms: u64) -> Vec<String> {
        schedule.take_due(now_ms).iter().map(|step| format!("{}: {}", step.because, step.verb)).collect()
    }

    const NOTHING: [&str; 0] = [];

    #[test]
    fn times_count_from_the_first_connect() {
        let mut schedule =
            schedule("[{ at: 30s, do: drain, what: tcp/tcp-0 }, { at: 10s, do: kill, what: tcp }]");
        assert_eq!((schedule.next_due(), due(&mut schedule, 100_000).len()), (None, 0));
        observe(&mut schedule, 2_000, started());
        assert_eq!(schedule.next_due(), Some(12_000));
        assert_eq!(due(&mut schedule, 11_999), NOTHING);
        assert_eq!(due(&mut schedule, 40_000), ["at 10s: kill tcp", "at 30s: drain tcp/tcp-0"]);
        assert_eq!((schedule.next_due(), schedule.never_taken()), (None, vec![]));
    }

    #[test]
    fn an_event_triggers_each_waiting_action_once() {
        let mut schedule = schedule(r#"[{ when: "tcp 1 → 2", after: 2s, do: kill, what: tcp/fullest }]"#);
        observe(&mut schedule, 0, started());
        observe(&mut schedule, 4_000, changed(2, 3));
        assert_eq!(schedule.next_due(), None);
        observe(&mut schedule, 5_000, changed(1, 2));
        observe(&mut schedule, 6_000, changed(1, 2));
        assert_eq!(due(&mut schedule, 7_000), ["2s after tcp 1 → 2: kill tcp/fullest"]);
        observe(&mut schedule, 8_000, changed(1, 2));
        assert_eq!(schedule.next_due(), None);
    }

    #[test]
    fn a_part_stopped_for_a_time_is_started_again() {
        let mut schedule = schedule("[{ at: 1s, do: stop, what: kafka, for: 30s }]");
        observe(&mut schedule, 0, started());
        assert_eq!(due(&mut schedule, 1_010), ["at 1s: stop kafka for 30s"]);
        assert_eq!(schedule.next_due(), Some(31_010));
        assert_eq!(due(&mut schedule, 31_010), ["it was to be stopped for 30s: start kafka"]);
        assert_eq!(schedule.end(), []);
    }

    #[test]
    fn a_run_that_ends_early_leaves_nothing_stopped() {
        for by_close in [true, false] {
            let mut schedule =
                schedule("[{ at: 1s, do: stop, what: kafka, for: 30s }, { at: 9s, do: kill, what: tcp }]");
            observe(&mut schedule, 0, started());
            assert_eq!(due(&mut schedule, 1_000).len(), 1);
            if by_close {
                observe(&mut schedule, 2_000, EventKind::LoadClosed { closed: 1 });
                assert_eq!(due(&mut schedule, 2_000), ["it was to be stopped for 30s: start kafka"]);
            } else {
                assert_eq!(schedule.end().len(), 1);
            }
            assert_eq!(schedule.next_due(), None, "no action after the end");
            assert_eq!(schedule.never_taken(), ["at 9s: kill tcp"]);
        }
    }

    #[test]
    fn the_platform_is_acted_on_after_the_close_and_until_the_end() {
        let mut schedule = schedule(
            r#"[{ when: load closed, do: stop, what: kafka, for: 30s }, { when: "tcp 2 → 1", after: 2s, do: kill, what: tcp },
                { when: "tcp 2 → 1", do: join, users: 1 }, { when: spread 1/0, do: kill, what: tcp },
                { when: "udp 1 → 2", do: kill, what: udp }, { at: 9s, do: drain, what: tcp }]"#,
        );
        observe(&mut schedule, 0, started());
        observe(&mut schedule, 5_000, EventKind::LoadClosed { closed: 1 });
        assert_eq!(due(&mut schedule, 5_001), ["when load closed: stop kafka for 30s"]);
        assert_eq!(schedule.next_due(), Some(35_001), "neither at 9s nor at once: the load is closed");
        observe(&mut schedule, 9_000, changed(2, 1));
        assert_eq!(schedule.next_due(), Some(11_000), "and nobody can join it");
        assert_eq!(schedule.pending(), ["2s after tcp 2 → 1: kill tcp", "when udp 1 → 2: kill udp"]);
        assert_eq!(due(&mut schedule, 11_000), ["2s after tcp 2 → 1: kill tcp"]);
        let last: Vec<String> = schedule.end().iter().map(|step| step.verb.to_string()).collect();
        assert_eq!(last, ["start kafka"]);
        assert_eq!((schedule.next_due(), schedule.pending()), (None, vec![]));
        let never = ["when tcp 2 → 1: 1 user joins", "when spread 1/0: kill tcp", "when udp 1 → 2: kill udp"];
        assert_eq!(schedule.never_taken(), [&never[..], &["at 9s: drain tcp"]].concat());
    }

    #[test]
    fn what_nothing_causes_any_more_is_not_waited_for() {
        let mut schedule = schedule(
            "[{ at: 9s, do: stop, what: memcached }, { when: memcached stopped, do: kill, what: tcp },
              { when: load closed, do: stop, what: udp, for: 5s }, { when: udp stopped, do: drain, what: tcp },
              { when: udp started, do: scale, what: udp, to: 2 }]",
        );
        observe(&mut schedule, 0, started());
        observe(&mut schedule, 5_000, EventKind::LoadClosed { closed: 1 });
        let of_udp = ["when udp stopped: drain tcp", "when udp started: scale udp to 2"];
        assert_eq!(schedule.pending(), ["when load closed: stop udp for 5s", of_udp[0]]);
        assert_eq!(due(&mut schedule, 5_000).len(), 1);
        assert_eq!(schedule.pending(), [of_udp[1]], "it is about to start again");
        assert_eq!(due(&mut schedule, 10_000).len(), 1);
        assert_eq!(schedule.pending(), NOTHING);
    }

    #[test]
    fn nothing_due_is_done_at_the_end() {
        let mut schedule = schedule("[{ when: ramp done, after: 5s, do: kill, what: tcp }]");
        observe(&mut schedule, 0, EventKind::RampDone { open: 1, refused: 0, lost: 0, after_ms: 1 });
        assert_eq!((schedule.end(), schedule.next_due()), (vec![], None));
        assert_eq!(schedule.never_taken().len(), 1);
    }

    #[test]
    fn a_part_that_could_not_be_stopped_is_not_started() {
        let mut schedule = schedule("[{ at: 1s, do: stop, what: kafka, for: 30s }]");
        observe(&mut schedule, 0, started());
        let step = schedule.take_due(1_000).remove(0);
        let (action, because) = (step.verb.to_string(), step.because);
        let outcome = "not possible".to_owned();
        observe(&mut schedule, 1_001, EventKind::ActionTaken { action, because, outcome, failed: true });
        assert_eq!((schedule.next_due(), schedule.end()), (None, vec![]));
    }
}
