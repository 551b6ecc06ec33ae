//! The form of a scenario file.

use std::{fmt::Display, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, de::Error};

use super::{Scenario, keys};
use crate::{
    duration::parse_duration,
    expect::Expectation,
    frequency::Frequency,
    plan::{LoadDuration, Reconnect},
    profile::{Profile, Stage},
    protocol::Protocol,
    rate::Rate,
    reply::Expect,
};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    name: String,
    #[serde(default)]
    about: String,
    #[serde(default = "default_service")]
    service: String,
    protocol: Option<Text<Protocol>>,
    #[serde(default)]
    phases: Phases,
    #[serde(default)]
    messages: Messages,
    reconnect: Option<ReconnectForm>,
    #[serde(default, deserialize_with = "time")]
    connect_timeout: Option<Duration>,
    #[serde(default)]
    expectations: Vec<Text<Expectation>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Phases {
    #[serde(default)]
    ramp: Ramp,
    send: Option<Vec<StageForm>>,
    #[serde(default)]
    hold: Hold,
    #[serde(default)]
    wait: Wait,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ramp {
    connections: Option<u64>,
    rate: Option<Text<Rate>>,
}

/// `from` and `to`, or `at`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StageForm {
    from: Option<Text<Frequency>>,
    to: Option<Text<Frequency>>,
    at: Option<Text<Frequency>>,
    #[serde(rename = "for", deserialize_with = "length")]
    length: Duration,
}

impl StageForm {
    fn read(self) -> Result<Stage, String> {
        match (self.from, self.to, self.at) {
            (Some(from), Some(to), None) => Ok(Stage { from: from.0, to: to.0, length: self.length }),
            (None, None, Some(at)) => Ok(Stage::steady(at.0, self.length)),
            _ => Err("a stage has `from` and `to`, or `at`".to_owned()),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Hold {
    #[serde(default, rename = "for", deserialize_with = "time")]
    from_first_connect: Option<Duration>,
    #[serde(default, deserialize_with = "time")]
    after_ramp: Option<Duration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Wait {
    #[serde(default, deserialize_with = "time")]
    at_most: Option<Duration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Messages {
    every: Option<Text<Every>>,
    payload: Option<String>,
    expect: Option<Text<Expect>>,
    #[serde(default, deserialize_with = "time")]
    timeout: Option<Duration>,
    window: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReconnectForm {
    #[serde(default, deserialize_with = "time")]
    delay: Option<Duration>,
    #[serde(default, deserialize_with = "time")]
    jitter: Option<Duration>,
}

/// An interval, or `never`.
#[derive(Debug)]
enum Every {
    Never,
    Interval(Duration),
}

impl FromStr for Every {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "never" {
            return Ok(Self::Never);
        }
        parse_duration(text).map(Self::Interval).map_err(|error| format!("{error}, or never"))
    }
}

/// A value written as text.
#[derive(Debug)]
struct Text<T>(T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(D::Error::custom)
    }
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map(Some).map_err(D::Error::custom)
}

fn length<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map_err(D::Error::custom)
}

fn default_service() -> String {
    "tcp".to_owned()
}

pub(super) fn parse(text: &str) -> Result<Scenario, String> {
    let value: serde_yaml::Value = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    keys::check(&value, "")?;
    let file: File = serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner().to_string();
        // The error may name the path as well.
        let inner = inner.strip_prefix(&format!("{path}: ")).map_or(inner.clone(), str::to_owned);
        if path == "." { inner } else { format!("{path}: {inner}") }
    })?;
    if file.name.trim().is_empty() {
        return Err("name: must not be empty".to_owned());
    }
    let hold = file.phases.hold;
    let duration = match (hold.from_first_connect, hold.after_ramp) {
        (Some(_), Some(_)) => return Err("phases.hold: has both `for` and `after-ramp`; use one".to_owned()),
        (Some(duration), None) => Some(LoadDuration::FromFirstConnect(duration)),
        (None, Some(duration)) => Some(LoadDuration::FromRampEnd(duration)),
        (None, None) => None,
    };
    let profile = match file.phases.send {
        Some(forms) if forms.is_empty() => return Err("phases.send: has no stage".to_owned()),
        Some(forms) => {
            let stages = forms
                .into_iter()
                .enumerate()
                .map(|(index, form)| form.read().map_err(|error| format!("phases.send[{index}]: {error}")));
            Some(Profile::new(stages.collect::<Result<_, _>>()?))
        }
        None => None,
    };
    let (silent, every) = match file.messages.every {
        None => (false, None),
        Some(Text(Every::Never)) => (true, None),
        Some(Text(Every::Interval(every))) => (false, Some(every)),
    };
    Ok(Scenario {
        name: file.name,
        about: file.about,
        service: file.service,
        protocol: file.protocol.map(|protocol| protocol.0),
        connections: file.phases.ramp.connections,
        rate: file.phases.ramp.rate.map(|rate| rate.0),
        duration,
        wait: file.phases.wait.at_most.unwrap_or_default(),
        silent,
        every,
        profile,
        window: file.messages.window,
        payload: file.messages.payload,
        expect: file.messages.expect.map(|expect| expect.0),
        message_timeout: file.messages.timeout,
        connect_timeout: file.connect_timeout,
        reconnect: file.reconnect.map(|form| Reconnect::After {
            delay: form.delay.unwrap_or(Duration::from_secs(1)),
            jitter: form.jitter.unwrap_or_default(),
        }),
        expectations: file.expectations.into_iter().map(|expectation| expectation.0).collect(),
    })
}
