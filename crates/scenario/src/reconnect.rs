//! When an ended connection comes back.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{Protocol, Share, hint, name_of, named};

/// When a connection that ended, though the load did not end it, comes back. What the server says (`Retry-After`, the
/// hint in a close) comes before it. Where a default depends on the protocol the field is `None`, and
/// [`Reconnect::plan`] knows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Reconnect {
    pub policy: Option<Policy>,
    /// It stays away: the same as the policy `none`.
    pub never: bool,
    #[serde(with = "platform::duration::optional_text")]
    pub delay: Option<Duration>,
    /// A random part of it comes on top of the delay.
    #[serde(with = "platform::duration::optional_text")]
    pub jitter: Option<Duration>,
    /// Of `backoff`: the longest delay.
    #[serde(with = "platform::duration::optional_text")]
    pub at_most: Option<Duration>,
    /// So many of the connections know no delay, no jitter and no hint: what ended comes back in the same moment. If that
    /// led to nothing that lasted, they come back like the others.
    pub at_once: Option<Share>,
}

/// How delays are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The same delay each time, and a random part of the jitter on top.
    Jitter,
    /// A delay that doubles with each consecutive attempt.
    Backoff,
    /// Nobody comes back.
    None,
}

/// What a policy comes to for one protocol. Nobody comes back without one.
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
            .ok_or_else(|| format!("`{text}` is none of {}{}", names.join(", "), hint(text, names)))
    }
}

impl Reconnect {
    /// Nobody comes back.
    pub fn is_never(&self) -> bool {
        self.never || self.policy == Some(Policy::None)
    }

    /// Whether connection `number`, counted from 0, comes back in the moment of its end.
    pub fn is_at_once(&self, number: u64) -> bool {
        self.at_once.is_some_and(|share| share.has(number))
    }

    /// The delays of a protocol's connections; `None`: they stay away.
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
            // As ever: exactly after the delay.
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
        // The jitter grows with the delay: else those who are sent away together stay together.
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
