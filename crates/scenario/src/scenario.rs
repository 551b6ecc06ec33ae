//! The description of a load: one type, one set of defaults, and validation.

mod headers;
mod never;
mod validate;

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use platform::{
    duration::{self, whole_ms},
    event::LoadPlan,
};
use serde::{Deserialize, Serialize};

use crate::{
    Action, Expectation, Payload, Profile, Protocol, Rate, Reconnect, Verb, fit::Requirement, hint, name_of,
    named, number,
};

/// A load, as a scenario file describes it. The fields are the keys of the file, and [`Scenario::default`] has the
/// values of omitted keys. If a default depends on something else, the field is `None`, and a method resolves it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Scenario {
    pub name: String,
    /// A description in one line.
    pub about: String,
    /// The service whose endpoint is the default target.
    pub service: String,
    /// The preset of values that brings up a platform for it: `-f NAME` of `up`.
    pub preset: Option<String>,
    /// The values that the platform must have, as for `--set`: `tcp.replicas=3`.
    pub values: Vec<Requirement>,
    pub protocol: Protocol,
    /// WebSocket: the path of the upgrade. `{n}` stands for the number of the connection, from 1, `{user}` for
    /// `user-{n}`. SSE: the path of the events; `{user}` and `{profile}` stand for UUIDs.
    pub path: Option<String>,
    /// WebSocket and SSE: more headers of each request, by name. Their values have the same placeholders as `path`.
    pub headers: BTreeMap<String, String>,
    /// WebSocket: the subprotocols to offer, the preferred one first; if none is given, the one by which our servers say
    /// when to come back.
    pub subprotocols: Vec<String>,
    /// SSE: the number of users and profiles; further connections start over with the first. Without it each
    /// connection has its own.
    pub pairs: Option<u64>,
    /// SSE: how long a client keeps a stream. Without it, until the load or the server ends it.
    pub stay: Option<Stay>,
    pub phases: Phases,
    pub messages: Messages,
    pub reconnect: Reconnect,
    /// A connect that takes longer is given up.
    #[serde(with = "platform::duration::text")]
    pub connect_timeout: Duration,
    pub actions: Vec<Action>,
    pub expectations: Vec<Expectation>,
}

/// A random time between these two, after which the client closes its connection, and reconnects as in `reconnect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Stay {
    #[serde(with = "platform::duration::text")]
    pub at_least: Duration,
    #[serde(with = "platform::duration::text")]
    pub at_most: Duration,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Phases {
    pub ramp: Ramp,
    /// UDP: the total rate of all peers, instead of an interval for each.
    pub send: Profile,
    pub hold: Hold,
    pub wait: Wait,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ramp {
    /// Over UDP, the number of peers.
    #[serde(with = "number::count")]
    pub connections: u64,
    /// The rate of connection starts. With a profile, the peers open at once.
    pub rate: Rate,
}

/// `for`, from the first connect, or `after-ramp`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Hold {
    #[serde(rename = "for", with = "platform::duration::optional_text")]
    pub from_first_connect: Option<Duration>,
    #[serde(with = "platform::duration::optional_text")]
    pub after_ramp: Option<Duration>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Wait {
    /// How long to wait, after the close, for expectations that can still be met and actions that can still happen.
    #[serde(with = "platform::duration::text")]
    pub at_most: Duration,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Messages {
    pub every: Option<Every>,
    pub payload: Payload,
    pub expect: Expect,
    /// What each answer begins with, instead of an echo.
    pub answer: Option<Payload>,
    /// See [`Scenario::message_timeout`].
    #[serde(with = "platform::duration::optional_text")]
    pub timeout: Option<Duration>,
    /// UDP: the maximum number of a peer's outstanding messages.
    pub window: Option<u32>,
    /// Each message carries its session's number and its own, across all connections of the session.
    pub sequence: bool,
}

/// The interval between two messages of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Every {
    /// Connections stay silent.
    Never,
    Interval(Duration),
}

/// The expected answer to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expect {
    /// The payload comes back: unchanged, or, for `msg:CONTENT`, CONTENT up to the next `:`.
    #[default]
    Echo,
    /// Any bytes.
    Any,
    /// Nothing: messages are sent on schedule, without waiting for answers.
    None,
}

/// The duration of a load, and its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadDuration {
    /// From the first connect to the close.
    FromFirstConnect(Duration),
    /// From the end of the ramp, when every connection has been started and decided, to the close.
    FromRampEnd(Duration),
}

/// The path of upgrades at our own service.
const PATH_DEFAULT: &str = "/api/v1/websocket/{user}";
/// The path of streams at our own service.
const SSE_PATH_DEFAULT: &str = "/stream/{user}/{profile}";
const HOLD_DEFAULT: Duration = Duration::from_secs(30);
const EVERY_DEFAULT: Duration = Duration::from_secs(1);
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
/// A datagram without an answer by then is lost.
const UDP_TIMEOUT_DEFAULT: Duration = Duration::from_secs(1);

impl Default for Scenario {
    /// The standard client, but fewer of them.
    fn default() -> Self {
        Self {
            name: "load".to_owned(),
            about: String::new(),
            service: "tcp".to_owned(),
            preset: None,
            values: Vec::new(),
            protocol: Protocol::Tcp,
            path: None,
            headers: BTreeMap::new(),
            subprotocols: Vec::new(),
            pairs: None,
            stay: None,
            phases: Phases::default(),
            messages: Messages::default(),
            reconnect: Reconnect::default(),
            connect_timeout: TIMEOUT_DEFAULT,
            actions: Vec::new(),
            expectations: Vec::new(),
        }
    }
}

impl Default for Ramp {
    fn default() -> Self {
        Self { connections: 100, rate: Rate::DEFAULT }
    }
}

impl Default for Messages {
    fn default() -> Self {
        let payload = Payload::from(b"msg:12345".to_vec());
        Self {
            every: None,
            payload,
            expect: Expect::Echo,
            answer: None,
            timeout: None,
            window: None,
            sequence: false,
        }
    }
}

impl Scenario {
    /// The interval between two messages of one connection; `None`: a profile decides, or the connections stay silent.
    /// Zero, with a window: as fast as answers come.
    pub fn every(&self) -> Option<Duration> {
        match self.messages.every {
            // The clients only listen.
            _ if self.protocol == Protocol::Sse => None,
            Some(Every::Never) => None,
            Some(Every::Interval(every)) => Some(every),
            None if !self.phases.send.is_empty() => None,
            None if self.messages.window.is_some() => Some(Duration::ZERO),
            None => Some(EVERY_DEFAULT),
        }
    }

    /// UDP: the total number of messages of all peers.
    pub fn profile(&self) -> Option<&Profile> {
        Some(&self.phases.send).filter(|profile| !profile.is_empty())
    }

    /// SSE: the number of users and profiles.
    pub fn pairs(&self) -> u64 {
        self.pairs.unwrap_or(self.phases.ramp.connections).max(1)
    }

    /// SSE: the pair of connection `number`, both counted from 0.
    pub fn pair_of(&self, number: u64) -> u64 {
        number % self.pairs()
    }

    /// SSE: whether several connections request the same pair.
    pub fn shares_pairs(&self) -> bool {
        self.protocol == Protocol::Sse && self.pairs() < self.users()
    }

    /// SSE: the user and the profile of pair `number`, counted from 0.
    pub fn pair(number: u64) -> (String, String) {
        let id = |variant: char| format!("00000000-0000-4000-{variant}000-{:012x}", number + 1);
        (id('8'), id('9'))
    }

    /// WebSocket and SSE: the path that connection `number`, counted from 0, requests.
    pub fn path_of(&self, number: u64) -> String {
        let usual = if self.protocol == Protocol::Sse { SSE_PATH_DEFAULT } else { PATH_DEFAULT };
        self.filled_in(self.path.as_deref().unwrap_or(usual), number)
    }

    /// A text with its placeholders replaced for connection `number`.
    fn filled_in(&self, template: &str, number: u64) -> String {
        let (user, profile) = if self.protocol == Protocol::Sse {
            Self::pair(self.pair_of(number))
        } else {
            (format!("user-{}", number + 1), "{profile}".to_owned())
        };
        let number = (number + 1).to_string();
        template.replace("{user}", &user).replace("{profile}", &profile).replace("{n}", &number)
    }

    /// The number of users that join after the ramp.
    pub fn joining(&self) -> u64 {
        let users = |action: &Action| match action.verb {
            Verb::Join { users, .. } => users,
            _ => 0,
        };
        self.actions.iter().map(users).fold(0, u64::saturating_add)
    }

    /// All users that will ever connect.
    pub fn users(&self) -> u64 {
        self.phases.ramp.connections.saturating_add(self.joining())
    }

    /// Whether messages are sent at all.
    pub fn sends(&self) -> bool {
        self.every().is_some() || self.profile().is_some()
    }

    /// Whether messages are sent, and answers are expected.
    pub fn expects_answers(&self) -> bool {
        self.sends() && self.messages.expect != Expect::None
    }

    pub fn duration(&self) -> LoadDuration {
        let Hold { from_first_connect, after_ramp } = self.phases.hold;
        match (from_first_connect, after_ramp, self.profile()) {
            // With a profile the peers open at once, so both durations are the same.
            (Some(length), ..) | (None, Some(length), Some(_)) => LoadDuration::FromFirstConnect(length),
            (None, Some(length), None) => LoadDuration::FromRampEnd(length),
            (None, None, Some(profile)) => LoadDuration::FromFirstConnect(profile.length()),
            (None, None, None) => LoadDuration::FromRampEnd(HOLD_DEFAULT),
        }
    }

    /// From the first connect to the close, if the ramp takes as long as planned.
    pub fn length(&self) -> Duration {
        match self.duration() {
            LoadDuration::FromFirstConnect(length) => length,
            LoadDuration::FromRampEnd(length) => self.ramp_length().saturating_add(length),
        }
    }

    /// From the first connect to the last one's start.
    pub fn ramp_length(&self) -> Duration {
        let Ramp { connections, rate } = self.phases.ramp;
        if self.profile().is_some() { Duration::ZERO } else { rate.due(connections.saturating_sub(1)) }
    }

    /// A message without an answer for this long has timed out. Over TCP its connection ends, since a later answer would
    /// be indistinguishable from the next message's.
    pub fn message_timeout(&self) -> Duration {
        self.messages.timeout.unwrap_or(match self.protocol {
            Protocol::Tcp | Protocol::Ws | Protocol::Sse => TIMEOUT_DEFAULT,
            Protocol::Udp => UDP_TIMEOUT_DEFAULT,
        })
    }

    /// The texts that actions broadcast, in the order of the actions.
    pub fn broadcasts(&self) -> impl Iterator<Item = &str> {
        self.actions.iter().filter_map(|action| action.verb.broadcast())
    }

    /// Whether the run must count the services' log lines.
    pub fn counts_log_lines(&self) -> bool {
        self.expectations.iter().any(Expectation::is_about_log_lines)
    }

    /// An expectation of the command line replaces the one of the same kind.
    pub fn expect(&mut self, expectation: Expectation) {
        self.expectations.retain(|other| !other.is_like(&expectation));
        self.expectations.push(expectation);
    }

    /// If this load is smaller than `whole`, it also has fewer pairs, with the same number of clients for each.
    pub fn scale_pairs(&mut self, whole: &Self) {
        if let Some(pairs) = self.pairs
            && self.users() < whole.users()
        {
            let share = u128::from(pairs) * u128::from(self.users()) / u128::from(whole.users());
            self.pairs = Some(u64::try_from(share).unwrap_or(pairs).max(1));
        }
    }

    /// Lowers expected numbers if this load is smaller than `whole`, the scenario before the command line's flags were
    /// applied.
    pub fn scale_expectations(&mut self, whole: &Self) {
        let share = |part: f64, whole: f64| if whole > 0.0 { (part / whole).min(1.0) } else { 1.0 };
        let clients = share(self.users() as f64, whole.users() as f64);
        let time = share(self.length().as_secs_f64(), whole.length().as_secs_f64());
        self.expectations.iter_mut().for_each(|expectation| expectation.shrink(clients, time));
    }

    /// The load's description for its event. `target`: the load's target.
    pub fn describe(&self, target: String) -> LoadPlan {
        let (duration, duration_from_ramp) = match self.duration() {
            LoadDuration::FromFirstConnect(duration) => (duration, false),
            LoadDuration::FromRampEnd(duration) => (duration, true),
        };
        LoadPlan {
            name: self.name.clone(),
            protocol: self.protocol.name().to_owned(),
            service: Some(self.service.clone()),
            target,
            connections: self.phases.ramp.connections,
            joining: self.joining(),
            connect_interval_us: u64::try_from(self.phases.ramp.rate.interval().as_micros())
                .unwrap_or(u64::MAX),
            message_interval_ms: self.every().map(whole_ms),
            payload: self.messages.payload.shown(),
            duration_ms: whole_ms(duration),
            duration_from_ramp,
            window: self.messages.window,
            sequence: self.messages.sequence,
            stages: self.phases.send.events(),
        }
    }
}

impl FromStr for Every {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const NEVER: &str = "never";
        if text == NEVER {
            return Ok(Self::Never);
        }
        let wrong = |error| format!("{error}, or never{}", hint(text, [NEVER]));
        duration::parse(text).map(Self::Interval).map_err(wrong)
    }
}

impl fmt::Display for Every {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => formatter.write_str("never"),
            Self::Interval(every) => formatter.write_str(&duration::format(*every)),
        }
    }
}

impl Expect {
    const NAMES: [(&'static str, Self); 3] = [("echo", Self::Echo), ("any", Self::Any), ("none", Self::None)];
}

impl fmt::Display for Expect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(name_of(&Self::NAMES, self))
    }
}

impl FromStr for Expect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Self::NAMES.map(|(name, _)| name);
        named(&Self::NAMES, text)
            .ok_or_else(|| format!("`{text}` is not one of {}{}", names.join(", "), hint(text, names)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_client_everybody_starts_with() {
        let scenario = Scenario::default();
        assert_eq!(scenario.messages.payload.bytes(), b"msg:12345");
        assert_eq!(scenario.every(), Some(Duration::from_secs(1)));
        assert_eq!(scenario.phases.ramp.rate.interval(), Duration::from_millis(5));
        let plan = scenario.reconnect.plan(scenario.protocol).unwrap();
        assert_eq!(
            (plan.delay, plan.jitter, plan.doubles_up_to),
            (Duration::from_secs(1), Duration::ZERO, None)
        );
        let described = scenario.describe("127.0.0.1:1".to_owned());
        assert_eq!((described.target.as_str(), described.connect_interval_us), ("127.0.0.1:1", 5_000));
        assert_eq!((described.duration_ms, described.duration_from_ramp), (30_000, true));
    }

    #[test]
    fn datagrams_have_their_own_defaults() {
        let mut scenario = Scenario { protocol: Protocol::Udp, ..Scenario::default() };
        assert_eq!(scenario.message_timeout(), Duration::from_secs(1));
        scenario.messages.window = Some(8);
        assert_eq!(scenario.every(), Some(Duration::ZERO), "as fast as answers come");
        let rate = "1000/s".parse().unwrap();
        scenario.phases.send = Profile::new(vec![crate::Stage::steady(rate, Duration::from_secs(20))]);
        assert_eq!((scenario.every(), scenario.length()), (None, Duration::from_secs(20)));
    }

    #[test]
    fn each_user_has_a_path() {
        let mut scenario = Scenario { protocol: Protocol::Ws, ..Scenario::default() };
        assert_eq!(scenario.path_of(0), "/api/v1/websocket/user-1");
        scenario.path = Some("/chat/{n}?as={user}".to_owned());
        assert_eq!(scenario.path_of(41), "/chat/42?as=user-42");
    }

    #[test]
    fn a_scenario_sent_to_a_worker_is_unchanged() {
        for (name, _) in crate::names() {
            let mut scenario = crate::find(name).unwrap();
            scenario.messages.payload = r"\x00\n{}".parse().unwrap();
            let text = serde_json::to_string(&scenario).unwrap();
            assert_eq!(serde_json::from_str::<Scenario>(&text).unwrap(), scenario, "{text}");
        }
    }

    #[test]
    fn users_that_join_later_belong_to_the_load() {
        let text = "name: x
phases: { ramp: { connections: 7 } }
actions: [{ at: 1s, do: join, users: 2 }, { at: 2s, do: leave, users: 1 }, { at: 3s, do: join, users: 1 }]";
        let scenario = Scenario::parse(text, "x").unwrap();
        assert_eq!((scenario.joining(), scenario.users()), (3, 10));
        let plan = scenario.describe(String::new());
        assert_eq!((plan.connections, plan.joining, plan.users()), (7, 3, 10));
    }

    #[test]
    fn a_smaller_load_has_smaller_expectations() {
        let mut whole = Scenario::default();
        whole.phases.ramp.connections = 10_000;
        whole.phases.hold.from_first_connect = Some(Duration::from_mins(4));
        let texts =
            ["connected >= 10000", "answered >= 2000000", "answered >= 99%", "lost <= 5", "tcp 1 → 2"];
        whole.expectations = texts.iter().map(|text| text.parse().unwrap()).collect();
        let mut small = whole.clone();
        small.phases.ramp.connections = 20;
        small.phases.hold.from_first_connect = Some(Duration::from_secs(24));
        small.scale_expectations(&whole);
        let scaled: Vec<String> = small.expectations.iter().map(ToString::to_string).collect();
        assert_eq!(
            scaled,
            ["connected >= 20", "answered >= 400", "answered >= 99%", "lost <= 5", "tcp 1 → 2"]
        );
        let mut larger = whole.clone();
        larger.phases.ramp.connections = 20_000;
        larger.scale_expectations(&whole);
        assert_eq!(larger.expectations, whole.expectations, "a larger load is not asked for more");
    }

    #[test]
    fn a_smaller_load_has_fewer_pairs_and_as_many_clients_for_each() {
        let whole = crate::find("stream-churn").unwrap();
        let pairs = |connections: u64| {
            let mut other = whole.clone();
            other.phases.ramp.connections = connections;
            other.scale_pairs(&whole);
            other.pairs
        };
        assert_eq!([80, 3, 1, 1000, 4000].map(pairs), [40, 1, 1, 500, 500].map(Some));
    }
}
