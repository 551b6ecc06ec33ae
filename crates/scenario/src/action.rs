//! A scenario's actions on the platform during a load, at a time or after an event.
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
//!   - { at: 20s, do: join, users: 2 }                                               # new users
//!   - { when: spread 7/7/7/7, do: leave, users: 6, of: ws/fullest }                 # for good
//! ```

mod form;
pub(crate) mod known;
mod schedule;
mod trigger;
mod users;

use std::{fmt, time::Duration};

use platform::{duration, target::Subject};
use serde::{Deserialize, Serialize};

use self::form::Form;
pub use self::{
    schedule::{Schedule, Step},
    trigger::{Happening, PodState, Trigger},
    users::Users,
};
use crate::{Protocol, Rate, placeholders::unknown_placeholder};

/// An action, which is done once.
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
    /// `length`: it is started again after this long, or when the run ends.
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
    /// `None`: the newest one.
    RemoveNode {
        node: Option<String>,
    },
    /// Client `from` (1 is the first to connect) sends `payload`, in which `{token}` stands for a token that the server
    /// gave this client. `answer`: a text that the answer must contain, in which `{connections}` stands for the number
    /// of the load's connections.
    Send {
        from: u64,
        payload: String,
        answer: Option<String>,
    },
    /// This many new users connect: all at once, or at a rate.
    Join {
        users: u64,
        rate: Option<Rate>,
    },
    /// Users close their connections for good. `of`: users of one replica; `None`: any users.
    Leave {
        users: Users,
        of: Option<Subject>,
    },
}

/// The placeholder for a client's token in a payload.
pub const TOKEN: &str = "{token}";
/// The placeholder for the number of the load's connections in an answer.
pub const CONNECTIONS: &str = "{connections}";
/// Maximum length of an expected answer.
const ANSWER_BYTES_MAX: usize = 256;
const BROADCAST: &str = "brd:{token}:";
const VERBS: [&str; 10] =
    ["stop", "start", "kill", "drain", "scale", "add-node", "remove-node", "send", "join", "leave"];
/// The properties of a load that actions are checked against before a run.
pub(crate) struct Place<'a> {
    pub(crate) length: Duration,
    /// How long the run waits after the load's close.
    pub(crate) wait: Duration,
    pub(crate) clients: u64,
    pub(crate) protocol: Protocol,
    pub(crate) service: &'a str,
}

/// What is wrong with an action.
pub(crate) struct Wrong {
    pub(crate) key: &'static str,
    pub(crate) value: String,
    pub(crate) expected: String,
}

impl Action {
    #[cfg(test)]
    pub(crate) fn broadcasting(at: Duration, from: u64, text: &str) -> Self {
        let verb = Verb::Send { from, payload: format!("{BROADCAST}{text}"), answer: None };
        Self { trigger: Trigger::At(at), verb }
    }

    pub(crate) fn check(&self, place: &Place<'_>) -> Result<(), Wrong> {
        let (key, time) = match self.trigger {
            Trigger::At(at) => ("at", at),
            Trigger::When { event: Happening::LoadClosed, after } => return self.check_closed(after, place),
            Trigger::When { after, .. } => ("after", after),
        };
        // The platform's events come, and cause actions on it, for as long as the run waits.
        let is_after_close = self.verb.is_of_platform()
            && matches!(&self.trigger, Trigger::When { event, .. } if event.service().is_some());
        let wait = if is_after_close { place.wait } else { Duration::ZERO };
        if time > place.length.saturating_add(wait) {
            let length = duration::format(place.length);
            let expected = if wait.is_zero() {
                format!("a time before the load's end, {length} after its first connect")
            } else {
                format!(
                    "at most {length}, the load's length, and {}, the wait after it",
                    duration::format(wait)
                )
            };
            return Err(Wrong { key, value: duration::format(time), expected });
        }
        if let Verb::Send { from, payload, answer } = &self.verb {
            if place.protocol != Protocol::Tcp {
                return Err(Wrong { key: "do", value: "send".into(), expected: "protocol tcp".into() });
            }
            if !(1..=place.clients).contains(from) {
                let expected = format!("a client from 1 to {}", place.clients);
                return Err(Wrong { key: "from", value: from.to_string(), expected });
            }
            let in_braces = |placeholder: &'static str| placeholder.trim_matches(['{', '}']);
            if let Some(expected) = unknown_placeholder(payload, &[in_braces(TOKEN)]) {
                return Err(Wrong { key: "payload", value: format!("`{payload}`"), expected });
            }
            if let Some(answer) = answer
                && let Some(expected) = unknown_placeholder(answer, &[in_braces(CONNECTIONS)])
            {
                return Err(Wrong { key: "answer", value: format!("`{answer}`"), expected });
            }
            if self.verb.broadcast().is_some_and(str::is_empty) {
                return Err(Wrong {
                    key: "payload",
                    value: BROADCAST.into(),
                    expected: "a text behind it".into(),
                });
            }
            if let Some(answer) = answer
                && (self.verb.broadcast().is_some() || answer.is_empty() || answer.len() > ANSWER_BYTES_MAX)
            {
                let expected = format!("a text of at most {ANSWER_BYTES_MAX} bytes, of no broadcast");
                return Err(Wrong { key: "answer", value: format!("`{answer}`"), expected });
            }
        }
        self.check_users(place)
    }

    /// Of an action that follows the load's close.
    fn check_closed(&self, after: Duration, place: &Place<'_>) -> Result<(), Wrong> {
        if !self.verb.is_of_platform() {
            let expected =
                "an action on the platform: when the load has closed, its clients are gone".to_owned();
            return Err(Wrong { key: "do", value: self.verb.name().into(), expected });
        }
        if after > place.wait {
            let expected = format!(
                "at most {}: the run waits no longer after its load (phases.wait.at-most)",
                duration::format(place.wait)
            );
            return Err(Wrong { key: "after", value: duration::format(after), expected });
        }
        Ok(())
    }

    fn check_users(&self, place: &Place<'_>) -> Result<(), Wrong> {
        let of = match &self.verb {
            Verb::Join { .. } => None,
            Verb::Leave { of, .. } => of.as_ref(),
            _ => return Ok(()),
        };
        if !matches!(place.protocol, Protocol::Tcp | Protocol::Ws) {
            let expected = "protocol tcp or ws: other protocols have no users who come and go".to_owned();
            return Err(Wrong { key: "do", value: self.verb.name().into(), expected });
        }
        match of {
            Some(of) if of.name != place.service => {
                let expected =
                    format!("{} or one of its replicas: the load has no other users", place.service);
                Err(Wrong { key: "of", value: of.to_string(), expected })
            }
            _ => Ok(()),
        }
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
            Self::Join { .. } => "join",
            Self::Leave { .. } => "leave",
        }
    }

    /// Whether it acts on a platform; if not, the load's clients do it.
    pub fn is_of_platform(&self) -> bool {
        !matches!(self, Self::Send { .. } | Self::Join { .. } | Self::Leave { .. })
    }

    /// The text of a broadcast to every client, if this sends one.
    pub fn broadcast(&self) -> Option<&str> {
        match self {
            Self::Send { payload, .. } => payload.strip_prefix(BROADCAST).map(str::trim_end),
            _ => None,
        }
    }

    /// The service or part that it acts on, if any.
    pub fn subject(&self) -> Option<Subject> {
        match self {
            Self::Stop { what, .. }
            | Self::Start { what }
            | Self::Kill { what, .. }
            | Self::Drain { what } => Some(what.clone()),
            Self::Scale { service, .. } => Some(Subject::whole(service)),
            Self::Leave { of, .. } => of.clone(),
            Self::AddNode | Self::RemoveNode { .. } | Self::Send { .. } | Self::Join { .. } => None,
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
            Self::Join { users, rate } => users::write_join(formatter, *users, *rate),
            Self::Leave { users, of } => users::write_leave(formatter, *users, of.as_ref()),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.trigger, self.verb)
    }
}

#[cfg(test)]
mod tests;
