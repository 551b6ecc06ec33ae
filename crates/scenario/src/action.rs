//! What a scenario does to the platform while the load runs, at a time or when something happens.
//!
//! ```yaml
//! actions:
//!   - { at: 30s, do: stop, what: kafka, for: 30s }                                  # and start it again
//!   - { when: "tcp 1 → 2", after: 2s, do: kill, what: tcp/fullest, restart: false }
//!   - { at: 60s, do: drain, what: tcp/tcp-0 }
//!   - { at: 70s, do: scale, what: tcp, to: 3 }
//!   - { at: 10s, do: send, from: 1, payload: "brd:{token}:hello" }                  # client 1, the first to connect
//!   - { at: 12s, do: send, from: 1, payload: WHO, answer: "servers: {connections}" }
//!   - { at: 20s, do: add-node }                                                     # its name is the platform's choice
//!   - { at: 90s, do: remove-node, node: node-2 }                                    # without `node`: the one that came last
//! ```

mod schedule;
mod trigger;

use std::{fmt, time::Duration};

use platform::{
    duration,
    services::ServiceKind,
    target::{Pick, Subject},
};
use serde::{Deserialize, Serialize};

pub use self::{
    schedule::{Schedule, Step},
    trigger::{Happening, PodState, Trigger},
};
use crate::{Payload, hint};

/// One thing that is done once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub struct Action {
    pub trigger: Trigger,
    pub verb: Verb,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verb {
    /// `length`: it is started again after this long; at the latest when the run ends.
    Stop {
        what: Subject,
        length: Option<Duration>,
    },
    Start {
        what: Subject,
    },
    Kill {
        what: Subject,
        restart: bool,
    },
    Drain {
        what: Subject,
    },
    Scale {
        service: String,
        to: u32,
    },
    AddNode,
    /// `None`: the one that came last.
    RemoveNode {
        node: Option<String>,
    },
    /// Client `from` (1 is the first to connect) sends `payload`, in which `{token}` stands for a token that the server
    /// gave this client. `answer`: what its answer has to contain, in which `{connections}` stands for how many connections
    /// the load has.
    Send {
        from: u64,
        payload: String,
        answer: Option<String>,
    },
}

/// What stands for a client's token in a payload.
pub const TOKEN: &str = "{token}";
/// What stands for the number of the load's connections in an answer.
pub const CONNECTIONS: &str = "{connections}";
/// A longer answer is not looked for.
const ANSWER_BYTES_MAX: usize = 256;
const BROADCAST: &str = "brd:{token}:";
const VERBS: [&str; 8] = ["stop", "start", "kill", "drain", "scale", "add-node", "remove-node", "send"];
/// Parts that actions can stop and start.
const PARTS: [&str; 9] =
    ["kafka", "memcached", "elasticsearch", "prometheus", "redis", "etcd01", "etcd02", "etcd03", "gateway"];

/// How an action is written.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(default, with = "platform::duration::optional_text")]
    at: Option<Duration>,
    when: Option<Happening>,
    #[serde(default, with = "platform::duration::optional_text")]
    after: Option<Duration>,
    #[serde(rename = "do")]
    verb: String,
    what: Option<String>,
    #[serde(default, rename = "for", with = "platform::duration::optional_text")]
    length: Option<Duration>,
    restart: Option<bool>,
    to: Option<u32>,
    node: Option<String>,
    from: Option<u64>,
    payload: Option<String>,
    answer: Option<String>,
}

impl TryFrom<Form> for Action {
    type Error = String;

    fn try_from(mut form: Form) -> Result<Self, String> {
        let trigger = match (form.at.take(), form.when.take(), form.after.take()) {
            (Some(at), None, None) => Trigger::At(at),
            (None, Some(event), after) => Trigger::When { event, after: after.unwrap_or_default() },
            (Some(_), None, Some(_)) => return Err("`after` counts from a `when`; `at` has none".to_owned()),
            _ => {
                return Err(
                    "an action has `at: TIME`, or `when: EVENT` with or without `after: TIME`".to_owned()
                );
            }
        };
        let verb = form.verb.clone();
        let missing = |key: &str| format!("do: {verb} needs `{key}`");
        let mut subject = || -> Result<Subject, String> {
            let what = form.what.take().ok_or_else(|| missing("what"))?;
            let subject: Subject = what.parse().map_err(|error| format!("what: {error}"))?;
            known(&subject.name).map_err(|error| format!("what: {error}"))?;
            Ok(subject)
        };
        let verb = match verb.as_str() {
            "stop" => Verb::Stop { what: subject()?, length: form.length.take() },
            "start" => Verb::Start { what: subject()? },
            "kill" => Verb::Kill { what: subject()?, restart: form.restart.take().unwrap_or(true) },
            "drain" => Verb::Drain { what: subject()? },
            "scale" => {
                let what = subject()?;
                if what.replica != Pick::Unnamed {
                    return Err(format!("what: `{what}`: a service is scaled, not one replica of it"));
                }
                Verb::Scale { service: what.name, to: form.to.take().ok_or_else(|| missing("to"))? }
            }
            "add-node" => Verb::AddNode,
            "remove-node" => Verb::RemoveNode { node: form.node.take() },
            "send" => {
                let payload = form.payload.take().ok_or_else(|| missing("payload"))?;
                payload.parse::<Payload>().map_err(|error| format!("payload: {error}"))?;
                let from = form.from.take().ok_or_else(|| missing("from"))?;
                Verb::Send { from, payload, answer: form.answer.take() }
            }
            other => {
                let all = VERBS.join(", ");
                return Err(format!("do: `{other}` is none of {all}{}", hint(other, VERBS)));
            }
        };
        let left = [
            ("what", form.what.is_some()),
            ("for", form.length.is_some()),
            ("restart", form.restart.is_some()),
            ("to", form.to.is_some()),
            ("node", form.node.is_some()),
            ("from", form.from.is_some()),
            ("payload", form.payload.is_some()),
            ("answer", form.answer.is_some()),
        ];
        match left.iter().find(|(_, is_left)| *is_left) {
            Some((key, _)) => Err(format!("do: {} has no use for `{key}`", form.verb)),
            None => Ok(Self { trigger, verb }),
        }
    }
}

impl From<Action> for Form {
    fn from(action: Action) -> Self {
        let mut form = Self::default();
        match action.trigger {
            Trigger::At(at) => form.at = Some(at),
            Trigger::When { event, after } => (form.when, form.after) = (Some(event), Some(after)),
        }
        action.verb.name().clone_into(&mut form.verb);
        match action.verb {
            Verb::Stop { what, length } => (form.what, form.length) = (Some(what.to_string()), length),
            Verb::Start { what } | Verb::Drain { what } => form.what = Some(what.to_string()),
            Verb::Kill { what, restart } => {
                (form.what, form.restart) = (Some(what.to_string()), Some(restart));
            }
            Verb::Scale { service, to } => (form.what, form.to) = (Some(service), Some(to)),
            Verb::AddNode => {}
            Verb::RemoveNode { node } => form.node = node,
            Verb::Send { from, payload, answer } => {
                (form.from, form.payload, form.answer) = (Some(from), Some(payload), answer);
            }
        }
        form
    }
}

/// A name that some platform has: of a service, or of a part.
fn known(name: &str) -> Result<(), String> {
    let names = || ServiceKind::ALL.into_iter().map(ServiceKind::name).chain(PARTS);
    if names().any(|known| known == name) {
        return Ok(());
    }
    let all: Vec<&str> = names().collect();
    Err(format!("`{name}` is no service or part{} (there are: {})", hint(name, names()), all.join(", ")))
}

/// What an action is checked against before a run.
pub(crate) struct Place {
    pub(crate) length: Duration,
    pub(crate) clients: u64,
    pub(crate) tcp: bool,
}

/// What is wrong with an action.
pub(crate) struct Wrong {
    pub(crate) key: &'static str,
    pub(crate) value: String,
    pub(crate) expected: String,
}

impl Action {
    /// The text that is broadcast to every client, if this sends one.
    pub fn broadcast(&self) -> Option<&str> {
        match &self.verb {
            Verb::Send { payload, .. } => payload.strip_prefix(BROADCAST).map(str::trim_end),
            _ => None,
        }
    }

    #[cfg(test)]
    pub(crate) fn broadcasting(at: Duration, from: u64, text: &str) -> Self {
        let verb = Verb::Send { from, payload: format!("{BROADCAST}{text}"), answer: None };
        Self { trigger: Trigger::At(at), verb }
    }

    pub(crate) fn check(&self, place: &Place) -> Result<(), Wrong> {
        let (key, time) = match self.trigger {
            Trigger::At(at) => ("at", at),
            Trigger::When { after, .. } => ("after", after),
        };
        if time > place.length {
            let expected = format!(
                "a time before the load's end, {} after its first connect",
                duration::format(place.length)
            );
            return Err(Wrong { key, value: duration::format(time), expected });
        }
        if let Verb::Send { from, answer, .. } = &self.verb {
            if !place.tcp {
                return Err(Wrong { key: "do", value: "send".into(), expected: "protocol tcp".into() });
            }
            if !(1..=place.clients).contains(from) {
                let expected = format!("a client from 1 to {}", place.clients);
                return Err(Wrong { key: "from", value: from.to_string(), expected });
            }
            if self.broadcast().is_some_and(str::is_empty) {
                return Err(Wrong {
                    key: "payload",
                    value: BROADCAST.into(),
                    expected: "a text behind it".into(),
                });
            }
            if let Some(answer) = answer
                && (self.broadcast().is_some() || answer.is_empty() || answer.len() > ANSWER_BYTES_MAX)
            {
                let expected = format!("a text of at most {ANSWER_BYTES_MAX} bytes, of no broadcast");
                return Err(Wrong { key: "answer", value: format!("`{answer}`"), expected });
            }
        }
        Ok(())
    }
}

impl Verb {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stop { .. } => "stop",
            Self::Start { .. } => "start",
            Self::Kill { .. } => "kill",
            Self::Drain { .. } => "drain",
            Self::Scale { .. } => "scale",
            Self::AddNode => "add-node",
            Self::RemoveNode { .. } => "remove-node",
            Self::Send { .. } => "send",
        }
    }

    /// Whether it is done to a platform; if not, a client does it.
    pub fn is_of_platform(&self) -> bool {
        !matches!(self, Self::Send { .. })
    }

    /// The service or part that it acts on, if it acts on one.
    pub fn subject(&self) -> Option<Subject> {
        match self {
            Self::Stop { what, .. }
            | Self::Start { what }
            | Self::Kill { what, .. }
            | Self::Drain { what } => Some(what.clone()),
            Self::Scale { service, .. } => Some(Subject::whole(service)),
            Self::AddNode | Self::RemoveNode { .. } | Self::Send { .. } => None,
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stop { what, length: Some(length) } => {
                write!(formatter, "stop {what} for {}", duration::format(*length))
            }
            Self::Stop { what, length: None } => write!(formatter, "stop {what}"),
            Self::Start { what } => write!(formatter, "start {what}"),
            Self::Kill { what, restart: true } => write!(formatter, "kill {what}"),
            Self::Kill { what, restart: false } => write!(formatter, "kill {what} for good"),
            Self::Drain { what } => write!(formatter, "drain {what}"),
            Self::Scale { service, to } => write!(formatter, "scale {service} to {to}"),
            Self::AddNode => formatter.write_str("add a node"),
            Self::RemoveNode { node: Some(node) } => write!(formatter, "remove node {node}"),
            Self::RemoveNode { node: None } => formatter.write_str("remove the node that came last"),
            Self::Send { from, payload, answer: None } => write!(formatter, "client {from} sends {payload}"),
            Self::Send { from, payload, answer: Some(answer) } => {
                write!(formatter, "client {from} sends {payload} for `{answer}`")
            }
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.trigger, self.verb)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Action, String> {
        yaml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn actions_are_read_and_told_in_words() {
        for (text, words) in [
            ("{ at: 30s, do: stop, what: kafka, for: 30s }", "at 30s: stop kafka for 30s"),
            ("{ at: 1m, do: start, what: kafka }", "at 1m: start kafka"),
            (
                "{ at: 1s, do: send, from: 1, payload: WHO, answer: 'N: 3' }",
                "at 1s: client 1 sends WHO for `N: 3`",
            ),
            (
                r#"{ when: "tcp 1 -> 2", after: 2s, do: kill, what: tcp/fullest, restart: false }"#,
                "2s after tcp 1 → 2: kill tcp/fullest for good",
            ),
            ("{ when: ramp done, do: kill, what: tcp }", "when ramp done: kill tcp"),
            ("{ at: 60s, do: drain, what: tcp/tcp-0 }", "at 1m: drain tcp/tcp-0"),
            ("{ at: 1s, do: scale, what: tcp, to: 3 }", "at 1s: scale tcp to 3"),
            ("{ at: 1s, do: add-node }", "at 1s: add a node"),
            ("{ when: ramp done, do: remove-node, node: node-2 }", "when ramp done: remove node node-2"),
            ("{ at: 1m, do: remove-node }", "at 1m: remove the node that came last"),
            (
                r#"{ at: 10s, do: send, from: 1, payload: "brd:{token}:hello" }"#,
                "at 10s: client 1 sends brd:{token}:hello",
            ),
        ] {
            let action = read(text).unwrap();
            assert_eq!(action.to_string(), words);
            let written = serde_json::to_string(&action).unwrap();
            assert_eq!(read(&written).unwrap(), action, "{written}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, reason) in [
            ("{ at: 1s, do: stopp, what: kafka }", "did you mean `stop`?"),
            ("{ at: 1s, do: stop, what: kafak }", "did you mean `kafka`?"),
            ("{ at: 1s, do: stop }", "do: stop needs `what`"),
            ("{ at: 1s, do: stop, what: kafka, to: 3 }", "do: stop has no use for `to`"),
            ("{ at: 1s, do: drain, what: tcp/tcp-0, for: 3s }", "has no use for `for`"),
            ("{ at: 1s, do: add-nod }", "did you mean `add-node`?"),
            ("{ at: 1s, do: add-node, node: node-2 }", "do: add-node has no use for `node`"),
            ("{ at: 1s, do: remove-node, what: tcp }", "do: remove-node has no use for `what`"),
            ("{ at: 1s, do: scale, what: tcp/tcp-0, to: 3 }", "a service is scaled"),
            ("{ at: 1s, do: send, payload: x }", "do: send needs `from`"),
            ("{ at: 1s, do: send, from: 1, payload: '\\q' }", "is no escape"),
            ("{ do: stop, what: kafka }", "an action has `at: TIME`"),
            ("{ at: 1s, when: ramp done, do: stop, what: kafka }", "an action has `at: TIME`"),
            ("{ at: 1s, after: 1s, do: stop, what: kafka }", "`after` counts from a `when`"),
            ("{ at: soon, do: stop, what: kafka }", "`soon` is not a duration"),
            ("{ at: 1s, do: kill, what: tcp/ }", "expected a service or part"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn what_cannot_happen_in_the_run_is_named() {
        let place = Place { length: Duration::from_mins(1), clients: 10, tcp: true };
        for (text, key) in [
            ("{ at: 61s, do: stop, what: kafka }", "at"),
            ("{ when: ramp done, after: 2m, do: stop, what: kafka }", "after"),
            ("{ at: 1s, do: send, from: 11, payload: x }", "from"),
            ("{ at: 1s, do: send, from: 0, payload: x }", "from"),
            (r#"{ at: 1s, do: send, from: 1, payload: "brd:{token}:" }"#, "payload"),
        ] {
            assert_eq!(read(text).unwrap().check(&place).err().map(|wrong| wrong.key), Some(key), "{text}");
        }
        assert!(read("{ at: 60s, do: stop, what: kafka }").unwrap().check(&place).is_ok());
        let datagrams = Place { tcp: false, ..place };
        let send = read("{ at: 1s, do: send, from: 1, payload: x }").unwrap();
        assert_eq!(send.check(&datagrams).err().map(|wrong| wrong.key), Some("do"));
    }
}
