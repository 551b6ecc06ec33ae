use std::time::Duration;

use platform::{
    ServiceKind,
    target::ReplicaPhase,
    values::{Resources, Values},
};

use super::*;
use crate::{
    MetricAnswer, RunId, Sample, Usage,
    backoff::BackOff,
    instance::{Run, Workload},
    probe::Prober,
    series::Series,
    template::{Backends, ServiceTemplate, Template},
};

/// A service of the chart with one ready replica, and a clock that the test moves.
struct Bench {
    hpa: Hpa,
    replicas: Vec<Instance>,
    resources: Resources,
}

impl Bench {
    fn new() -> Self {
        Self::of("tcp")
    }

    fn of(service: &str) -> Self {
        let values = Values::builtin();
        let service = values.service(service).unwrap();
        Self {
            hpa: Hpa::new(service.autoscaling.as_ref().unwrap()).unwrap(),
            replicas: vec![replica(0)],
            resources: service.resources.clone(),
        }
    }

    fn scrape(&mut self, seconds: u64, connections: &[u64]) -> Vec<EventKind> {
        for (replica, count) in self.replicas.iter_mut().zip(connections) {
            take(replica, seconds, Some(*count), None);
        }
        self.hpa.crossings("tcp", self.replicas.iter_mut(), at(seconds), 0)
    }

    /// Scrapes the first replica's packet count.
    fn scrape_packets(&mut self, seconds: u64, counted: u64) -> Vec<EventKind> {
        take(&mut self.replicas[0], seconds, None, Some((at(seconds), counted)));
        self.hpa.crossings("udp", self.replicas.iter_mut(), at(seconds), 0)
    }

    fn sync(&mut self, seconds: u64, desired: u32) -> (Vec<EventKind>, Option<u32>) {
        self.sync_with(seconds, desired, None)
    }

    /// `answers`: Prometheus' values of `tcp_state_established`.
    fn sync_with(
        &mut self,
        seconds: u64,
        desired: u32,
        answers: Option<&[MetricAnswer]>,
    ) -> (Vec<EventKind>, Option<u32>) {
        let replicas = self.replicas.iter_mut().collect();
        let seen = Seen { replicas, desired, resources: &self.resources, answers };
        self.hpa.sync("tcp", seen, Clock { began_unix_ms: 1_700_000_000_000 }, at(seconds))
    }
}

fn at(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

/// One scrape of a replica that uses neither CPU nor memory.
fn take(replica: &mut Instance, seconds: u64, connections: Option<u64>, packets: Option<(Time, u64)>) {
    let usage = Some(Usage { cpu: Duration::ZERO, memory_bytes: 0 });
    let run = replica.run.as_ref().unwrap().id;
    replica.series.take(at(seconds), run, &Sample { connections, packets, sessions: None, usage });
}

fn replica(ordinal: u16) -> Instance {
    let values = Values::builtin();
    let template = ServiceTemplate::new(values.service("tcp").unwrap(), &Backends::default());
    let run = Run {
        id: RunId(ordinal.into()),
        began: Time::ZERO,
        started: true,
        ready_since: Some(Time::ZERO),
        prober: Prober::idle(Time::ZERO),
    };
    Instance {
        uid: u64::from(ordinal),
        workload: Workload::Service(ServiceKind::Tcp),
        name: format!("tcp-{ordinal}").into(),
        ordinal,
        node: 0,
        template: Template::Service(template.into()),
        created: Time::ZERO,
        phase: ReplicaPhase::Ready,
        since: Time::ZERO,
        run: Some(run),
        restarts: 0,
        backoff: BackOff::kubelet(),
        restart_at: None,
        draining_since: None,
        kill_at: None,
        forced: false,
        stay_dead: false,
        traffic: platform::target::Traffic::Active,
        deletion_cost: None,
        server_id: None,
        endpoints_version: 0,
        detail: String::new(),
        address: None,
        series: Series::new(Duration::from_mins(1)),
    }
}

#[test]
fn a_crossing_is_reported_once_in_each_direction() {
    let mut bench = Bench::new();
    assert!(bench.scrape(7, &[5_500]).is_empty(), "5,500 is within the tolerance");
    let crossed = bench.scrape(14, &[5_501]);
    assert!(
        matches!(
            &crossed[..],
            [EventKind::MetricCrossed { average_milli: 5_501_000, target_milli: 5_000_000, above: true, .. }]
        ),
        "{crossed:?}"
    );
    assert!(bench.scrape(21, &[7_000]).is_empty());
    // The maximum of the window counts, not the last scrape.
    assert!(bench.scrape(28, &[0]).is_empty());
    let back = bench.scrape(81, &[0]);
    assert!(
        matches!(&back[..], [EventKind::MetricCrossed { average_milli: 0, above: false, .. }]),
        "{back:?}"
    );
}

#[test]
fn the_average_over_all_replicas_crosses_the_line() {
    let mut bench = Bench::new();
    bench.replicas.push(replica(1));
    assert_eq!(bench.scrape(7, &[9_000, 2_000]), [], "5,500 on average");
    let crossed = bench.scrape(14, &[9_000, 2_002]);
    assert!(
        matches!(&crossed[..], [EventKind::MetricCrossed { average_milli: 5_501_000, above: true, .. }]),
        "{crossed:?}"
    );
}

#[test]
fn targets_go_by_the_names_of_their_metrics() {
    let targets = Bench::new().hpa.targets_milli();
    assert_eq!(targets.get("tcp_state_established"), Some(&5_000_000), "{targets:?}");
    assert!(targets.contains_key("cpu"), "{targets:?}");
}

#[test]
fn more_connections_than_the_target_add_a_replica_and_the_event_says_why() {
    let mut bench = Bench::new();
    bench.scrape(0, &[7_012]);
    bench.scrape(7, &[7_012]);
    let (events, desired) = bench.sync(15, 1);
    assert_eq!(desired, Some(2));
    let Some(EventKind::DesiredChanged { from: 1, to: 2, reason, metrics, .. }) = events.last() else {
        panic!("{events:?}");
    };
    assert!(reason.contains("pods metric tcp_state_established above target"), "{reason}");
    let connections = metrics.iter().find(|metric| metric.metric == "tcp_state_established").unwrap();
    assert_eq!((connections.value_milli, connections.target_milli), (Some(7_012_000), 5_000_000));
    assert!(matches!(&events[0], EventKind::HpaSynced { current: 1, desired: 2, .. }), "{events:?}");
    assert_eq!(bench.hpa.failures(), 0);
}

#[test]
fn a_held_scale_down_is_reported_with_its_end() {
    let mut bench = Bench::new();
    bench.replicas.push(replica(1));
    bench.scrape(0, &[4_000, 4_000]);
    bench.scrape(7, &[4_000, 4_000]);
    assert_eq!(bench.sync(15, 2).1, None);
    bench.scrape(70, &[0, 0]);
    let (events, desired) = bench.sync(75, 2);
    // Only the seed and the sync at 15 s are in memory; 45 s later neither holds.
    assert_eq!(desired, Some(1), "{events:?}");

    let mut bench = Bench::new();
    bench.replicas.push(replica(1));
    bench.scrape(0, &[4_000, 4_000]);
    bench.scrape(7, &[4_000, 4_000]);
    bench.sync(60, 2);
    bench.scrape(70, &[0, 0]);
    let (events, desired) = bench.sync(75, 2);
    assert_eq!(desired, None);
    let held: Vec<_> =
        events.iter().filter(|event| matches!(event, EventKind::ScaleDownHeld { .. })).collect();
    let [EventKind::ScaleDownHeld { held_at: 2, until_ms, .. }] = held[..] else { panic!("{events:?}") };
    assert!((104_000..=106_000).contains(until_ms), "45 s after the sync at 60 s: {until_ms}");
    let (again, _) = bench.sync(90, 2);
    assert!(!again.iter().any(|event| matches!(event, EventKind::ScaleDownHeld { .. })), "{again:?}");
}

#[test]
fn without_a_sample_nothing_is_decided() {
    let mut bench = Bench::new();
    let (events, desired) = bench.sync(15, 1);
    assert_eq!(desired, None);
    let EventKind::HpaSynced { metrics, conditions, .. } = &events[0] else { panic!("{events:?}") };
    assert!(metrics.iter().all(|metric| metric.value_milli.is_none()), "{metrics:?}");
    assert_eq!(bench.hpa.failures(), metrics.len() as u64);
    assert_eq!(conditions["ScalingActive"][0], "False");
}

#[test]
fn utilization_is_a_share_of_the_requests_in_per_cent() {
    let mut bench = Bench::new();
    for (seconds, cpu_seconds) in [(0, 0), (10, 4)] {
        let replica = &mut bench.replicas[0];
        let run = replica.run.as_ref().unwrap().id;
        let usage = Some(Usage { cpu: Duration::from_secs(cpu_seconds), memory_bytes: 32 * 1024 * 1024 });
        let sample = Sample { connections: Some(0), packets: None, sessions: None, usage };
        replica.series.take(at(seconds), run, &sample);
    }
    let (events, _) = bench.sync(15, 1);
    let EventKind::HpaSynced { metrics, .. } = &events[0] else { panic!("{events:?}") };
    let told = |name: &str| {
        let metric = metrics.iter().find(|metric| metric.metric == name).unwrap();
        (metric.utilization, metric.value_milli, metric.target_milli)
    };
    // 400m of 1024m, and 32 of 128 MiB.
    assert_eq!(told("cpu"), (true, Some(39_000), 80_000));
    assert_eq!(told("memory"), (true, Some(25_000), 80_000));
    assert_eq!(told("tcp_state_established"), (false, Some(0), 5_000_000));
}

#[test]
fn replicas_that_drain_are_listed_and_do_not_count() {
    let mut bench = Bench::new();
    bench.replicas.extend([replica(1), replica(2)]);
    bench.replicas[2].draining_since = Some(at(0));
    let replicas = bench.replicas.iter_mut().collect();
    let mut seen = Seen { replicas, desired: 4, resources: &bench.resources, answers: None };
    let observed = observe::observation("tcp", &[], &mut seen, Clock { began_unix_ms: 0 }, at(0));
    assert_eq!((observed.spec_replicas, observed.status_replicas, observed.pods.len()), (4, 2, 3));
    let deleting: Vec<bool> = observed.pods.iter().map(|pod| pod.deleting).collect();
    assert_eq!(deleting, [false, false, true]);
}

#[test]
fn more_packets_a_second_than_the_target_add_a_replica() {
    let mut bench = Bench::of("udp");
    let mut crossed = Vec::new();
    for seconds in (0..=70).step_by(7) {
        crossed.extend(bench.scrape_packets(seconds, 1_000_000 + seconds * 6_000));
    }
    let [EventKind::MetricCrossed { metric, average_milli, target_milli: 5_000_000, above: true, .. }] =
        &crossed[..]
    else {
        panic!("{crossed:?}");
    };
    assert_eq!(metric, "udp_packets_received");
    assert!((5_500_000..=6_000_000).contains(average_milli), "{average_milli}");

    let (events, desired) = bench.sync(75, 1);
    assert_eq!(desired, Some(2), "{events:?}");
    let EventKind::HpaSynced { metrics, .. } = &events[0] else { panic!("{events:?}") };
    assert_eq!(
        (metrics[0].metric.as_str(), metrics[0].value_milli),
        ("udp_packets_received", Some(6_000_000))
    );
    assert_eq!(bench.replicas[0].series.connections(), None, "nothing connects to it");
}

fn answers(answer: Result<&[(&str, i64)], &str>) -> Vec<MetricAnswer> {
    let by_pod = |pods: &[(&str, i64)]| pods.iter().map(|(pod, milli)| ((*pod).to_owned(), *milli)).collect();
    let (service, metric) = ("tcp".to_owned(), "tcp_state_established".to_owned());
    vec![MetricAnswer { service, metric, values: answer.map(by_pod).map_err(str::to_owned) }]
}

fn connections(events: &[EventKind]) -> MetricProposal {
    let EventKind::HpaSynced { metrics, .. } = &events[0] else { panic!("{events:?}") };
    metrics.iter().find(|metric| metric.metric == "tcp_state_established").unwrap().clone()
}

#[test]
fn values_from_prometheus_override_the_kernels_counts() {
    let mut bench = Bench::new();
    bench.scrape(0, &[9_000]);
    bench.scrape(7, &[9_000]);
    let (events, desired) = bench.sync_with(15, 1, Some(&answers(Ok(&[("tcp-0", 4_000_000)]))));
    assert_eq!((desired, connections(&events).value_milli), (None, Some(4_000_000)));

    let (events, desired) = bench.sync_with(30, 1, Some(&answers(Ok(&[("tcp-0", 7_000_000)]))));
    assert_eq!((desired, connections(&events).value_milli), (Some(2), Some(7_000_000)));
}

#[test]
fn answers_about_another_service_are_not_its_own() {
    let mut bench = Bench::new();
    let mut of_another = answers(Ok(&[("tcp-0", 7_000_000)]));
    of_another[0].service = "ws".to_owned();
    let (events, desired) = bench.sync_with(15, 1, Some(&of_another));
    assert_eq!((desired, connections(&events).value_milli), (None, None));
}

#[test]
fn a_pod_without_a_value_holds_back_and_an_error_makes_the_metric_unavailable() {
    let mut bench = Bench::new();
    bench.replicas.extend([replica(1), replica(2)]);
    bench.scrape(0, &[0, 0, 0]);
    bench.scrape(7, &[0, 0, 0]);
    // Two pods have no value: that is no reason to remove one…
    let some = answers(Ok(&[("tcp-0", 7_000_000)]));
    assert_eq!(bench.sync_with(15, 3, Some(&some)).1, None);
    assert_eq!(bench.sync_with(200, 3, Some(&some)).1, None);
    // …and neither is an error, or no answer at all…
    let (events, desired) = bench.sync_with(300, 3, Some(&answers(Err("connection refused"))));
    assert_eq!((desired, connections(&events).value_milli), (None, None));
    let (events, desired) = bench.sync_with(400, 3, Some(&[]));
    assert_eq!((desired, connections(&events).value_milli), (None, None));
    // …but an idle service is.
    let all = answers(Ok(&[("tcp-0", 7_000_000), ("tcp-1", 0), ("tcp-2", 0)]));
    assert_eq!(bench.sync_with(500, 3, Some(&all)).1, Some(2));
}
