//! Rejects impossible values, from a file or a flag.

use std::time::Duration;

use platform::{
    duration::{self, LONGEST},
    values::presets,
};

use super::{Every, Expect, Scenario, Stay, headers, never};
use crate::{
    Expectation, Payload, Policy, Profile, Protocol, ScenarioError, Stage,
    action::{Place, Trigger, known},
    fit::is_plain,
    hint,
    placeholders::unknown_placeholder,
};

const CONNECTIONS_MAX: u64 = 10_000_000;
const PAYLOAD_BYTES_MAX: usize = 64 * 1024;
/// Answers longer than a buffer are not understood, and ours are as long as the message.
const UDP_PAYLOAD_BYTES_MAX: usize = 1_900;
const PATH_BYTES_MAX: usize = 1024;
const WINDOW_MAX: u32 = 65_536;
const TIMEOUT_MAX: Duration = Duration::from_hours(1);
const MILLISECOND: Duration = Duration::from_millis(1);
/// Maximum length of a numbered message, or the answer to one.
const DIGITS: usize = 16;
/// Receipts are counted per client and broadcast.
const BROADCASTS_MAX: usize = 64;

type Valid = Result<(), ScenarioError>;

fn value(what: &str, value: impl Into<String>, expected: impl Into<String>) -> Valid {
    Err(ScenarioError::Value { what: what.to_owned(), value: value.into(), expected: expected.into() })
}

fn between(what: &str, given: Duration, low: Duration, high: Duration) -> Valid {
    if (low..=high).contains(&given) {
        return Ok(());
    }
    let expected = format!("between {} and {}", duration::format(low), duration::format(high));
    value(what, duration::format(given), expected)
}

impl Scenario {
    /// Reports what is impossible, or requested twice.
    pub fn validate(&self) -> Valid {
        let (ramp, messages, hold) = (&self.phases.ramp, &self.messages, self.phases.hold);
        if ramp.connections > CONNECTIONS_MAX || self.users() == 0 {
            let expected = "between 1 and 10000000, or 0 if users join later (do: join)";
            return value("phases.ramp.connections", ramp.connections.to_string(), expected);
        }
        if self.users() > CONNECTIONS_MAX {
            let expected = "at most 10000000 with those of the ramp";
            return value("actions", format!("with {} users who join", self.joining()), expected);
        }
        if let Some(preset) = &self.preset
            && !is_plain(preset)
        {
            let expected = "the name of a preset: letters, digits, - and _";
            return value("preset", format!("`{}`", preset.escape_debug()), expected);
        }
        if let Some(preset) = &self.preset
            && !presets().any(|known| known == preset)
        {
            let all: Vec<&str> = presets().collect();
            let expected =
                format!("a preset of the chart{} (there are: {})", hint(preset, presets()), all.join(", "));
            return value("preset", format!("`{preset}`"), expected);
        }
        if messages.payload.bytes().is_empty() && self.sends() {
            return value("messages.payload", "``", "at least one byte");
        }
        let payload_bytes = messages.payload.bytes().len();
        if payload_bytes > PAYLOAD_BYTES_MAX {
            return value("messages.payload", format!("of {payload_bytes} bytes"), "at most 65536 bytes");
        }
        if let Some(answer) = &messages.answer {
            if messages.expect != Expect::Echo {
                let expected = "no expect beside it: what an answer begins with says enough";
                return value("messages.answer", format!("`{}`", answer.shown()), expected);
            }
            if !(1..=PAYLOAD_BYTES_MAX).contains(&answer.bytes().len()) {
                return value("messages.answer", format!("`{}`", answer.shown()), "1 to 65536 bytes");
            }
        }
        if hold.from_first_connect.is_some() && hold.after_ramp.is_some() {
            return value("phases.hold", "has both `for` and `after-ramp`", "one of them");
        }
        if messages.every.is_some() && self.profile().is_some() {
            return value("phases.send", "and a message interval", "one of them");
        }
        if let Some(every) = self.every().filter(|every| !every.is_zero() || messages.window.is_none()) {
            between("messages.every", every, MILLISECOND, LONGEST)?;
        }
        self.validate_datagrams()?;
        between("messages.timeout", self.message_timeout(), MILLISECOND, TIMEOUT_MAX)?;
        between("connect-timeout", self.connect_timeout, MILLISECOND, TIMEOUT_MAX)?;
        self.validate_sequence()?;
        self.validate_reconnect()?;
        self.validate_path()?;
        self.validate_headers()?;
        self.validate_streams()?;
        between(
            "phases.hold",
            hold.from_first_connect.or(hold.after_ramp).unwrap_or(self.length()),
            MILLISECOND,
            LONGEST,
        )?;
        if self.ramp_length() > LONGEST {
            let ramp = format!("of {} connections, {}", ramp.connections, ramp.rate.words());
            return value("phases.ramp", ramp, "at most 30 days");
        }
        self.validate_actions()
    }

    fn validate_sequence(&self) -> Valid {
        let what = "messages.sequence";
        if !self.messages.sequence {
            return Ok(());
        }
        if self.protocol == Protocol::Udp {
            return value(what, "over udp", "protocol tcp or ws: datagrams of msg: are numbered anyway");
        }
        if !self.sends() || self.messages.expect != Expect::Echo || self.messages.answer.is_some() {
            return value(what, "without echoes", "messages, and expect echo: answers carry the numbers");
        }
        Ok(())
    }

    fn validate_reconnect(&self) -> Valid {
        let reconnect = &self.reconnect;
        for (key, given) in [
            ("reconnect.delay", reconnect.delay),
            ("reconnect.jitter", reconnect.jitter),
            ("reconnect.at-most", reconnect.at_most),
        ] {
            between(key, given.unwrap_or_default(), Duration::ZERO, TIMEOUT_MAX)?;
        }
        if let Some(share) = reconnect.at_once
            && (reconnect.is_never() || self.protocol == Protocol::Udp)
        {
            let expected = "connections that come back, over tcp, ws or sse";
            return value("reconnect.at-once", share.to_string(), expected);
        }
        match reconnect.policy {
            Some(policy) if reconnect.never && policy != Policy::None => {
                value("reconnect.policy", policy.to_string(), "none, or without `never`")
            }
            Some(Policy::Backoff) => Ok(()),
            _ => match reconnect.at_most {
                Some(longest) => {
                    value("reconnect.at-most", duration::format(longest), "only with policy backoff")
                }
                None => Ok(()),
            },
        }
    }

    /// Settings that only streams of events have, and those that they lack.
    fn validate_streams(&self) -> Valid {
        if self.protocol != Protocol::Sse {
            return match (self.pairs, self.stay) {
                (Some(pairs), _) => value("pairs", pairs.to_string(), "protocol sse: others have none"),
                (_, Some(Stay { at_least, at_most })) => {
                    let given = [at_least, at_most].map(duration::format).join(" to ");
                    value("stay", given, "protocol sse: connections of others stay to the end")
                }
                (None, None) => Ok(()),
            };
        }
        if let Some(Stay { at_least, at_most }) = self.stay {
            between("stay.at-least", at_least, MILLISECOND, TIMEOUT_MAX)?;
            between("stay.at-most", at_most, at_least, TIMEOUT_MAX)?;
        }
        match (self.pairs, &self.messages.every) {
            (Some(pairs), _) if !(1..=CONNECTIONS_MAX).contains(&pairs) => {
                value("pairs", pairs.to_string(), "between 1 and 10000000")
            }
            (_, Some(every)) if *every != Every::Never => {
                value("messages.every", every.to_string(), "no messages: over sse the clients listen")
            }
            _ => Ok(()),
        }
    }

    fn validate_path(&self) -> Valid {
        let Some(path) = &self.path else { return Ok(()) };
        if !matches!(self.protocol, Protocol::Ws | Protocol::Sse) {
            return value("path", path, "protocol ws or sse: others have none");
        }
        if !path.starts_with('/')
            || path.len() > PATH_BYTES_MAX
            || !path.bytes().all(|byte| byte.is_ascii_graphic())
        {
            let expected = "a path such as /api/v1/websocket/{user}, of at most 1024 printable ASCII bytes without spaces";
            return value("path", format!("`{}`", path.escape_debug()), expected);
        }
        match self.unknown_placeholder(path) {
            Some(expected) => value("path", format!("`{path}`"), expected),
            None => Ok(()),
        }
    }

    /// The placeholders that are known, if a text has one that is not.
    fn unknown_placeholder(&self, text: &str) -> Option<String> {
        let known: &[&str] =
            if self.protocol == Protocol::Sse { &["user", "profile", "n"] } else { &["user", "n"] };
        unknown_placeholder(text, known)
    }

    /// Their values may be secrets, so no error shows one.
    fn validate_headers(&self) -> Valid {
        let names = || self.headers.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        if !self.headers.is_empty() && !matches!(self.protocol, Protocol::Ws | Protocol::Sse) {
            return value("headers", names(), "protocol ws or sse: others have none");
        }
        if let Some(expected) = headers::are_too_many(self.headers.len()) {
            return value("headers", names(), expected);
        }
        for (name, text) in &self.headers {
            if let Some(expected) = headers::wrong(name, text).or_else(|| self.unknown_placeholder(text)) {
                let name =
                    if headers::is_token(name) { name.clone() } else { format!("`{}`", name.escape_debug()) };
                return value(&format!("headers.{name}"), "", expected);
            }
        }
        let offered = self.subprotocols.join(", ");
        if !offered.is_empty() && self.protocol != Protocol::Ws {
            return value("subprotocols", offered, "protocol ws: others have none");
        }
        if let Some(name) = self.subprotocols.iter().find(|name| !headers::is_token(name)) {
            let expected = "names without spaces, such as mqtt or v12.stomp";
            return value("subprotocols", format!("`{}`", name.escape_debug()), expected);
        }
        Ok(())
    }

    /// Settings that only datagrams have, and those that they lack.
    fn validate_datagrams(&self) -> Valid {
        let (messages, profile) = (&self.messages, self.profile());
        if self.protocol != Protocol::Udp {
            let one = format!("protocol udp: over {} it is always 1", self.protocol);
            return match (messages.window, profile) {
                (Some(window), _) => value("messages.window", window.to_string(), one),
                (_, Some(profile)) => {
                    let first = profile.stages().first().map(Stage::describe).unwrap_or_default();
                    value("phases.send", first, "protocol udp: connections of others have an interval each")
                }
                (None, None) => Ok(()),
            };
        }
        if let Some(window) = messages.window
            && !(1..=WINDOW_MAX).contains(&window)
        {
            return value("messages.window", window.to_string(), "between 1 and 65536");
        }
        if messages.window.is_some() && messages.expect == Expect::None {
            return value("messages.window", "without expected answers", "expect echo or any");
        }
        let payload_bytes = messages.payload.bytes().len();
        if payload_bytes > UDP_PAYLOAD_BYTES_MAX {
            return value(
                "messages.payload",
                format!("of {payload_bytes} bytes"),
                "at most 1900 bytes over udp",
            );
        }
        for (index, stage) in profile.into_iter().flat_map(Profile::stages).enumerate() {
            if !(MILLISECOND..=LONGEST).contains(&stage.length) {
                return value(
                    &format!("phases.send[{index}]"),
                    stage.describe(),
                    "a length between 1ms and 720h",
                );
            }
        }
        Ok(())
    }

    fn validate_actions(&self) -> Valid {
        let place = Place {
            length: self.length(),
            wait: self.phases.wait.at_most,
            clients: self.phases.ramp.connections,
            protocol: self.protocol,
            service: &self.service,
        };
        for (index, action) in self.actions.iter().enumerate() {
            action.check(&place).map_err(|wrong| ScenarioError::Value {
                what: format!("actions[{index}].{}", wrong.key),
                value: wrong.value,
                expected: wrong.expected,
            })?;
            if let (Some(expected), Trigger::When { event, .. }) =
                (never::missing(self, action), &action.trigger)
            {
                return value(
                    &format!("actions[{index}].when"),
                    format!("`{event}` never happens"),
                    expected,
                );
            }
        }
        for (index, expectation) in self.expectations.iter().enumerate() {
            if let Expectation::Count { what, .. } = expectation
                && let Some(needed) = what.missing(self)
            {
                let expected = format!("{needed}: nothing else counts it");
                return value(&format!("expectations[{index}]"), format!("`{expectation}`"), expected);
            }
            if let Expectation::Scale { service, .. } = expectation
                && *service != self.service
                && let Err(reason) = known::service(service)
            {
                let expected = format!("a service: {reason}");
                return value(&format!("expectations[{index}]"), format!("`{expectation}`"), expected);
            }
        }
        if self.messages.sequence
            && let Some(text) = self.broadcasts().find(|text| looks_numbered(text))
        {
            let expected = "with messages.sequence, a text that does not begin like a number: another character than 0 \
                            to 9 and a to f among its first 16";
            return value("actions", format!("broadcast `{text}`"), expected);
        }
        let texts: Vec<&str> = self.broadcasts().collect();
        if texts.len() > BROADCASTS_MAX {
            return value("actions", format!("with {} broadcasts", texts.len()), "at most 64");
        }
        for (index, text) in texts.iter().enumerate() {
            // Only their texts distinguish receipts, so none may begin or contain another.
            if let Some(other) =
                texts[..index].iter().find(|other| text.contains(**other) || other.contains(text))
            {
                let expected = format!("a text that neither contains `{other}` nor is contained in it");
                return value("actions", format!("broadcast `{text}`"), expected);
            }
        }
        Ok(())
    }
}

/// Whether a broadcast could be mistaken for the answer to a numbered message because it has as many digits.
fn looks_numbered(text: &str) -> bool {
    let text =
        text.parse::<Payload>().map_or_else(|_| text.as_bytes().to_vec(), |text| text.bytes().to_vec());
    let digits = text.strip_prefix(b"msg:").unwrap_or(&text);
    digits.iter().take(DIGITS).all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Every, Messages};

    type Change = Box<dyn FnOnce(&mut Scenario)>;

    fn error(change: impl FnOnce(&mut Scenario)) -> String {
        let mut scenario = Scenario::default();
        change(&mut scenario);
        scenario.validate().unwrap_err().to_string()
    }

    #[test]
    fn impossible_values_are_named() {
        let stage = Stage::steady("5/s".parse().unwrap(), Duration::from_secs(1));
        let profile = Profile::new(vec![stage]);
        let cases: [(&str, Change); 26] = [
            ("phases.ramp.connections 0", Box::new(|s| s.phases.ramp.connections = 0)),
            (
                "messages.every 10us",
                Box::new(|s| s.messages.every = Some(Every::Interval(Duration::from_micros(10)))),
            ),
            ("payload", Box::new(|s| s.messages.payload = Vec::new().into())),
            ("65537 bytes", Box::new(|s| s.messages.payload = vec![0; 65_537].into())),
            (
                "phases.hold 0s: expected between 1ms and 720h",
                Box::new(|s| s.phases.hold.after_ramp = Some(Duration::ZERO)),
            ),
            (
                "has both `for` and `after-ramp`",
                Box::new(|s| {
                    s.phases.hold.after_ramp = Some(MILLISECOND);
                    s.phases.hold.from_first_connect = Some(MILLISECOND);
                }),
            ),
            ("messages.window 2: expected protocol udp", Box::new(|s| s.messages.window = Some(2))),
            (
                "expected protocol udp",
                Box::new({
                    let profile = profile.clone();
                    |s| s.phases.send = profile
                }),
            ),
            ("messages.window 0", Box::new(|s| (s.protocol, s.messages.window) = (Protocol::Udp, Some(0)))),
            (
                "without expected answers",
                Box::new(|s| {
                    (s.protocol, s.messages.window) = (Protocol::Udp, Some(2));
                    s.messages.expect = Expect::None;
                }),
            ),
            (
                "1901 bytes",
                Box::new(|s| (s.protocol, s.messages.payload) = (Protocol::Udp, vec![0; 1901].into())),
            ),
            (
                "and a message interval",
                Box::new(|s| {
                    s.messages.every = Some(Every::Never);
                    s.phases.send = profile;
                }),
            ),
            (
                "messages.sequence without echoes",
                Box::new(|s| (s.messages.sequence, s.messages.expect) = (true, Expect::Any)),
            ),
            (
                "messages.sequence over udp",
                Box::new(|s| (s.messages.sequence, s.protocol) = (true, Protocol::Udp)),
            ),
            ("path /: expected protocol ws", Box::new(|s| s.path = Some("/".to_owned()))),
            (
                r"path `/a\r\nb`: expected a path such as",
                Box::new(|s| (s.protocol, s.path) = (Protocol::Ws, Some("/a\r\nb".to_owned()))),
            ),
            (
                "path `/chat/{usr}`: expected {user}, {n} instead of {usr}; did you mean {user}?",
                Box::new(|s| (s.protocol, s.path) = (Protocol::Ws, Some("/chat/{usr}".to_owned()))),
            ),
            (
                "path `/{user}/{profil}`: expected {user}, {profile}, {n} instead of {profil}; did you mean {profile}?",
                Box::new(|s| (s.protocol, s.path) = (Protocol::Sse, Some("/{user}/{profil}".to_owned()))),
            ),
            (
                "path `/{profile}?x={y}`: expected {user}, {n} instead of {profile}",
                Box::new(|s| (s.protocol, s.path) = (Protocol::Ws, Some("/{profile}?x={y}".to_owned()))),
            ),
            ("only with policy backoff", Box::new(|s| s.reconnect.at_most = Some(MILLISECOND))),
            (
                "reconnect.policy jitter: expected none",
                Box::new(|s| (s.reconnect.never, s.reconnect.policy) = (true, Some(Policy::Jitter))),
            ),
            ("connect-timeout 2h", Box::new(|s| s.connect_timeout = Duration::from_hours(2))),
            ("pairs 3: expected protocol sse", Box::new(|s| s.pairs = Some(3))),
            (
                "stay 1ms to 1ms: expected protocol sse: connections of others stay to the end",
                Box::new(|s| s.stay = Some(Stay { at_least: MILLISECOND, at_most: MILLISECOND })),
            ),
            (
                "stay.at-most 1s: expected between 2s and 1h",
                Box::new(|s| {
                    let (at_least, at_most) = (Duration::from_secs(2), Duration::from_secs(1));
                    (s.protocol, s.stay) = (Protocol::Sse, Some(Stay { at_least, at_most }));
                }),
            ),
            ("preset `a b`: expected the name", Box::new(|s| s.preset = Some("a b".to_owned()))),
        ];
        for (expected, change) in cases {
            let error = error(change);
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn an_answer_of_other_protocols_is_no_echo() {
        let ok = || Some(Payload::from(b"OK".to_vec()));
        for (messages, expected) in [
            (
                Messages { answer: ok(), expect: Expect::Any, ..Messages::default() },
                "answer `OK`: expected no expect",
            ),
            (
                Messages { answer: Some(Vec::new().into()), ..Messages::default() },
                "answer ``: expected 1 to 65536 bytes",
            ),
            (Messages { answer: ok(), sequence: true, ..Messages::default() }, "sequence without echoes"),
        ] {
            let error = error(|s| s.messages = messages);
            assert!(error.starts_with(&format!("messages.{expected}")), "{error}");
        }
    }

    #[test]
    fn a_broadcast_beside_numbered_messages_must_not_look_like_a_number() {
        let with = |text: &str, sequence: bool| {
            let actions = vec![crate::Action::broadcasting(Duration::from_secs(1), 1, text)];
            let mut scenario = Scenario { actions, ..Scenario::default() };
            scenario.messages.sequence = sequence;
            scenario.validate().map_err(|error| error.to_string())
        };
        for text in ["dead", "0", "00000001000000020", "msg:beef", r"\x30\x31", "0123456789abcdef and more"] {
            let error = with(text, true).unwrap_err();
            assert!(error.contains(&format!("broadcast `{text}`")), "{error}");
            with(text, false).unwrap();
        }
        for text in ["DEAD", "dead or alive", "<dead>", "0123456789abcde and more", "msg:beef?"] {
            with(text, true).unwrap();
        }
    }

    #[test]
    fn expectations_must_be_of_counts_the_load_has() {
        for (expectation, expected) in [
            ("sequence-lost = 0", "messages: { sequence: true }"),
            ("broadcasts-missed = 0", "an action that sends a broadcast"),
            ("streams-refused >= 1", "protocol sse"),
            ("stray = 0", "protocol udp"),
            ("pairs-held-twice = 0", "protocol sse, and fewer pairs than connections"),
        ] {
            let message = error(|s| s.expectations = vec![expectation.parse().unwrap()]);
            let wanted =
                format!("expectations[0] `{expectation}`: expected {expected}: nothing else counts it");
            assert_eq!(message, wanted);
        }
        let with_pairs = |pairs| {
            error(|s| {
                (s.protocol, s.pairs, s.phases.ramp.connections) = (Protocol::Sse, Some(pairs), 8);
                s.messages.every = None;
                s.expectations = vec!["pairs-held-twice = 0".parse().unwrap()];
            })
        };
        assert!(with_pairs(8).contains("fewer pairs"));
        let mut fine = Scenario { protocol: Protocol::Sse, pairs: Some(4), ..Scenario::default() };
        fine.phases.ramp.connections = 8;
        fine.expectations =
            vec!["pairs-held-twice = 0".parse().unwrap(), "events-missed = 0".parse().unwrap()];
        fine.validate().unwrap();
    }

    #[test]
    fn broadcasts_must_be_distinguishable() {
        let action = |text: &str| crate::Action::broadcasting(Duration::from_secs(1), 1, text);
        assert!(error(|s| s.actions = vec![action("hello"), action("hello 2")]).contains("`hello`"));
        let mut fine =
            Scenario { actions: vec![action("hello 1"), action("hello 2")], ..Scenario::default() };
        fine.validate().unwrap();
        fine.actions = (0..65).map(|number| action(&format!("<{number}>"))).collect();
        assert!(fine.validate().unwrap_err().to_string().contains("at most 64"));
    }
}
