//! The triggers of actions.
//!
//! | `when:` | happens |
//! |---|---|
//! | `ramp done`, `load closed` | every connection of the load was started and decided; the load closed them |
//! | `users joined`, `users left` | an action's users have all connected, or left |
//! | `spread 7/7/6` | the replicas with connections of the load have these numbers of them, the most first |
//! | `tcp 1 → 2` (or `->`) | the autoscaler, or a balancer, changes the service's replicas like this |
//! | `tcp above target`, `tcp below target` | the service's metric crosses its target and tolerance |
//! | `tcp/tcp-1 ready` | a replica is `starting`, `ready`, `unready`, `draining`, `gone` or `crashed`; `tcp/any`: any one |
//! | `ws/any inactive` | a balancer takes a replica out, or makes it `active` again |
//! | `kafka stopped`, `kafka started` | an action of this scenario has stopped it; it was started again and is ready |
//!
//! A trigger fires once, the first time.

use std::{fmt, str::FromStr, time::Duration};

use platform::{
    Event, EventKind, duration,
    target::{Pick, Subject},
};

use super::{known, users};
use crate::{changes, hint, name_of, named, spread};

/// Events with a fixed text.
const PHRASES: [&str; 4] = ["ramp done", "load closed", "users joined", "users left"];
const SPREAD: &str = "spread";

/// The trigger of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// This long after the first connect.
    At(Duration),
    When {
        event: Happening,
        after: Duration,
    },
}

/// Something that can happen in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    RampDone,
    LoadClosed,
    UsersJoined,
    UsersLeft,
    /// Connections per replica, the most first.
    Spread(Vec<u64>),
    Scale {
        service: String,
        from: u32,
        to: u32,
    },
    Crossing {
        service: String,
        above: bool,
    },
    /// `pod`: `None` is any.
    Pod {
        service: String,
        pod: Option<String>,
        state: PodState,
    },
    Stopped(Subject),
    Started(Subject),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodState {
    Starting,
    Ready,
    Unready,
    Draining,
    Gone,
    Crashed,
    /// It takes no new connections.
    Inactive,
    Active,
}

impl PodState {
    const NAMES: [(&'static str, Self); 8] = [
        ("starting", Self::Starting),
        ("ready", Self::Ready),
        ("unready", Self::Unready),
        ("draining", Self::Draining),
        ("gone", Self::Gone),
        ("crashed", Self::Crashed),
        ("inactive", Self::Inactive),
        ("active", Self::Active),
    ];
}

impl Happening {
    /// Whether `event` is this.
    pub fn is(&self, event: &EventKind) -> bool {
        let pod_is = |state: PodState, of: &String, name: &String| {
            matches!(self, Self::Pod { service, pod, state: wanted }
                if *wanted == state && service == of && pod.as_ref().is_none_or(|pod| pod == name))
        };
        match event {
            EventKind::RampDone { .. } => *self == Self::RampDone,
            EventKind::LoadClosed { .. } => *self == Self::LoadClosed,
            EventKind::LoadTick(tick) => {
                matches!(self, Self::Spread(wanted) if *wanted == spread::of(&tick.by_replica))
            }
            EventKind::DesiredChanged { service, from, to, .. } => {
                *self == Self::Scale { service: service.clone(), from: *from, to: *to }
            }
            EventKind::Balanced { service, orders, .. } => changes::ordered(orders)
                .any(|(from, to)| *self == Self::Scale { service: service.clone(), from, to }),
            EventKind::TrafficChanged { service, pod, traffic } => {
                pod_is(if traffic.is_active() { PodState::Active } else { PodState::Inactive }, service, pod)
            }
            EventKind::MetricCrossed { service, above, .. } => {
                *self == Self::Crossing { service: service.clone(), above: *above }
            }
            EventKind::PodStarting { service, pod, .. } => pod_is(PodState::Starting, service, pod),
            EventKind::PodReady { service, pod, .. } => pod_is(PodState::Ready, service, pod),
            EventKind::PodUnready { service, pod, .. } => pod_is(PodState::Unready, service, pod),
            EventKind::PodDraining { service, pod, .. } => pod_is(PodState::Draining, service, pod),
            EventKind::PodGone { service, pod, .. } => pod_is(PodState::Gone, service, pod),
            EventKind::PodCrashed { service, pod, .. } => pod_is(PodState::Crashed, service, pod),
            EventKind::ActionTaken { action, failed: false, .. } => {
                let wanted = match self {
                    Self::Stopped(what) => format!("stop {what}"),
                    // A part takes a while, and reports its own state.
                    Self::Started(what) if !known::is_part(&what.name) => format!("start {what}"),
                    Self::UsersJoined => return users::are_users(action, true),
                    Self::UsersLeft => return users::are_users(action, false),
                    _ => return false,
                };
                action.strip_prefix(&wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
            }
            EventKind::PartReady { part, .. } => match self {
                Self::Started(Subject { name, replica: Pick::Named(replica) }) => {
                    part == replica || *part == format!("{name}-{replica}")
                }
                // `gateway-node-0` is one of the gateways.
                Self::Started(Subject { name, .. }) => {
                    part.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
                }
                _ => false,
            },
            _ => false,
        }
    }

    /// The service that must exist for it to happen; `None` for the load's own events.
    pub(crate) fn service(&self) -> Option<&str> {
        match self {
            Self::RampDone | Self::LoadClosed | Self::UsersJoined | Self::UsersLeft | Self::Spread(_) => None,
            Self::Scale { service, .. } | Self::Crossing { service, .. } | Self::Pod { service, .. } => {
                Some(service)
            }
            Self::Stopped(what) | Self::Started(what) => Some(&what.name),
        }
    }
}

impl Trigger {
    /// If `event` triggers it: the delay after the event.
    pub(super) fn delay_after(&self, event: &Event) -> Option<Duration> {
        match self {
            Self::At(at) => matches!(event.kind, EventKind::LoadStarted { .. }).then_some(*at),
            Self::When { event: happening, after } => happening.is(&event.kind).then_some(*after),
        }
    }
}

/// Why a text is not an event of a run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}`: {reason}; events are `ramp done`, `load closed`, `tcp 1 → 2`, `tcp above target`, `tcp/tcp-1 ready`, \
     `kafka stopped`, `kafka started`, `users joined`, `spread 7/7/6` and the like"
)]
pub struct HappeningError {
    text: String,
    reason: String,
}

impl FromStr for Happening {
    type Err = HappeningError;

    fn from_str(text: &str) -> Result<Self, HappeningError> {
        parse(text).map_err(|reason| HappeningError { text: text.to_owned(), reason })
    }
}

fn parse(text: &str) -> Result<Happening, String> {
    let spaced = text.replace("->", "→").replace('→', " → ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let service = |name: &str| known::service(name).map(|()| name.to_owned());
    match words.as_slice() {
        ["ramp", "done"] => Ok(Happening::RampDone),
        ["load", "closed"] => Ok(Happening::LoadClosed),
        ["users", "joined"] => Ok(Happening::UsersJoined),
        ["users", "left"] => Ok(Happening::UsersLeft),
        ["spread", counts] => spread::parse(counts).map(Happening::Spread),
        [name, from, "→", to] => {
            let number =
                |text: &str| text.parse().map_err(|_| format!("`{text}` is not a number of replicas"));
            let (from, to) = (number(from)?, number(to)?);
            if from == to {
                return Err(format!("{from} → {to} is not a change"));
            }
            Ok(Happening::Scale { service: service(name)?, from, to })
        }
        [name, "above", "target"] => Ok(Happening::Crossing { service: service(name)?, above: true }),
        [name, "below", "target"] => Ok(Happening::Crossing { service: service(name)?, above: false }),
        [what, "stopped"] => Ok(Happening::Stopped(known::subject(what)?)),
        [what, "started"] => Ok(Happening::Started(known::subject(what)?)),
        [first, ..]
            if known::named(first.split('/').next().unwrap_or_default()).is_err()
                || !hint(text, PHRASES).is_empty() =>
        {
            Err(no_event(text, first))
        }
        [what, word] => {
            let Some(state) = named(&PodState::NAMES, word) else {
                let states = PodState::NAMES.map(|(name, _)| name).into_iter().chain(["stopped", "started"]);
                let hint = hint(word, states);
                let may_be_an_event = known::is_ours(what) || what.contains('/') || !hint.is_empty();
                return Err(if may_be_an_event {
                    format!("`{word}` is not one of its states{hint}")
                } else {
                    no_event(text, what)
                });
            };
            let (name, pod) = what.split_once('/').ok_or_else(|| {
                format!("which replica? write {what}/{what}-0 {word}, or {what}/any {word}")
            })?;
            Ok(Happening::Pod { service: service(name)?, pod: known::pod(name, pod)?, state })
        }
        _ => Err("is not an event of a run".to_owned()),
    }
}

/// For a text that begins with neither a service nor a part: the nearest name, for the whole text or its beginning.
fn no_event(text: &str, first: &str) -> String {
    let whole = hint(text, PHRASES);
    if !whole.is_empty() {
        return format!("is not an event of a run{whole}");
    }
    let name = first.split('/').next().unwrap_or_default();
    if !hint(name, [SPREAD]).is_empty() {
        return format!("is not an event of a run{}", hint(name, [SPREAD]));
    }
    known::named(name).err().unwrap_or_else(|| "is not an event of a run".to_owned())
}

impl fmt::Display for Happening {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RampDone => formatter.write_str("ramp done"),
            Self::LoadClosed => formatter.write_str("load closed"),
            Self::UsersJoined => formatter.write_str("users joined"),
            Self::UsersLeft => formatter.write_str("users left"),
            Self::Spread(counts) => write!(formatter, "spread {}", spread::words(counts)),
            Self::Scale { service, from, to } => write!(formatter, "{service} {from} → {to}"),
            Self::Crossing { service, above } => {
                write!(formatter, "{service} {} target", if *above { "above" } else { "below" })
            }
            Self::Pod { service, pod, state } => {
                let state = name_of(&PodState::NAMES, state);
                write!(formatter, "{service}/{} {state}", pod.as_deref().unwrap_or("any"))
            }
            Self::Stopped(what) => write!(formatter, "{what} stopped"),
            Self::Started(what) => write!(formatter, "{what} started"),
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(at) => write!(formatter, "at {}", duration::format(*at)),
            Self::When { event, after } if after.is_zero() => write!(formatter, "when {event}"),
            Self::When { event, after } => write!(formatter, "{} after {event}", duration::format(*after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use platform::target::Traffic;
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Happening {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn triggers_survive_parsing_and_printing() {
        for text in [
            "ramp done",
            "load closed",
            "users joined",
            "users left",
            "spread 7/6/0",
            "ws/any inactive",
            "ws/ws-1 active",
            "tcp 1 → 2",
            "tcp above target",
            "udp below target",
            "tcp/tcp-1 ready",
            "tcp/any crashed",
            "kafka stopped",
            "tcp/tcp-0 started",
            "chat-server 1 → 2",
            "chat.v2 above target",
            "chat-server/chat-server-7d9f-x2 ready",
            "chat-server/any gone",
            "redis-cache started",
        ] {
            assert_eq!(read(text).to_string(), text);
        }
        assert_eq!(read("tcp 1->2"), read("tcp 1 → 2"));
    }

    #[test]
    fn invalid_triggers_are_explained() {
        for (text, reason) in [
            ("tpc 1 → 2", "did you mean `tcp`?"),
            ("tpc above target", "did you mean `tcp`?"),
            ("kafka 1 → 2", "`kafka` is a part of the platform"),
            ("tcp/tcp-0 1 → 2", "`tcp/tcp-0` is not a service"),
            ("kafka/any ready", "`kafka` is a part of the platform"),
            ("users joind", "did you mean `users joined`?"),
            ("usrs left", "did you mean `users left`?"),
            ("ramp doen", "did you mean `ramp done`?"),
            ("laod closed", "did you mean `load closed`?"),
            ("spraed 7/6", "did you mean `spread`?"),
            ("tcp/tpc-1 ready", "`tcp/tpc-1` is not a replica; did you mean `tcp-1`?"),
            ("tcp/ayn ready", "did you mean `any`?"),
            ("tcp/fullest ready", "`tcp/fullest` is not a replica"),
            ("tcp/tcp- ready", "`tcp/tcp-` is not a replica"),
            ("kafak stopped", "did you mean `kafka`?"),
            ("kafka/fullest stopped", "kafka is a part and has no replicas"),
            ("tcp 2 → 2", "is not a change"),
            ("tcp one → 2", "`one` is not a number of replicas"),
            ("tcp/tcp-1 redy", "did you mean `ready`?"),
            ("spread 6/7", "the most first"),
            ("spread 6/x", "`x` is not a whole number"),
            ("spread", "is not an event"),
            ("tcp ready", "write tcp/tcp-0 ready, or tcp/any ready"),
            ("the end", "`the end`: is not an event of a run"),
            ("The ready", "`The` is not a service or part"),
            ("chat-server/any redy", "did you mean `ready`?"),
            ("chat-server ready", "write chat-server/chat-server-0 ready, or chat-server/any ready"),
            ("chat-server/fullest ready", "`chat-server/fullest` is not a replica"),
            ("chat-server/ayn ready", "did you mean `any`?"),
            ("chat_server 1 → 2", "`chat_server` is not a service"),
            ("tcp ended", "is not one of its states"),
            ("", "is not an event"),
        ] {
            let error = text.parse::<Happening>().expect_err(text).to_string();
            assert!(error.contains(reason) && error.contains("`ramp done`"), "{error}");
        }
    }

    #[test]
    fn events_are_recognised() {
        let (service, pod) = ("tcp".to_owned(), "tcp-1".to_owned());
        let ready = EventKind::PodReady { service: service.clone(), pod: pod.clone(), after_ms: 1 };
        assert!(read("tcp/tcp-1 ready").is(&ready) && read("tcp/any ready").is(&ready));
        assert!(!read("tcp/tcp-0 ready").is(&ready) && !read("tcp/any gone").is(&ready));
        let taken = |action: &str, failed| EventKind::ActionTaken {
            action: action.to_owned(),
            because: String::new(),
            outcome: String::new(),
            failed,
        };
        assert!(read("kafka stopped").is(&taken("stop kafka for 30s", false)));
        assert!(read("tcp started").is(&taken("start tcp", false)));
        let ready = |part: &str| EventKind::PartReady {
            part: part.to_owned(),
            detail: String::new(),
            after_ms: 5_000,
        };
        assert!(!read("kafka started").is(&taken("start kafka", false)), "a broker takes seconds");
        assert!(read("kafka started").is(&ready("kafka")) && !read("kafka started").is(&ready("memcached")));
        for (text, happens) in [
            ("gateway started", true),
            ("gateway/node-1 started", true),
            ("gateway/gateway-node-1 started", true),
            ("gateway/node-0 started", false),
            ("gateway/node-11 started", false),
            ("gateway/1 started", false),
        ] {
            assert_eq!(read(text).is(&ready("gateway-node-1")), happens, "{text}");
        }
        assert!(!read("kafka stopped").is(&taken("stop kafka", true)));
        assert!(!read("tcp stopped").is(&taken("stop tcp/tcp-0", false)));
        assert!(read("chat-server started").is(&taken("start chat-server", false)));
    }

    #[test]
    fn events_of_users_and_a_balancer_are_recognised() {
        let taken = |action: &str, failed| EventKind::ActionTaken {
            action: action.to_owned(),
            because: String::new(),
            outcome: String::new(),
            failed,
        };
        for (action, joined, left) in [
            ("2 users join", true, false),
            ("1 user joins", true, false),
            ("500 users join, one per 5ms", true, false),
            ("6 users of ws/fullest leave", false, true),
            ("all users leave", false, true),
            ("1 user of ws/ws-1 leaves", false, true),
            ("client 1 sends 2 users join", false, false),
            ("scale tcp to 3", false, false),
        ] {
            let is = |text: &str| read(text).is(&taken(action, false));
            assert_eq!((is("users joined"), is("users left")), (joined, left), "{action}");
        }
        assert!(!read("users left").is(&taken("6 users leave", true)));
        let service = || "ws".to_owned();
        let ordered = |order: &str| EventKind::Balanced {
            service: service(),
            orders: vec!["ws-0 sheds 3".to_owned(), order.to_owned()],
            reason: "1 → 9".to_owned(),
        };
        assert!(read("ws 1 → 6").is(&ordered("1 → 6")) && !read("tcp 1 → 6").is(&ordered("1 → 6")));
        assert!(!read("ws 1 → 9").is(&ordered("1 → 6")) && !read("ws 1 → 6").is(&ordered("11 → 6")));
        let inactive = EventKind::TrafficChanged {
            service: service(),
            pod: "ws-1".to_owned(),
            traffic: Traffic::Inactive,
        };
        assert!(read("ws/any inactive").is(&inactive) && read("ws/ws-1 inactive").is(&inactive));
        assert!(!read("ws/any active").is(&inactive) && !read("ws/ws-0 inactive").is(&inactive));
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in ".*") {
            let _ = text.parse::<Happening>();
        }
    }
}
