//! What a load does, in two stages: a [`Request`] is what was typed, a [`Plan`] is what it means.

mod request;
mod target;

use std::{net::SocketAddr, str::FromStr, time::Duration};

use platform::event::LoadPlan;

pub use self::request::{PlanError, Request};
use crate::{
    expect::Expectation, histogram::whole_ms, profile::Profile, protocol::Protocol, rate::Rate, reply::Expect,
};

/// How long a load lasts, and from when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadDuration {
    /// From the first connect to the close.
    FromFirstConnect(Duration),
    /// From the end of the ramp, when every connection was started and decided, to the close.
    FromRampEnd(Duration),
}

/// What a client does whose connection ended though the plan did not end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconnect {
    /// It stays away.
    Never,
    /// It comes back after `delay` and a random part of `jitter`.
    After { delay: Duration, jitter: Duration },
}

/// Whether connections are asked which replica serves them (`WHERE`, once after each connect).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Identify {
    /// If the payload is of our protocol and the target answers the question when it is asked once, on a
    /// connection of its own before the run.
    #[default]
    Auto,
    Always,
    Never,
}

impl FromStr for Identify {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            _ => Err(format!("`{text}` is none of auto, always, never")),
        }
    }
}

/// A load, complete and valid.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The scenario's name, or `load`.
    pub name: String,
    pub protocol: Protocol,
    /// Connected to in turn.
    pub targets: Vec<SocketAddr>,
    /// Over UDP: peers.
    pub connections: u64,
    /// Of connection starts. With a profile the peers open at once.
    pub rate: Rate,
    /// Between two messages of one connection; `None`: a profile says, or the connections stay silent. Zero, with a
    /// window: as fast as answers come.
    pub every: Option<Duration>,
    /// UDP: how many messages all peers together send.
    pub profile: Option<Profile>,
    /// UDP: the most messages of one peer that are outstanding at once.
    pub window: Option<u32>,
    pub payload: String,
    pub expect: Expect,
    pub duration: LoadDuration,
    /// A message that is not answered by then ends its connection.
    pub message_timeout: Duration,
    pub connect_timeout: Duration,
    pub reconnect: Reconnect,
    pub identify: Identify,
    /// At least so many event loops; `None`: as many as the limits ask for.
    pub workers: Option<u32>,
    /// Between two reports.
    pub tick: Duration,
    /// Report events of single connections.
    pub trace_connections: bool,
    pub expectations: Vec<Expectation>,
    /// How long, after the close, expectations that can still come true are waited for.
    pub wait: Duration,
}

impl Plan {
    /// The plan as its event tells it.
    pub fn describe(&self) -> LoadPlan {
        let (duration, duration_from_ramp) = match self.duration {
            LoadDuration::FromFirstConnect(duration) => (duration, false),
            LoadDuration::FromRampEnd(duration) => (duration, true),
        };
        let targets: Vec<String> = self.targets.iter().map(SocketAddr::to_string).collect();
        LoadPlan {
            name: self.name.clone(),
            protocol: self.protocol.name().to_owned(),
            target: targets.join(", "),
            connections: self.connections,
            connect_interval_us: u64::try_from(self.rate.interval().as_micros()).unwrap_or(u64::MAX),
            message_interval_ms: self.every.map(whole_ms),
            payload: self.payload.clone(),
            duration_ms: whole_ms(duration),
            duration_from_ramp,
            window: self.window,
            stages: self.profile.as_ref().map(Profile::events).unwrap_or_default(),
        }
    }

    /// Messages are sent at all.
    pub(crate) fn sends(&self) -> bool {
        self.every.is_some() || self.profile.is_some()
    }
}
