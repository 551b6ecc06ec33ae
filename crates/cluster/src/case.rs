//! The controller's view of an autoscaler, read from the same APIs, as input for our engine.

use std::sync::Arc;

use autoscale::{
    Condition, ConditionReason, Conditions, Container, ContainerKind, ControllerSettings, Faults, Memory,
    MetricReading, Observation, Phase, Pod, PodSamples, Quantity, Ready, ReadyStatus, Recommendation,
    Requests, ScaleEvent, Status,
    explain::Case,
    observation::ZERO_TIME_MS,
    spec::{HpaSpec, MetricSpec},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1 as core;
use platform::{TargetError, target::Reported};

use crate::{
    connect::Cluster,
    facts::{EventFacts, HpaFacts, Selector, time},
    metrics::{Metrics, Usages},
    read::{self, Scaled},
};

/// The longest period of a policy, so older scale events do not matter.
const LONGEST_PERIOD: SignedDuration = SignedDuration::from_mins(30);

/// The current case of one autoscaler.
pub(crate) async fn case(cluster: &Cluster, hpa: &HpaFacts, now: Timestamp) -> Result<Case, TargetError> {
    let spec = hpa.spec.clone().map_err(|error| {
        let message = format!("the spec of autoscaler {} is not read by this version: {error}", hpa.name);
        TargetError::Other { message }
    })?;
    // As our engine evaluates it: with the default metric if it names none.
    let settings = ControllerSettings::default();
    let engine = autoscale::Autoscaler::new(&spec, settings.clone()).map_err(TargetError::other)?;
    let spec = engine.spec().clone();
    let scaled = read::scale(cluster, hpa).await?;
    let pods = match &scaled.selector {
        Some(selector) => read::pods(cluster, selector).await?,
        None => Vec::new(),
    };
    let pods: Vec<Pod> = pods.iter().map(pod).collect();
    let metrics = readings(cluster, &spec, scaled.selector.as_ref(), &pods).await;
    let metrics = metrics.into_iter().map(|reading| reading.unwrap_or(MetricReading::Failed)).collect();
    let events = read::events(cluster, "HorizontalPodAutoscaler", &hpa.name).await;
    let Scaled { wanted, present, selector } = scaled;
    let observed = Observation {
        spec_replicas: wanted,
        status_replicas: present,
        pods,
        metrics,
        faults: Faults { no_selector: selector.is_none(), ..Faults::default() },
    };
    let autoscaler =
        autoscale::Snapshot { spec, settings, memory: memory(hpa, &events, now), status: status(hpa) };
    Ok(Case { now_ms: now.as_millisecond(), autoscaler, observed })
}

/// What the controller itself last reported, and the metrics that this account cannot read.
pub(crate) async fn reported(
    cluster: &Cluster,
    hpa: &HpaFacts,
    now: Timestamp,
) -> Result<Reported, TargetError> {
    let selector = read::scale(cluster, hpa).await?.selector;
    let mut unread = Vec::new();
    if let Ok(spec) = &hpa.spec {
        let readings = readings(cluster, spec, selector.as_ref(), &[]).await;
        let labels = controller::metric::labels(&spec.metrics);
        let failed = readings
            .into_iter()
            .zip(labels)
            .filter_map(|(reading, label)| Some(format!("{label}: {}", reading.err()?)));
        unread.extend(failed);
    }
    Ok(Reported { unread, ..status_words(hpa, now) })
}

fn status_words(hpa: &HpaFacts, now: Timestamp) -> Reported {
    let metrics = crate::world::proposals(hpa, now);
    Reported {
        current: hpa.current,
        desired: hpa.desired,
        last_scale: hpa.last_scale,
        metrics: metrics.iter().map(|one| format!("{} {}", one.metric, one.words)).collect(),
        conditions: hpa
            .conditions
            .iter()
            .map(|one| {
                let word = if one.status { "True" } else { "False" };
                (one.kind.clone(), [word.to_owned(), one.reason.clone(), one.message.clone()])
            })
            .collect(),
        unread: Vec::new(),
    }
}

/// The readings of all metrics in order, or why there is none. The pods' usage is requested only once.
async fn readings(
    cluster: &Cluster,
    spec: &HpaSpec,
    selector: Option<&Selector>,
    pods: &[Pod],
) -> Vec<Result<MetricReading, String>> {
    let metrics = Metrics::new(cluster.clone());
    let mut usages: Option<Result<Usages, String>> = None;
    let mut readings = Vec::new();
    for metric in &spec.metrics {
        let by_resource = metric.resource.is_some() || metric.container_resource.is_some();
        if by_resource && usages.is_none() {
            usages = Some(metrics.usages(selector).await);
        }
        let usages = usages.as_ref().map(Result::as_ref);
        readings.push(reading(&metrics, metric, selector, usages, pods).await);
    }
    readings
}

async fn reading(
    metrics: &Metrics,
    metric: &MetricSpec,
    selector: Option<&Selector>,
    usages: Option<Result<&Usages, &String>>,
    pods: &[Pod],
) -> Result<MetricReading, String> {
    let of_pods = |samples: &[(String, autoscale::Sample)]| {
        if samples.is_empty() {
            return Err("the metrics API has no value of any pod".to_owned());
        }
        let named = samples.iter().map(|(pod, sample)| (pod.as_str(), *sample));
        Ok(MetricReading::Pods(PodSamples::matching(pods, named)))
    };
    let usages = || usages.unwrap_or(Err(&String::new())).map_err(Clone::clone);
    if let Some(resource) = &metric.resource {
        return of_pods(&usages()?.of(&resource.name, None));
    }
    if let Some(resource) = &metric.container_resource {
        return of_pods(&usages()?.of(&resource.name, Some(&resource.container)));
    }
    if let Some(of) = &metric.pods {
        let selector = selector.ok_or("the scale names no selector for its pods")?;
        return of_pods(&metrics.of_pods(&of.metric, selector).await?);
    }
    if let Some(of) = &metric.object {
        return Ok(MetricReading::Object(metrics.of_object(&of.described_object, &of.metric).await?));
    }
    let of = metric.external.as_ref().ok_or("it is of no known type")?;
    Ok(MetricReading::External(metrics.external(&of.metric).await?))
}

/// The parts of a pod that matter to the engine.
fn pod(pod: &core::Pod) -> Pod {
    let (spec, status) = (pod.spec.as_ref(), pod.status.as_ref());
    let mut conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    let ready = conditions.rfind(|condition| condition.type_ == "Ready").map(|condition| Ready {
        status: match condition.status.as_str() {
            "True" => ReadyStatus::True,
            "False" => ReadyStatus::False,
            _ => ReadyStatus::Unknown,
        },
        since_ms: time(condition.last_transition_time.as_ref())
            .map_or(ZERO_TIME_MS, Timestamp::as_millisecond),
    });
    let phase = match status.and_then(|status| status.phase.as_deref()) {
        Some("Running") => Phase::Running,
        Some("Succeeded") => Phase::Succeeded,
        Some("Failed") => Phase::Failed,
        Some("Unknown") => Phase::Unknown,
        _ => Phase::Pending,
    };
    let regular = spec.into_iter().flat_map(|spec| &spec.containers);
    let init = spec.and_then(|spec| spec.init_containers.as_ref()).into_iter().flatten();
    let of_kind = |kind: fn(&core::Container) -> ContainerKind| {
        move |container: &core::Container| Container {
            name: container.name.as_str().into(),
            kind: kind(container),
            requests: requests(container.resources.as_ref()),
        }
    };
    let is_sidecar = |container: &core::Container| match container.restart_policy.as_deref() {
        Some("Always") => ContainerKind::Sidecar,
        _ => ContainerKind::Init,
    };
    let containers: Vec<Container> =
        regular.map(of_kind(|_| ContainerKind::Regular)).chain(init.map(of_kind(is_sidecar))).collect();
    Pod {
        name: Arc::from(pod.metadata.name.as_deref().unwrap_or_default()),
        phase,
        ready,
        started_ms: time(status.and_then(|status| status.start_time.as_ref())).map(Timestamp::as_millisecond),
        deleting: pod.metadata.deletion_timestamp.is_some(),
        containers: Arc::from(containers),
        requests: requests(spec.and_then(|spec| spec.resources.as_ref())),
    }
}

fn requests(resources: Option<&core::ResourceRequirements>) -> Requests {
    let requests = resources.and_then(|resources| resources.requests.as_ref()).into_iter().flatten();
    let milli = |(name, quantity): (&String, &k8s_openapi::apimachinery::pkg::api::resource::Quantity)| {
        Some((name.clone(), quantity.0.parse::<Quantity>().ok()?.milli()))
    };
    requests.filter_map(milli).collect()
}

/// What can be known of the controller's memory: the changes that its events report, and that it holds a number of
/// replicas.
fn memory(hpa: &HpaFacts, events: &[EventFacts], now: Timestamp) -> Memory {
    let mut memory = Memory::default();
    let sizes: Vec<(Timestamp, u32)> =
        events.iter().filter_map(|event| Some((event.last?, event.new_size()?))).collect();
    for pair in sizes.windows(2) {
        let [(_, from), (at, to)] = pair else { continue };
        if now.duration_since(*at) > LONGEST_PERIOD {
            continue;
        }
        let change = i32::try_from(from.abs_diff(*to)).unwrap_or(i32::MAX);
        let event = ScaleEvent { change, at_ms: at.as_millisecond(), outdated: false };
        if to > from { memory.scale_ups.push(event) } else { memory.scale_downs.push(event) }
    }
    let held = hpa.condition("AbleToScale").filter(|able| able.reason == "ScaleDownStabilized");
    if held.is_some() {
        // The status does not say since when: it may hold for the whole window from now on.
        let replicas = i32::try_from(hpa.desired).unwrap_or(i32::MAX);
        memory.recommendations.push(Recommendation { replicas, at_ms: now.as_millisecond() });
    }
    memory
}

fn status(hpa: &HpaFacts) -> Status {
    let signed = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    let condition = |kind: &str| {
        let condition = hpa.condition(kind)?;
        let reason: ConditionReason = serde_json::from_value(condition.reason.clone().into()).ok()?;
        Some(Condition { status: condition.status, reason, since_ms: 0 })
    };
    Status {
        current_replicas: signed(hpa.current),
        desired_replicas: signed(hpa.desired),
        last_scale_ms: hpa.last_scale.map(Timestamp::as_millisecond),
        current_metrics: None,
        conditions: Conditions {
            able_to_scale: condition("AbleToScale"),
            scaling_active: condition("ScalingActive"),
            scaling_limited: condition("ScalingLimited"),
        },
    }
}

#[cfg(test)]
mod tests;
