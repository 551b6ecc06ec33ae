//! Pods and metrics in the format of the vectors.

use std::{collections::BTreeMap, sync::Arc};

use autoscale::{
    Container, ContainerKind, MetricReading, Phase, Pod, PodSamples, Ready, ReadyStatus, Requests, Sample,
    observation::ZERO_TIME_MS,
};
use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct RawPod {
    name: String,
    #[serde(default)]
    phase: Phase,
    #[serde(default)]
    ready: RawReady,
    ready_at: Option<i64>,
    start: Option<i64>,
    #[serde(default)]
    deleting: bool,
    containers: Option<Vec<RawContainer>>,
    #[serde(default)]
    pod_req: BTreeMap<String, i64>,
}

#[derive(Clone, Copy, Default, Deserialize)]
enum RawReady {
    #[default]
    True,
    False,
    Unknown,
    None,
}

#[derive(Deserialize)]
pub(super) struct RawContainer {
    name: String,
    #[serde(default)]
    req: BTreeMap<String, i64>,
    #[serde(default)]
    sidecar: bool,
    #[serde(default)]
    init: bool,
}

#[derive(Deserialize)]
pub(super) struct RawMetric {
    #[serde(default)]
    error: bool,
    #[serde(default)]
    pods: BTreeMap<String, RawSample>,
    #[serde(default)]
    t: i64,
    #[serde(default)]
    w: i64,
    object: Option<i64>,
    external: Option<Vec<i64>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum RawSample {
    Bare(i64),
    Full(i64, i64, i64),
}

pub(super) fn containers(raw: &[RawContainer]) -> Arc<[Container]> {
    let container = |raw: &RawContainer| Container {
        name: raw.name.as_str().into(),
        kind: match (raw.sidecar, raw.init) {
            (true, _) => ContainerKind::Sidecar,
            (false, true) => ContainerKind::Init,
            (false, false) => ContainerKind::Regular,
        },
        requests: requests(&raw.req),
    };
    raw.iter().map(container).collect()
}

fn requests(raw: &BTreeMap<String, i64>) -> Requests {
    raw.iter().map(|(resource, milli)| (resource.as_str(), *milli)).collect()
}

impl RawPod {
    pub(super) fn pod(&self, template: &Arc<[Container]>) -> Pod {
        let since_ms = self.ready_at.unwrap_or(ZERO_TIME_MS);
        let ready = |status| Some(Ready { status, since_ms });
        Pod {
            name: self.name.as_str().into(),
            phase: self.phase,
            ready: match self.ready {
                RawReady::True => ready(ReadyStatus::True),
                RawReady::False => ready(ReadyStatus::False),
                RawReady::Unknown => ready(ReadyStatus::Unknown),
                RawReady::None => None,
            },
            started_ms: self.start,
            deleting: self.deleting,
            containers: self.containers.as_deref().map_or_else(|| Arc::clone(template), containers),
            requests: requests(&self.pod_req),
        }
    }
}

impl RawMetric {
    /// `kind`: the metric's type in the API.
    pub(super) fn reading(&self, kind: &str, pods: &[Pod]) -> Result<MetricReading, String> {
        if self.error {
            return Ok(MetricReading::Failed);
        }
        match kind {
            "Object" => self.object.map(MetricReading::Object).ok_or_else(|| "no `object` value".to_owned()),
            // An empty list of series is also a valid answer.
            "External" => Ok(MetricReading::External(self.external.clone().unwrap_or_default())),
            _ => {
                let samples = self.pods.iter().map(|(name, sample)| {
                    let (milli, at_ms, window_ms) = match *sample {
                        RawSample::Bare(milli) => (milli, self.t, self.w),
                        RawSample::Full(milli, at_ms, window_ms) => (milli, at_ms, window_ms),
                    };
                    (name.as_str(), Sample { milli, at_ms, window_ms })
                });
                Ok(MetricReading::Pods(PodSamples::matching(pods, samples)))
            }
        }
    }
}
