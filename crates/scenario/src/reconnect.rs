//! When an ended connection reconnects.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{Protocol, Share, hint, name_of, named};

/// When a connection that the load did not end reconnects. The server's hint (`Retry-After`, or in a close) takes
/// precedence. If a default depends on the protocol, the field is `None`, and [`Reconnect::plan`] resolves it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Reconnect {
    pub policy: Option<Policy>,
    /// It does not reconnect: the same as the policy `none`.
    pub never: bool,
    #[serde(with = "platform::duration::optional_text")]
    pub delay: Option<Duration>,
    /// A random part of it is added to the delay.
    #[serde(with = "platform::duration::optional_text")]
    pub jitter: Option<Duration>,
    /// For `backoff`: the longest delay.
    #[serde(with = "platform::duration::optional_text")]
    pub at_most: Option<Duration>,
    /// This share of the connections ignores delay, jitter and hints, and reconnects immediately. If that does not lead
    /// to a lasting connection, they then reconnect like the others.
    pub at_once: Option<Share>,
}

/// How delays are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The same delay each time, plus a random part of the jitter.
    Jitter,
    /// A delay that doubles with each consecutive attempt.
    Backoff,
    /// Connections do not reconnect.
    None,
}

/// A resolved policy for one protocol. Without one, connections do not reconnect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    pub delay: Duration,
    pub jitter: Duration,
    /// The delay doubles with each consecutive attempt, up to this.
    pub doubles_up_to: Option<Duration>,
}

const DELAY_TCP: Duration = Duration::from_secs(1);
const DELAY_WS: Duration = Duration::from_secs(5);
/// As browsers do.
const DELAY_SSE: Duration = Duration::from_secs(3);
const AT_MOST: Duration = Duration::from_mins(1);

impl Policy {
    const NAMES: [(&'static str, Self); 3] =
        [("backoff", Self::Backoff), ("jitter", Self::Jitter), ("none", Self::None)];
}

impl fmt::Display for Policy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(name_of(&Self::NAMES, self))
    }
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Self::NAMES.map(|(name, _)| name);
        named(&Self::NAMES, text)
            .ok_or_else(|| format!("`{text}` is not one of {}{}", names.join(", "), hint(text, names)))
    }
}

impl Reconnect {
    /// Connections do not reconnect.
    pub fn is_never(&self) -> bool {
        self.never || self.policy == Some(Policy::None)
    }

    /// Whether connection `number`, counted from 0, reconnects immediately.
    pub fn is_at_once(&self, number: u64) -> bool {
        self.at_once.is_some_and(|share| share.has(number))
    }

    /// The delays of a protocol's connections; `None`: they do not reconnect.
    pub fn plan(&self, protocol: Protocol) -> Option<Plan> {
        if self.is_never() {
            return None;
        }
        let delay = self.delay.unwrap_or(match protocol {
            Protocol::Tcp | Protocol::Udp => DELAY_TCP,
            Protocol::Ws => DELAY_WS,
            Protocol::Sse => DELAY_SSE,
        });
        let half = delay / 2;
        let (jitter, doubles_up_to) = match (self.policy, protocol) {
            // Exactly after the delay.
            (None, Protocol::Tcp | Protocol::Udp) => (Duration::ZERO, None),
            (None | Some(Policy::Jitter | Policy::None), _) => (half, None),
            (Some(Policy::Backoff), _) => (half, Some(self.at_most.unwrap_or(AT_MOST).max(delay))),
        };
        Some(Plan { delay, jitter: self.jitter.unwrap_or(jitter), doubles_up_to })
    }
}

impl Plan {
    /// Delay and jitter after `before` other consecutive attempts.
    pub fn after(&self, before: u32) -> (Duration, Duration) {
        let Some(longest) = self.doubles_up_to else { return (self.delay, self.jitter) };
        let times = 2_u32.saturating_pow(before);
        // The jitter grows with the delay, or clients that are sent away together would stay together.
        (self.delay.saturating_mul(times).min(longest), self.jitter.saturating_mul(times).min(longest / 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(plan: Plan) -> [f64; 2] {
        [plan.delay.as_secs_f64(), plan.jitter.as_secs_f64()]
    }

    #[test]
    fn each_protocol_has_its_own_delay() {
        let plan = |text: &str, protocol| {
            let reconnect: Reconnect = yaml::from_str(text).unwrap();
            reconnect.plan(protocol).map(seconds)
        };
        for (text, tcp, ws) in [
            ("{}", Some([1.0, 0.0]), Some([5.0, 2.5])),
            ("{ delay: 2s }", Some([2.0, 0.0]), Some([2.0, 1.0])),
            ("{ delay: 2s, jitter: 300ms }", Some([2.0, 0.3]), Some([2.0, 0.3])),
            ("{ policy: jitter }", Some([1.0, 0.5]), Some([5.0, 2.5])),
            ("{ policy: backoff, jitter: 0s }", Some([1.0, 0.0]), Some([5.0, 0.0])),
            ("{ policy: none }", None, None),
            ("{ never: true }", None, None),
        ] {
            assert_eq!((plan(text, Protocol::Tcp), plan(text, Protocol::Ws)), (tcp, ws), "{text}");
        }
    }

    #[test]
    fn a_backoff_doubles_up_to_its_limit() {
        let reconnect: Reconnect = yaml::from_str("{ policy: backoff, delay: 3s, at-most: 20s }").unwrap();
        let plan = reconnect.plan(Protocol::Tcp).unwrap();
        let delays = [0, 1, 2, 3, 200].map(|before| plan.after(before));
        let expected = [(3.0, 1.5), (6.0, 3.0), (12.0, 6.0), (20.0, 10.0), (20.0, 10.0)];
        assert_eq!(delays.map(|(delay, jitter)| (delay.as_secs_f64(), jitter.as_secs_f64())), expected);
        let steady = Reconnect::default().plan(Protocol::Ws).unwrap();
        assert_eq!(steady.after(0), steady.after(9));
    }
}
