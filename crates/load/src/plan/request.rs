//! From what was typed to what is meant.

use std::{net::SocketAddr, time::Duration};

use platform::exit;

use super::{Identify, LoadDuration, Plan, Reconnect, target};
use crate::{
    duration::{LONGEST, format_duration},
    expect::Expectation,
    frequency::Frequency,
    profile::{Profile, Stage},
    protocol::Protocol,
    rate::Rate,
    reply::Expect,
    scenario::Scenario,
};

const CONNECTIONS_DEFAULT: u64 = 100;
const CONNECTIONS_MAX: u64 = 10_000_000;
const WORKERS_MAX: u32 = 256;
const INTERVAL_DEFAULT: Duration = Duration::from_millis(5);
const EVERY_DEFAULT: Duration = Duration::from_secs(1);
const PAYLOAD_DEFAULT: &str = "msg:12345";
const PAYLOAD_BYTES_MAX: usize = 64 * 1024;
const HOLD_DEFAULT: Duration = Duration::from_secs(30);
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
/// A datagram that was not answered by then is lost.
const UDP_TIMEOUT_DEFAULT: Duration = Duration::from_secs(1);
/// Answers longer than a buffer are not understood, and ours are as long as what was asked.
const UDP_PAYLOAD_BYTES_MAX: usize = 1_900;
const WINDOW_MAX: u32 = 65_536;
const TIMEOUT_MAX: Duration = Duration::from_hours(1);
/// What the client everybody starts with does.
const RECONNECT_DEFAULT: Reconnect =
    Reconnect::After { delay: Duration::from_secs(1), jitter: Duration::ZERO };
const MILLISECOND: Duration = Duration::from_millis(1);

/// What was typed. `None` is the scenario's value, and without a scenario the default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    pub scenario: Option<Scenario>,
    /// Default: what a target says (`udp://…`), otherwise tcp.
    pub protocol: Option<Protocol>,
    /// `host:port`, each; several are connected to in turn. Empty: the default target.
    pub targets: Vec<String>,
    /// Default 100.
    pub connections: Option<u64>,
    /// Default one per 5 ms.
    pub rate: Option<Rate>,
    /// Between two messages of one connection. Default 1 s.
    pub every: Option<Duration>,
    /// UDP: messages of all peers together, in place of an interval for each.
    pub send: Option<Frequency>,
    /// UDP: the most messages of one peer that are outstanding at once. Alone, it makes each answer send the next.
    pub window: Option<u32>,
    /// The connections send nothing at all, whatever the scenario says.
    pub silent: bool,
    /// Default `msg:12345`.
    pub payload: Option<String>,
    pub expect: Option<Expect>,
    /// Default 30 s from the end of the ramp.
    pub duration: Option<LoadDuration>,
    /// Default 5 s; over UDP 1 s.
    pub message_timeout: Option<Duration>,
    /// Default 5 s.
    pub connect_timeout: Option<Duration>,
    /// Default after 1 s, without jitter.
    pub reconnect: Option<Reconnect>,
    pub identify: Option<Identify>,
    pub workers: Option<u32>,
    pub trace_connections: bool,
    /// Each replaces the scenario's of the same kind.
    pub expectations: Vec<Expectation>,
}

/// Why a request makes no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    #[error("target `{text}`: {reason}")]
    Target { text: String, reason: String },
    #[error(
        "there is no target: give an address such as 127.0.0.1:10000, or start a platform with: playctl up"
    )]
    NoTarget,
    #[error("{what} {value}: expected {expected}")]
    Value { what: &'static str, value: String, expected: String },
}

impl PlanError {
    /// The exit code that belongs to this error.
    pub fn exit_code(&self) -> u8 {
        exit::USAGE
    }
}

impl Request {
    /// Makes the plan. Only names among the targets make it look anything up.
    pub fn resolve(self, default_target: Option<SocketAddr>) -> Result<Plan, PlanError> {
        let protocol = self.protocol();
        let scenario = self.scenario.unwrap_or_default();
        let targets = match (self.targets.as_slice(), default_target) {
            ([], None) => return Err(PlanError::NoTarget),
            ([], Some(target)) => vec![target],
            (texts, _) => {
                texts.iter().map(|text| target::resolve(text, protocol)).collect::<Result<_, _>>()?
            }
        };
        let window = self.window.or(scenario.window);
        let duration = self.duration.or(scenario.duration);
        let (every, profile) = match (self.silent, self.send, self.every) {
            (true, _, _) => (None, None),
            (_, Some(_), Some(_)) => {
                return Err(PlanError::Value {
                    what: "send",
                    value: "and a message interval".to_owned(),
                    expected: "one of them".to_owned(),
                });
            }
            (_, Some(rate), None) => {
                let (LoadDuration::FromFirstConnect(length) | LoadDuration::FromRampEnd(length)) =
                    duration.unwrap_or(LoadDuration::FromFirstConnect(HOLD_DEFAULT));
                (None, Some(Profile::new(vec![Stage::steady(rate, length)])))
            }
            (_, None, Some(every)) => (Some(every), None),
            (_, None, None) => match (scenario.every, scenario.profile) {
                (_, Some(profile)) => (None, Some(profile)),
                (None, None) if scenario.silent => (None, None),
                (None, None) if window.is_some() => (Some(Duration::ZERO), None),
                (every, None) => (Some(every.unwrap_or(EVERY_DEFAULT)), None),
            },
        };
        let duration = match (duration, &profile) {
            // Peers open at once, so that both durations are the same.
            (Some(LoadDuration::FromRampEnd(length)), Some(_)) => LoadDuration::FromFirstConnect(length),
            (Some(duration), _) => duration,
            (None, Some(profile)) => LoadDuration::FromFirstConnect(profile.length()),
            (None, None) => LoadDuration::FromRampEnd(HOLD_DEFAULT),
        };
        let timeout = match protocol {
            Protocol::Tcp => TIMEOUT_DEFAULT,
            Protocol::Udp => UDP_TIMEOUT_DEFAULT,
        };
        let mut expectations = scenario.expectations;
        for expectation in self.expectations {
            expectations.retain(|other| !other.is_like(&expectation));
            expectations.push(expectation);
        }
        let rate = match self.rate.or(scenario.rate) {
            Some(rate) => rate,
            None => Rate::every(INTERVAL_DEFAULT).expect("5 ms is a valid interval"),
        };
        let plan = Plan {
            name: if scenario.name.is_empty() { "load".to_owned() } else { scenario.name },
            protocol,
            targets,
            connections: self.connections.or(scenario.connections).unwrap_or(CONNECTIONS_DEFAULT),
            rate,
            every,
            profile,
            window,
            payload: self.payload.or(scenario.payload).unwrap_or_else(|| PAYLOAD_DEFAULT.to_owned()),
            expect: self.expect.or(scenario.expect).unwrap_or_default(),
            duration,
            message_timeout: self.message_timeout.or(scenario.message_timeout).unwrap_or(timeout),
            connect_timeout: self.connect_timeout.or(scenario.connect_timeout).unwrap_or(TIMEOUT_DEFAULT),
            reconnect: self.reconnect.or(scenario.reconnect).unwrap_or(RECONNECT_DEFAULT),
            identify: self.identify.unwrap_or_default(),
            workers: self.workers,
            tick: Duration::from_secs(1),
            trace_connections: self.trace_connections,
            expectations,
            wait: scenario.wait,
        };
        validate(&plan)?;
        Ok(plan)
    }

    /// What was typed, then what a target says, then what the scenario says.
    pub fn protocol(&self) -> Protocol {
        self.protocol
            .or_else(|| self.targets.iter().find_map(|text| target::protocol(text)))
            .or_else(|| self.scenario.as_ref().and_then(|scenario| scenario.protocol))
            .unwrap_or_default()
    }
}

fn validate(plan: &Plan) -> Result<(), PlanError> {
    let value = |what, value: String, expected: &str| {
        Err(PlanError::Value { what, value, expected: expected.to_owned() })
    };
    let between = |what, given: Duration, low: Duration, high: Duration| {
        if (low..=high).contains(&given) {
            return Ok(());
        }
        let expected = format!("between {} and {}", format_duration(low), format_duration(high));
        Err(PlanError::Value { what, value: format_duration(given), expected })
    };
    if !(1..=CONNECTIONS_MAX).contains(&plan.connections) {
        return value("connections", plan.connections.to_string(), "between 1 and 10000000");
    }
    if let Some(workers) = plan.workers
        && !(1..=WORKERS_MAX).contains(&workers)
    {
        return value("workers", workers.to_string(), "between 1 and 256");
    }
    if plan.payload.is_empty() && plan.sends() {
        return value("payload", "``".to_owned(), "at least one byte");
    }
    if plan.payload.len() > PAYLOAD_BYTES_MAX {
        return value("payload", format!("of {} bytes", plan.payload.len()), "at most 65536 bytes");
    }
    if let Some(every) = plan.every.filter(|every| *every != Duration::ZERO || plan.window.is_none()) {
        between("message interval", every, MILLISECOND, LONGEST)?;
    }
    validate_datagrams(plan)?;
    between("message time-out", plan.message_timeout, MILLISECOND, TIMEOUT_MAX)?;
    between("connect time-out", plan.connect_timeout, MILLISECOND, TIMEOUT_MAX)?;
    if let Reconnect::After { delay, jitter } = plan.reconnect {
        between("reconnect delay", delay, Duration::ZERO, TIMEOUT_MAX)?;
        between("reconnect jitter", jitter, Duration::ZERO, TIMEOUT_MAX)?;
    }
    let ramp = plan.rate.due(plan.connections - 1);
    let (LoadDuration::FromFirstConnect(duration) | LoadDuration::FromRampEnd(duration)) = plan.duration;
    between("duration", duration, MILLISECOND, LONGEST)?;
    if ramp > LONGEST {
        let ramp = format!("of {} connections at {}", plan.connections, plan.rate);
        return value("ramp", ramp, "at most 30 days");
    }
    Ok(())
}

/// What only datagrams can do, and what they cannot.
fn validate_datagrams(plan: &Plan) -> Result<(), PlanError> {
    let value = |what, value: String, expected: &str| {
        Err(PlanError::Value { what, value, expected: expected.to_owned() })
    };
    if plan.protocol == Protocol::Tcp {
        return match (plan.window, &plan.profile) {
            (Some(window), _) => value("window", window.to_string(), "protocol udp: over tcp it is always 1"),
            (_, Some(_)) => value("a rate of all", "messages".to_owned(), "protocol udp"),
            (None, None) => Ok(()),
        };
    }
    if let Some(window) = plan.window
        && !(1..=WINDOW_MAX).contains(&window)
    {
        return value("window", window.to_string(), "between 1 and 65536");
    }
    if plan.window.is_some() && plan.expect == Expect::None {
        return value("window", "without expected answers".to_owned(), "expect echo or any");
    }
    if plan.identify == Identify::Always {
        return value("identify", "always".to_owned(), "never: datagrams are not asked who serves them");
    }
    if plan.payload.len() > UDP_PAYLOAD_BYTES_MAX {
        return value("payload", format!("of {} bytes", plan.payload.len()), "at most 1900 bytes over udp");
    }
    for stage in plan.profile.iter().flat_map(Profile::stages) {
        if !(MILLISECOND..=LONGEST).contains(&stage.length) {
            return value("stage", stage.describe(), "a length between 1ms and 720h");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request { targets: vec!["127.0.0.1:1".to_owned()], ..Request::default() }
    }

    #[test]
    fn nothing_typed_is_the_client_everybody_starts_with() {
        let plan = request().resolve(None).unwrap();
        assert_eq!(plan.payload, "msg:12345");
        assert_eq!(plan.every, Some(Duration::from_secs(1)));
        assert_eq!(plan.rate.interval(), Duration::from_millis(5));
        assert_eq!(
            plan.reconnect,
            Reconnect::After { delay: Duration::from_secs(1), jitter: Duration::ZERO }
        );
        let described = plan.describe();
        assert_eq!((described.target.as_str(), described.connect_interval_us), ("127.0.0.1:1", 5_000));
        assert_eq!((described.duration_ms, described.duration_from_ramp), (30_000, true));
    }

    #[test]
    fn what_is_typed_comes_before_the_scenario() {
        let scenario = Scenario {
            name: "busy".to_owned(),
            connections: Some(10),
            payload: Some("msg:x".to_owned()),
            duration: Some(LoadDuration::FromFirstConnect(Duration::from_mins(4))),
            expectations: vec![Expectation::lost(0), Expectation::refused(0)],
            ..Scenario::default()
        };
        let plan = Request {
            scenario: Some(scenario),
            connections: Some(20),
            duration: Some(LoadDuration::FromRampEnd(Duration::from_secs(30))),
            expectations: vec![Expectation::lost(5)],
            silent: true,
            ..request()
        }
        .resolve(None)
        .unwrap();
        assert_eq!((plan.name.as_str(), plan.connections, plan.payload.as_str()), ("busy", 20, "msg:x"));
        assert_eq!(plan.duration, LoadDuration::FromRampEnd(Duration::from_secs(30)));
        assert_eq!(plan.expectations, [Expectation::refused(0), Expectation::lost(5)]);
        assert_eq!(plan.every, None);
    }

    #[test]
    fn the_platform_is_the_default_target() {
        let target: SocketAddr = "127.77.0.1:10000".parse().unwrap();
        assert_eq!(Request::default().resolve(Some(target)).unwrap().targets, [target]);
        assert_eq!(Request::default().resolve(None), Err(PlanError::NoTarget));
    }

    #[test]
    fn impossible_values_are_named() {
        let cases: [(Request, &str); 6] = [
            (Request { connections: Some(0), ..request() }, "connections 0"),
            (Request { every: Some(Duration::from_micros(10)), ..request() }, "message interval 10us"),
            (Request { payload: Some(String::new()), ..request() }, "payload"),
            (Request { payload: Some("x".repeat(65_537)), ..request() }, "65537 bytes"),
            (Request { workers: Some(0), ..request() }, "workers 0"),
            (
                Request { duration: Some(LoadDuration::FromRampEnd(Duration::ZERO)), ..request() },
                "duration 0s: expected between 1ms and 720h",
            ),
        ];
        for (request, expected) in cases {
            let error = request.resolve(None).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(error.exit_code(), exit::USAGE);
        }
    }
}
