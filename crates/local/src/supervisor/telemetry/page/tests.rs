use std::net::{TcpListener, TcpStream};

use jiff::Timestamp;
use platform::{event::MetricProposal, target::PartOrigin};
use prometheus_client::registry::Registry;

use super::*;

/// Of this process, in user mode and in the kernel.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The name in parentheses may contain spaces.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

fn rendered(snapshot: Snapshot) -> String {
    let counts = Counts { scrapes: 3, syncs: 1, metric_failures: 1 };
    let mut registry = Registry::default();
    let shown = Arc::new(Mutex::new(Some(Shown { snapshot, counts })));
    registry.register_collector(Box::new(Page::new(shown)));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    text
}

fn platform(name: &str, service: ServiceSnapshot, parts: Vec<PartSnapshot>) -> Snapshot {
    Snapshot {
        platform: name.to_owned(),
        target: "local".to_owned(),
        since: Some(Timestamp::UNIX_EPOCH),
        nodes: 1,
        node_list: Vec::new(),
        services: vec![service],
        parts,
        next_sync: None,
        problems: Vec::new(),
    }
}

fn service(
    name: &str,
    desired: u32,
    replicas: Vec<ReplicaSnapshot>,
    autoscaler: Option<AutoscalerSnapshot>,
) -> ServiceSnapshot {
    ServiceSnapshot {
        name: name.to_owned(),
        endpoint: None,
        route: None,
        desired,
        stopped: false,
        set_by_hand: false,
        pending: 0,
        remark: None,
        balanced: None,
        replicas,
        autoscaler,
    }
}

fn replica(name: &str, address: std::net::SocketAddr, phase: ReplicaPhase) -> ReplicaSnapshot {
    let runs = !matches!(phase, ReplicaPhase::BackOff | ReplicaPhase::Stopped);
    ReplicaSnapshot {
        name: name.to_owned(),
        node: Some("node-0".to_owned()),
        address: Some(address.into()),
        admin_port: Some(9100),
        pid: runs.then(std::process::id),
        started: runs.then(|| Timestamp::from_millisecond(1_700_000_000_500).unwrap()),
        server_id: None,
        phase,
        reason: None,
        since: Timestamp::UNIX_EPOCH,
        traffic: platform::target::Traffic::Active,
        deletion_cost: 0,
        restarts: 1,
        connections: None,
        packets_per_second: None,
        packets_received: None,
        cpu_cores: None,
        memory_bytes: None,
    }
}

fn proposal(metric: &str, value_milli: Option<i64>, target_milli: i64) -> MetricProposal {
    MetricProposal {
        metric: metric.to_owned(),
        value_milli,
        target_milli,
        utilization: metric == "cpu",
        proposal: None,
        words: String::new(),
    }
}

#[test]
fn metrics_use_the_names_of_a_cluster() {
    let listener = TcpListener::bind("127.76.6.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let _clients: Vec<TcpStream> = (0..7).map(|_| TcpStream::connect(address).unwrap()).collect();
    let dead = "127.76.6.2:40000".parse().unwrap();
    let replicas =
        vec![replica("tcp-0", address, ReplicaPhase::Ready), replica("tcp-1", dead, ReplicaPhase::BackOff)];
    let autoscaler = AutoscalerSnapshot {
        min: 1,
        max: 5,
        current: 1,
        desired: 2,
        metrics: Vec::new(),
        values: vec![
            proposal("tcp_state_established", Some(7_012_500), 5_000_000),
            proposal("cpu", None, 80_000),
        ],
        reason: String::new(),
        last_scale: None,
    };
    let gateway = PartSnapshot {
        name: "gateway-node-0".to_owned(),
        origin: PartOrigin::Embedded,
        version: None,
        address: None,
        detail: String::new(),
        healthy: true,
        restarts: 0,
        pid: None,
        connects_from: None,
        connections: None,
    };
    let view = platform("playground", service("tcp", 2, replicas, Some(autoscaler)), vec![gateway]);
    // The kernel counts a process's CPU time in ticks, and this one may have used less than one.
    while cpu_ticks() == 0 {}
    let text = rendered(view);
    let pod = r#"namespace="playground",pod="tcp-0""#;
    let hpa = r#"namespace="playground",horizontalpodautoscaler="tcp""#;
    for line in [
        format!("container_network_tcp_usage_total{{{pod},tcp_state=\"established\"}} 7.0"),
        format!("container_network_tcp6_usage_total{{{pod},tcp_state=\"established\"}} 0.0"),
        format!("container_start_time_seconds{{{pod},container=\"service\"}} 1700000000.5"),
        format!("kube_pod_container_status_restarts_total{{{pod},container=\"service\"}} 1.0"),
        format!("kube_pod_status_ready{{{pod},condition=\"true\"}} 1.0"),
        format!("kube_horizontalpodautoscaler_status_desired_replicas{{{hpa}}} 2.0"),
        format!(
            "kube_horizontalpodautoscaler_status_target_metric{{{hpa},metric_name=\"tcp_state_established\",\
             metric_target_type=\"average\"}} 7012.5"
        ),
        format!(
            "kube_horizontalpodautoscaler_spec_target_metric{{{hpa},metric_name=\"cpu\",\
             metric_target_type=\"utilization\"}} 80.0"
        ),
        "playctl_replicas{service=\"tcp\",phase=\"back_off\"} 1.0".to_owned(),
        "playctl_replicas{service=\"tcp\",phase=\"draining\"} 0.0".to_owned(),
        "playctl_gateway_ready{gateway=\"gateway-node-0\"} 1.0".to_owned(),
        "playctl_scrapes_total 3".to_owned(),
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line} in\n{text}");
    }
    let value_of = |family: &str| -> f64 {
        let value = text.lines().find_map(|line| line.strip_prefix(&format!("{family}{{{pod},")));
        value.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(value_of("container_memory_working_set_bytes") > 0.0);
    assert!(value_of("container_cpu_usage_seconds_total") > 0.0);
    assert!(!text.contains("container_network_receive_packets_total{"), "tcp counts no packets");
    let unread = format!("status_target_metric{{{hpa},metric_name=\"cpu\"");
    assert!(!text.contains(&unread), "what could not be read has no value");
    let of_the_dead = |line: &&str| line.starts_with("container_") && line.contains("tcp-1");
    assert_eq!(text.lines().find(of_the_dead), None, "what does not run has no usage");
}
