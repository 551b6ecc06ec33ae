//! The controller's reports, with reasons as data; only [`Fact::into_event`] puts them into words.

use std::{fmt, time::Duration};

use platform::EventKind;

use crate::{
    input::{Exit, ProbeFailure},
    time::milliseconds,
};

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "facts are few and short-lived; a box would only burden readers"
)]
pub enum Fact {
    /// Needs no words.
    Event(EventKind),
    PodUnready {
        service: String,
        pod: String,
        path: String,
        failure: ProbeFailure,
    },
    PodCrashed {
        service: String,
        pod: String,
        exit: Exit,
        restart_in: Option<Duration>,
    },
    PartReady {
        part: String,
        detail: String,
        after: Duration,
    },
    PartGiven {
        part: String,
        address: String,
    },
    Warning(Warning),
}

/// Something that users should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    PartUnready {
        part: String,
        failure: ProbeFailure,
    },
    PartDied {
        part: String,
        exit: Exit,
        restart_in: Duration,
    },
    GatewayDied {
        gateway: String,
        exit: Exit,
        restart_in: Duration,
    },
    GatewayNotUp {
        gateway: String,
        exit: Exit,
    },
    ChangeFailed(Trouble),
    /// The number of replicas without a place.
    NoPlace {
        service: String,
        pending: u32,
    },
    NoGatewayPlace {
        gateway: String,
    },
    EndpointsNotWritten {
        reason: String,
    },
    EndpointsWrittenAgain,
    MetricUnavailable {
        service: String,
        metric: String,
        reason: String,
    },
    MetricAvailable {
        service: String,
        metric: String,
    },
}

/// Why a change could not be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    Obstacle(String),
    NotUp {
        name: String,
        exit: Exit,
    },
    /// Not ready in time.
    Late {
        within: Duration,
        /// The instances that are not ready, or not replaced yet.
        waiting: Vec<String>,
        /// Why the endpoints cannot be written, if they cannot.
        endpoints: Option<String>,
    },
}

impl Trouble {
    /// The instance whose output may explain more.
    pub(crate) fn output_of(&self) -> Option<String> {
        match self {
            // It was not even started, so it has no output.
            Self::Obstacle(_)
            | Self::NotUp { exit: Exit::NotStarted(_), .. }
            | Self::Late { endpoints: Some(_), .. } => None,
            Self::NotUp { name, .. } => Some(name.clone()),
            Self::Late { waiting, .. } => waiting.first().cloned(),
        }
    }
}

/// What an `apply` changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    BroughtUp { platform: String, nodes: u32 },
    Nodes { from: u32, to: u32 },
    Part { part: String, now: String },
    ServiceOn { service: String },
    ServiceOff { service: String },
    Template { service: String },
    AutoscalingOn { service: String },
    AutoscalingOff { service: String },
    Autoscaling { service: String },
    Replicas { service: String, from: u32, to: u32 },
    Revived { name: String },
    Resumed { name: String },
    Listeners,
    Gateways,
    Metrics,
}

impl Fact {
    /// The event that reports it.
    pub fn into_event(self) -> EventKind {
        match self {
            Self::Event(event) => event,
            Self::PodUnready { service, pod, path, failure } => {
                let reason = match failure {
                    ProbeFailure::Answered { status, line } => {
                        format!("{path} answered {status} {line}").trim_end().to_owned()
                    }
                    ProbeFailure::NoAnswer { error } => format!("{path}: {error}"),
                };
                EventKind::PodUnready { service, pod, reason }
            }
            Self::PodCrashed { service, pod, exit, restart_in } => EventKind::PodCrashed {
                service,
                pod,
                exit: exit.to_string(),
                restart_in_ms: restart_in.map(milliseconds),
            },
            Self::PartReady { part, detail, after } => {
                EventKind::PartReady { part, detail, after_ms: milliseconds(after) }
            }
            Self::PartGiven { part, address } => {
                EventKind::PartReady { part, detail: format!("given, {address}"), after_ms: 0 }
            }
            Self::Warning(warning) => EventKind::Warning { message: warning.to_string() },
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(formatter, "exit code {code}"),
            Self::Signal(9) => formatter.write_str("killed (SIGKILL)"),
            Self::Signal(15) => formatter.write_str("ended by SIGTERM"),
            Self::Signal(6) => formatter.write_str("aborted (SIGABRT)"),
            Self::Signal(11) => formatter.write_str("crashed (SIGSEGV)"),
            Self::Signal(signal) => write!(formatter, "ended by signal {signal}"),
            Self::NotStarted(reason) => formatter.write_str(reason),
            Self::Lost(reason) => write!(formatter, "lost: {reason}"),
            Self::Stopped => formatter.write_str("stopped"),
        }
    }
}

impl fmt::Display for ProbeFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { status, line } if line.is_empty() => write!(formatter, "it answered {status}"),
            Self::Answered { status, line } => write!(formatter, "it answered {status} {line}"),
            Self::NoAnswer { error } => formatter.write_str(error),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PartUnready { part, failure } => {
                write!(formatter, "{part} has stopped answering: {failure}")
            }
            Self::PartDied { part, exit, restart_in } => {
                write!(formatter, "{part}: {exit}; it starts again {}", When(*restart_in))
            }
            Self::GatewayDied { gateway, exit, restart_in } => {
                let when = When(*restart_in);
                write!(formatter, "{gateway}: {exit}; it starts again {when}, and its listener stays open")
            }
            Self::GatewayNotUp { gateway, exit } => {
                write!(formatter, "{gateway} cannot start: {exit}; its output: playctl logs {gateway}")
            }
            Self::ChangeFailed(trouble) => trouble.fmt(formatter),
            Self::NoPlace { service, pending } => {
                let (replicas, have) = if *pending == 1 { ("replica", "has") } else { ("replicas", "have") };
                write!(
                    formatter,
                    "{service}: {pending} {replicas} {have} no room on this platform yet; they start when others are gone"
                )
            }
            Self::NoGatewayPlace { gateway } => {
                write!(
                    formatter,
                    "{gateway}: no address is left for another gateway; it starts when others are gone"
                )
            }
            Self::EndpointsNotWritten { reason } => write!(
                formatter,
                "the endpoints cannot be written, so the gateways keep the replicas they know: {reason}; trying again"
            ),
            Self::EndpointsWrittenAgain => formatter.write_str("the endpoints are written again"),
            Self::MetricUnavailable { service, metric, reason } => {
                write!(formatter, "{service}: {metric} is unavailable: {reason}")
            }
            Self::MetricAvailable { service, metric } => {
                write!(formatter, "{service}: {metric} is available again")
            }
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Obstacle(reason) => formatter.write_str(reason),
            Self::NotUp { name, exit } => write!(formatter, "{name} cannot start: {exit}"),
            Self::Late { within, waiting, endpoints } => {
                write!(formatter, "not ready within {} s: ", within.as_secs())?;
                match endpoints {
                    Some(reason) => write!(formatter, "the endpoints cannot be written: {reason}"),
                    None => formatter.write_str(&waiting.join(", ")),
                }
            }
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BroughtUp { platform, nodes: 1 } => write!(formatter, "{platform} brought up on 1 node"),
            Self::BroughtUp { platform, nodes } => {
                write!(formatter, "{platform} brought up on {nodes} nodes")
            }
            Self::Nodes { from, to } => write!(formatter, "nodes {from} → {to}"),
            Self::Part { part, now } => write!(formatter, "{part}: {now}"),
            Self::ServiceOn { service } => write!(formatter, "{service}: switched on"),
            Self::ServiceOff { service } => write!(formatter, "{service}: switched off"),
            Self::Template { service } => {
                write!(formatter, "{service}: template changed, its replicas are replaced one by one")
            }
            Self::AutoscalingOn { service } => write!(formatter, "{service}: autoscaling switched on"),
            Self::AutoscalingOff { service } => write!(formatter, "{service}: autoscaling switched off"),
            Self::Autoscaling { service } => write!(formatter, "{service}: autoscaling changed"),
            Self::Replicas { service, from, to } => write!(formatter, "{service} {from} → {to}"),
            Self::Revived { name } | Self::Resumed { name } => write!(formatter, "{name}: started again"),
            Self::Listeners => formatter.write_str("gateway: listeners changed"),
            Self::Gateways => formatter.write_str("gateway: settings changed, gateways are replaced"),
            Self::Metrics => formatter.write_str("metrics: intervals or source changed"),
        }
    }
}

/// A delay as part of a sentence.
struct When(Duration);

impl fmt::Display for When {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            0 => formatter.write_str("now"),
            milliseconds if milliseconds % 1000 == 0 => write!(formatter, "in {} s", milliseconds / 1000),
            milliseconds => write!(formatter, "in {milliseconds} ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_answered_with_a_line_or_without() {
        let answered = |line: &str| ProbeFailure::Answered { status: 503, line: line.to_owned() }.to_string();
        assert_eq!(answered("draining"), "it answered 503 draining");
        assert_eq!(answered(""), "it answered 503");
    }
}
