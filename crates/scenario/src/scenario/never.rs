//! Events that can never happen: the scenario's own events that none of its actions causes.

use super::Scenario;
use crate::{
    Action, Verb,
    action::{Happening, Trigger},
    spread,
};

/// What is missing for an action's event; `None`: it can happen.
pub(super) fn missing(scenario: &Scenario, waiting: &Action) -> Option<String> {
    let Trigger::When { event, .. } = &waiting.trigger else { return None };
    // No action triggers itself.
    let mut others = scenario.actions.iter().filter(|action| *action != waiting).map(|action| &action.verb);
    let is_there = match event {
        Happening::UsersJoined => others.any(|verb| matches!(verb, Verb::Join { .. })),
        Happening::UsersLeft => others.any(|verb| matches!(verb, Verb::Leave { .. })),
        Happening::Stopped(wanted) => {
            others.any(|verb| matches!(verb, Verb::Stop { what, .. } if what == wanted))
        }
        Happening::Started(wanted) => others.any(|verb| match verb {
            Verb::Stop { what, .. } | Verb::Start { what } | Verb::Kill { what, .. } => {
                what.name == wanted.name
            }
            _ => false,
        }),
        Happening::Spread(counts) => {
            let (all, users) =
                (counts.iter().fold(0_u64, |all, count| all.saturating_add(*count)), scenario.users());
            return (all > users).then(|| {
                format!("at most the load's {users} users, and {} are {all}", spread::words(counts))
            });
        }
        _ => true,
    };
    (!is_there).then(|| match event {
        Happening::UsersJoined => "an action before it by which users join".to_owned(),
        Happening::UsersLeft => "an action before it by which users leave".to_owned(),
        Happening::Stopped(what) => format!("an action that stops {what}"),
        _ => "an action that starts it, or stops it for a time".to_owned(),
    })
}

impl Scenario {
    /// An action or expectation about a number of users, in words: with a different number of connections, the scenario
    /// would have a different meaning.
    pub fn counts_on(&self) -> Option<String> {
        let counts = |action: &&Action| {
            matches!(action.trigger, Trigger::When { event: Happening::Spread(_), .. })
                || matches!(
                    action.verb,
                    Verb::Join { .. } | Verb::Leave { users: crate::action::Users::Number(_), .. }
                )
        };
        let action = self.actions.iter().find(counts).map(ToString::to_string);
        action.or_else(|| {
            let spread = |one: &&crate::Expectation| matches!(one, crate::Expectation::Spread(_));
            self.expectations.iter().find(spread).map(ToString::to_string)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(actions: &str) -> Option<String> {
        let text = format!("name: x\nphases: {{ramp: {{connections: 14}}}}\nactions:\n{actions}");
        Scenario::parse(&text, "my.yaml").err().map(|error| error.to_string())
    }

    #[test]
    fn waiting_for_an_impossible_event_is_an_error_with_its_line() {
        for (actions, expected) in [
            ("  - { when: users joined, do: leave, users: 1 }", "an action before it by which users join"),
            ("  - { when: users joined, do: join, users: 1 }", "an action before it by which users join"),
            ("  - { when: users left, do: join, users: 1 }", "an action before it by which users leave"),
            ("  - { when: kafka stopped, do: kill, what: tcp }", "an action that stops kafka"),
            ("  - { when: tcp/tcp-0 stopped, do: kill, what: tcp }", "an action that stops tcp/tcp-0"),
            ("  - { when: kafka started, do: kill, what: tcp }", "an action that starts it"),
            ("  - { when: spread 8/7, do: leave, users: 1 }", "at most the load's 14 users, and 8/7 are 15"),
        ] {
            let error = error_of(actions).unwrap_or_default();
            let begins = error.starts_with("my.yaml:4:7: actions[0].when: ");
            assert!(begins && error.contains(expected), "{actions}: {error}");
        }
        let with_cause = "  - { at: 1s, do: stop, what: kafka, for: 3s }
  - { at: 1s, do: join, users: 2 }
  - { when: users joined, do: leave, users: all }
  - { when: users left, do: join, users: 1 }
  - { when: kafka stopped, do: kill, what: tcp }
  - { when: kafka started, do: kill, what: tcp }
  - { when: spread 9/8, do: drain, what: tcp }";
        assert_eq!(error_of(with_cause), None);
    }

    #[test]
    fn user_counts_are_found() {
        let of = |name: &str| crate::find(name).unwrap().counts_on();
        assert_eq!(of("ws-hard-limit").as_deref(), Some("when balancer stopped: 40 users join"));
        assert_eq!(
            of("ws-swiss-cheese").as_deref(),
            Some("when spread 7/7/7/7: 6 users of ws/fullest leave")
        );
        assert_eq!((of("tcp-10k"), of("kill-server"), of("ws-storm")), (None, None, None));
    }
}
