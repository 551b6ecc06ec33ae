//! The inputs of an autoscaler that syncs now.

use autoscale::{Phase, Pod, Ready, ReadyStatus, explain::Case};
use platform::target::{ReplicaPhase, ReplicaSnapshot};

/// The autoscaler's last sync was before the last change of the scale, by itself or somebody else: newer replicas have
/// no sample yet, and removed ones no longer have any.
pub(super) fn bring_up_to_date(case: &mut Case, desired: u32, replicas: &[ReplicaSnapshot]) {
    let observed = &mut case.observed;
    observed.spec_replicas = i32::try_from(desired).unwrap_or(i32::MAX);
    let is_there = |pod: &Pod| replicas.iter().any(|replica| *replica.name == *pod.name);
    let kept: Vec<bool> = observed.pods.iter().map(is_there).collect();
    for metric in &mut observed.metrics {
        if let autoscale::MetricReading::Pods(samples) = metric {
            samples.listed.resize(kept.len(), None);
            let mut kept = kept.iter().copied();
            samples.listed.retain(|_| kept.next().unwrap_or(true));
        }
    }
    observed.pods.retain(is_there);
    let containers = observed.pods.first().map(|pod| pod.containers.clone()).unwrap_or_default();
    for replica in replicas {
        let since_ms = replica.since.as_millisecond();
        let is_deleting = replica.phase == ReplicaPhase::Draining;
        if let Some(pod) = observed.pods.iter_mut().find(|pod| *pod.name == *replica.name) {
            pod.deleting |= is_deleting;
            continue;
        }
        let status =
            if replica.phase == ReplicaPhase::Ready { ReadyStatus::True } else { ReadyStatus::False };
        observed.pods.push(Pod {
            name: replica.name.as_str().into(),
            phase: Phase::Running,
            ready: Some(Ready { status, since_ms }),
            started_ms: Some(since_ms),
            deleting: is_deleting,
            containers: containers.clone(),
            ..Pod::default()
        });
    }
    let active = observed.pods.iter().filter(|pod| !pod.deleting).count();
    observed.status_replicas = i32::try_from(active).unwrap_or(i32::MAX);
}

#[cfg(test)]
mod tests {
    use super::*;
    use autoscale::{
        explain::{self, Text},
        manifest,
    };
    use jiff::Timestamp;

    const HPA: &str = "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: tcp}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: tcp}
  maxReplicas: 5
  metrics:
    - type: Pods
      pods: {metric: {name: tcp_state_established}, target: {type: AverageValue, averageValue: 5k}}
";

    fn replica(name: &str, phase: ReplicaPhase) -> ReplicaSnapshot {
        ReplicaSnapshot {
            name: name.to_owned(),
            node: Some("node-0".to_owned()),
            address: None,
            admin_port: None,
            pid: None,
            server_id: None,
            phase,
            reason: None,
            since: Timestamp::UNIX_EPOCH,
            traffic: platform::target::Traffic::Active,
            deletion_cost: 0,
            restarts: 0,
            connections: None,
            packets_per_second: None,
            packets_received: None,
            started: None,
            cpu_cores: None,
            memory_bytes: None,
        }
    }

    #[test]
    fn replicas_added_since_the_last_look_have_no_sample_yet() {
        let spec = manifest::read("hpa.yaml", HPA, false).expect("valid").remove(0).spec;
        let state = "{now: 0, replicas: 2, pods: [{name: tcp-0}, {name: tcp-1}], metrics: [{pods: {tcp-0: 7012, tcp-1: 1}}]}";
        let mut case = explain::state::read(state, &spec, 0).expect("valid");
        let replicas = [
            replica("tcp-0", ReplicaPhase::Ready),
            replica("tcp-2", ReplicaPhase::Ready),
            replica("tcp-3", ReplicaPhase::Starting),
            replica("tcp-4", ReplicaPhase::Draining),
        ];
        bring_up_to_date(&mut case, 3, &replicas);
        assert_eq!((case.observed.spec_replicas, case.observed.status_replicas), (3, 3));
        let explanation = explain::explain(&case).expect("valid");
        let text = Text { explanation: &explanation, instants: &() }.to_string();
        for part in [
            "counted: tcp-0 7,012\n",
            "without a sample: tcp-2, tcp-3\n",
            "left out (failed or being deleted): tcp-4\n",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("tcp-1"), "{text}");
    }
}
