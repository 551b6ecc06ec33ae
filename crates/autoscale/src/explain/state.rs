//! State files: what an autoscaler sees, written by hand or by a script, for `playctl explain --state FILE`.
//!
//! YAML or JSON. Instants are RFC 3339 or milliseconds, values are quantities (`7012`, `250m`, `300Mi`). Metrics stand
//! in the order of the HPA's spec. `docs/autoscaling.md` shows an example, [`template`](super::template()) writes one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::fmt::temporal::Pieces;
use serde::{Deserialize, Deserializer, de};

use super::Case;
use crate::{
    engine::{Autoscaler, Snapshot},
    memory::{Memory, Recommendation, ScaleEvent},
    observation::{
        Container, Faults, MetricReading, Observation, Phase, Pod, PodSamples, Ready, ReadyStatus, Requests,
        Sample, ZERO_TIME_MS,
    },
    quantity::Quantity,
    settings::ControllerSettings,
    spec::HpaSpec,
    status::Status,
};

/// From here on (September 2001) instants are milliseconds since 1970; smaller numbers may count from any origin.
pub const CALENDAR_FROM_MS: i64 = 1_000_000_000_000;

/// The file as written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StateFile {
    /// Default: the caller's clock.
    now: Option<Instant>,
    /// The scale's `spec.replicas`.
    replicas: Replicas,
    /// The scale's `status.replicas`, if it lags behind.
    status_replicas: Option<Replicas>,
    #[serde(default)]
    pods: Vec<StatePod>,
    #[serde(default)]
    metrics: Vec<StateMetric>,
    #[serde(default)]
    history: History,
    #[serde(default)]
    settings: ControllerSettings,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StatePod {
    name: String,
    #[serde(default)]
    phase: Phase,
    /// The Ready condition; default: true.
    #[serde(default = "yes")]
    ready: bool,
    ready_since: Option<Instant>,
    started: Option<Instant>,
    #[serde(default)]
    deleting: bool,
    #[serde(default)]
    containers: Vec<StateContainer>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StateContainer {
    name: String,
    #[serde(default)]
    requests: BTreeMap<String, Quantity>,
}

/// Exactly one of `failed`, `pods`, `object`, `external`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StateMetric {
    #[serde(default)]
    failed: bool,
    pods: Option<BTreeMap<String, Quantity>>,
    object: Option<Quantity>,
    external: Option<Vec<Quantity>>,
    /// When the samples were taken; default: now.
    sampled: Option<Instant>,
    /// Over how long they were taken.
    #[serde(default)]
    window_seconds: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct History {
    recommendations: Vec<StateRecommendation>,
    scale_ups: Vec<StateChange>,
    scale_downs: Vec<StateChange>,
    last_scale: Option<Instant>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StateRecommendation {
    at: Instant,
    replicas: Replicas,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StateChange {
    at: Instant,
    /// By how many replicas, without sign.
    by: u16,
}

fn yes() -> bool {
    true
}

/// A number of replicas, at least 0.
#[derive(Debug, Clone, Copy)]
struct Replicas(i32);

impl<'de> Deserialize<'de> for Replicas {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not `u32`, because the error would name its range.
        let count = i64::deserialize(deserializer)?;
        let replicas = i32::try_from(count).ok().filter(|replicas| *replicas >= 0);
        let expected = format!("a whole number from 0 to {}", i32::MAX);
        let wrong = || de::Error::invalid_value(de::Unexpected::Signed(count), &expected.as_str());
        replicas.map(Self).ok_or_else(wrong)
    }
}

/// Milliseconds since 1970, or on any axis if the whole file only has numbers. Always within the range of a calendar.
#[derive(Debug, Clone, Copy)]
struct Instant(i64);

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Instant;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an instant such as 2026-11-21T14:02:50Z, or milliseconds")
            }

            fn visit_i64<E: de::Error>(self, ms: i64) -> Result<Instant, E> {
                let far = |_| E::custom(format_args!("`{ms}` ms is out of range: expected {}", range()));
                jiff::Timestamp::from_millisecond(ms).map(|at| Instant(at.as_millisecond())).map_err(far)
            }

            fn visit_u64<E: de::Error>(self, ms: u64) -> Result<Instant, E> {
                self.visit_i64(i64::try_from(ms).unwrap_or(i64::MAX))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Instant, E> {
                let wrong = |_| {
                    if is_written_as_instant(text) {
                        let (min, max) = (jiff::Timestamp::MIN, jiff::Timestamp::MAX);
                        E::custom(format_args!("`{text}` is out of range: expected {min:.0} to {max:.0}"))
                    } else {
                        E::custom(format_args!(
                            "`{text}` is no instant such as 2026-11-21T14:02:50Z: expected a date, a time of day and an \
                             offset (Z or +01:00)"
                        ))
                    }
                };
                text.parse().map(|at: jiff::Timestamp| Instant(at.as_millisecond())).map_err(wrong)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Whether a text has all that an instant is made of; it may still be one that no calendar here reaches.
fn is_written_as_instant(text: &str) -> bool {
    Pieces::parse(text).is_ok_and(|pieces| pieces.time().is_some() && pieces.offset().is_some())
}

fn range() -> String {
    let (min, max) = (jiff::Timestamp::MIN, jiff::Timestamp::MAX);
    format!("{} to {} (the years -9999 to 9999)", min.as_millisecond(), max.as_millisecond())
}

/// Why a state file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    #[error(transparent)]
    File(#[from] yaml::Error),
    #[error("the spec is not valid: {0}")]
    Spec(#[from] crate::spec::InvalidSpec),
}

/// A state file that has been read, but not yet put together with a spec.
#[derive(Debug)]
pub struct State {
    file: StateFile,
    document: yaml::Document,
}

/// Combines a spec with the text of a state file. `clock_ms` is the present, for a file without `now`.
pub fn read(text: &str, spec: &HpaSpec, clock_ms: i64) -> Result<Case, StateError> {
    State::parse("", text)?.case(spec, clock_ms)
}

impl State {
    /// Reads a state file on its own: whether a spec is valid may depend on its [settings](Self::settings). `origin` is
    /// what errors call the file.
    pub fn parse(origin: &str, text: &str) -> Result<Self, StateError> {
        let document = yaml::read(origin, text)?;
        let file: StateFile = document.typed()?;
        let settings = &file.settings;
        for (key, ms) in [
            ("downscaleStabilizationMs", settings.downscale_stabilization_ms),
            ("cpuInitMs", settings.cpu_init_ms),
            ("initialReadinessDelayMs", settings.initial_readiness_delay_ms),
        ] {
            if ms < 0 {
                let message = format!("expected a whole number of milliseconds, 0 or more, got {ms}");
                return Err(document.error_at(&format!("settings.{key}"), message).into());
            }
        }
        if settings.tolerance < 0.0 {
            let message = format!("expected 0 or more, such as 0.1, got {}", settings.tolerance);
            return Err(document.error_at("settings.tolerance", message).into());
        }
        Ok(Self { file, document })
    }

    /// The controller's settings.
    pub fn settings(&self) -> &ControllerSettings {
        &self.file.settings
    }

    /// Everything a decision for this spec depends on.
    pub fn case(self, spec: &HpaSpec, clock_ms: i64) -> Result<Case, StateError> {
        let Self { file, document } = self;
        let spec = Autoscaler::new(spec, file.settings.clone())?.spec().clone();
        if file.metrics.len() != spec.metrics.len() {
            let expected =
                spec.metrics.iter().map(|metric| member_of(&metric.kind)).collect::<Vec<_>>().join(", ");
            let message = format!(
                "{} given, but the HPA has {}: one each, in its order ({expected})",
                file.metrics.len(),
                spec.metrics.len()
            );
            return Err(document.error_at("metrics", message).into());
        }
        let now_ms = match file.now {
            Some(now) => now.0,
            None if file.instants().any(|at| at.0 < CALENDAR_FROM_MS) => {
                let message = "is missing; only a file whose instants are dates may leave it out";
                return Err(document.error_at("now", message).into());
            }
            None => clock_ms,
        };
        let mut names = BTreeSet::new();
        if let Some(twice) = file.pods.iter().position(|pod| !names.insert(pod.name.as_str())) {
            let message = format!("{} is listed twice: a pod's name is unique", file.pods[twice].name);
            return Err(document.error_at(&format!("pods[{twice}].name"), message).into());
        }
        let pods: Vec<Pod> = file.pods.into_iter().map(StatePod::pod).collect();
        let metrics = file
            .metrics
            .into_iter()
            .zip(&spec.metrics)
            .enumerate()
            .map(|(metric, (state, spec))| {
                let reading = state.reading(&spec.kind, now_ms, &pods);
                reading.map_err(|message| document.error_at(&format!("metrics[{metric}]"), message))
            })
            .collect::<Result<_, _>>()?;
        let event = |change: StateChange| ScaleEvent {
            change: i32::from(change.by),
            at_ms: change.at.0,
            outdated: false,
        };
        let recommendations = file.history.recommendations.into_iter();
        let memory = Memory {
            recommendations: recommendations
                .map(|recommendation| Recommendation {
                    replicas: recommendation.replicas.0,
                    at_ms: recommendation.at.0,
                })
                .collect(),
            scale_ups: file.history.scale_ups.into_iter().map(event).collect(),
            scale_downs: file.history.scale_downs.into_iter().map(event).collect(),
        };
        let status = Status {
            current_replicas: file.replicas.0,
            desired_replicas: file.replicas.0,
            last_scale_ms: file.history.last_scale.map(|instant| instant.0),
            ..Status::default()
        };
        let observed = Observation {
            spec_replicas: file.replicas.0,
            status_replicas: file.status_replicas.unwrap_or(file.replicas).0,
            pods,
            metrics,
            faults: Faults::default(),
        };
        let autoscaler = Snapshot { spec, settings: file.settings, memory, status };
        Ok(Case { now_ms, autoscaler, observed })
    }
}

impl StateFile {
    fn instants(&self) -> impl Iterator<Item = Instant> {
        let history = &self.history;
        let pods = self.pods.iter().flat_map(|pod| [pod.started, pod.ready_since]);
        let changes = history.scale_ups.iter().chain(&history.scale_downs).map(|change| Some(change.at));
        pods.chain(self.metrics.iter().map(|metric| metric.sampled))
            .chain(history.recommendations.iter().map(|recommendation| Some(recommendation.at)))
            .chain(changes)
            .chain([history.last_scale])
            .flatten()
    }
}

impl StatePod {
    fn pod(self) -> Pod {
        let since_ms = self.ready_since.or(self.started).map_or(ZERO_TIME_MS, |instant| instant.0);
        let status = if self.ready { ReadyStatus::True } else { ReadyStatus::False };
        let container = |container: StateContainer| Container {
            name: container.name.into(),
            kind: crate::ContainerKind::Regular,
            requests: container
                .requests
                .into_iter()
                .map(|(name, quantity)| (name, quantity.milli()))
                .collect(),
        };
        Pod {
            name: self.name.into(),
            phase: self.phase,
            ready: Some(Ready { status, since_ms }),
            started_ms: Some(self.started.map_or(ZERO_TIME_MS, |instant| instant.0)),
            deleting: self.deleting,
            containers: self.containers.into_iter().map(container).collect(),
            requests: Requests::default(),
        }
    }
}

impl StateMetric {
    fn reading(self, kind: &str, now_ms: i64, pods: &[Pod]) -> Result<MetricReading, String> {
        let at_ms = self.sampled.map_or(now_ms, |instant| instant.0);
        let window_ms = i64::from(self.window_seconds) * 1000;
        match (kind, self.failed, self.pods, self.object, self.external) {
            (_, true, None, None, None) => Ok(MetricReading::Failed),
            ("Object", false, None, Some(value), None) => Ok(MetricReading::Object(value.milli())),
            ("External", false, None, None, Some(series)) => {
                Ok(MetricReading::External(series.iter().map(Quantity::milli).collect()))
            }
            ("Resource" | "ContainerResource" | "Pods", false, Some(samples), None, None) => {
                let samples = samples
                    .iter()
                    .map(|(name, value)| (name.as_str(), Sample { milli: value.milli(), at_ms, window_ms }));
                Ok(MetricReading::Pods(PodSamples::matching(pods, samples)))
            }
            _ => {
                let member = member_of(kind);
                Err(format!("a metric of type {kind} needs `{member}` or `failed: true`, and nothing else"))
            }
        }
    }
}

/// The key that holds the reading of a metric of this type.
fn member_of(kind: &str) -> &'static str {
    match kind {
        "Object" => "object",
        "External" => "external",
        _ => "pods",
    }
}
