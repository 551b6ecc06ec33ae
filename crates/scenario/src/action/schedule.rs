//! The schedule: consumes the events of a run, and says which actions are due. It has no clock.

use platform::{Event, EventKind, duration::whole_ms, target::Subject};

use super::{Action, Verb};

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
    closed: bool,
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
        Self { actions, stopped: Vec::new(), closed: false }
    }

    /// Processes the next event of the run.
    pub fn observe(&mut self, event: &Event) {
        for (action, state) in self.actions.iter_mut().filter(|(_, state)| *state == State::Waiting) {
            if let Some(delay) = action.trigger.delay_after(event) {
                *state = State::Due(event.t_ms.saturating_add(whole_ms(delay)));
            }
        }
        match &event.kind {
            EventKind::LoadClosed { .. } => self.closed = true,
            // A part that could not be stopped need not be started again.
            EventKind::ActionTaken { action, failed: true, .. } => {
                self.stopped.retain(|(what, ..)| !action.starts_with(&format!("stop {what} for ")));
            }
            _ => {}
        }
    }

    /// When the next step is due, ms of the run.
    pub fn next_due(&self) -> Option<u64> {
        let actions = self.actions.iter().filter_map(|(_, state)| match state {
            State::Due(at) if !self.closed => Some(*at),
            _ => None,
        });
        actions.chain(self.stopped.iter().map(|(_, until, _)| *until)).min()
    }

    /// Everything due by now, by time. Once the load has closed, only stopped things are started again.
    pub fn take_due(&mut self, now_ms: u64) -> Vec<Step> {
        let mut due: Vec<(u64, Step)> = Vec::new();
        self.stopped.retain(|(what, until, because)| {
            if *until <= now_ms || self.closed {
                let verb = Verb::Start { what: what.clone() };
                due.push((*until, Step { verb, because: because.clone() }));
                return false;
            }
            true
        });
        for (action, state) in self.actions.iter_mut().filter(|_| !self.closed) {
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
        self.closed = true;
        self.take_due(u64::MAX)
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
