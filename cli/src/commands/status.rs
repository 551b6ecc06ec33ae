//! `playctl status`

use std::fmt::Write as _;

use jiff::Timestamp;
use platform::{
    ServiceKind, exit,
    target::{
        AutoscalerSnapshot, Decided, PartOrigin, PartSnapshot, ReplicaPhase, ReplicaSnapshot,
        ServiceSnapshot, Snapshot,
    },
    values::Protocol,
};

use crate::{
    context::Context,
    failure::Outcome,
    hint, platform_source,
    table::{self, Column, wrapped},
};

/// Show what is running, where it listens, and the autoscaler's last decision
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl status
  playctl status --output json | jq '.services[0].replicas'")]
pub(crate) struct Args {}

pub(crate) fn run(context: &Context, _args: &Args) -> Outcome {
    let snapshot = platform_source::target(context)?.snapshot()?;
    let selection = context.global.selection();
    context.printer.lines(render(&snapshot, &selection, clock::wall(), context.printer.width()));
    context.printer.document(&snapshot);
    Ok(exit::DONE)
}

/// The snapshot as text, in lines of at most `width` characters. `now` is only for ages.
fn render(snapshot: &Snapshot, selection: &str, now: Timestamp, width: usize) -> Vec<String> {
    let nodes = nodes(snapshot);
    let up = snapshot.since.map_or_else(String::new, |since| format!(", up for {}", age(since, now)));
    let head = format!("{} ({}, {nodes}){up}", snapshot.platform, snapshot.target);
    let mut lines = wrapped(&head, width);
    for problem in &snapshot.problems {
        lines.extend(wrapped(&format!("PROBLEM: {problem}"), width));
    }
    for service in &snapshot.services {
        lines.push(String::new());
        let remarks = remarks(service);
        service_lines(&mut lines, selection, service, &remarks, now, width);
    }
    if snapshot.parts.is_empty() {
        return lines;
    }
    lines.extend([String::new(), "parts".to_owned()]);
    let columns = [
        Column::words("", 0),
        Column::words("", 0),
        Column::words("", 3),
        Column::words("", 4),
        Column::words("", 1),
        Column::words("", 2),
    ];
    lines.extend(table::lines(columns, &snapshot.parts.iter().map(part_cells).collect::<Vec<_>>(), width));
    lines
}

/// The number of nodes, and which of them cannot take replicas.
fn nodes(snapshot: &Snapshot) -> String {
    let mut words = match snapshot.nodes {
        1 => "1 node".to_owned(),
        many => format!("{many} nodes"),
    };
    for node in &snapshot.node_list {
        match (node.ready, node.schedulable) {
            (false, _) => _ = write!(words, ", {} not ready", node.name),
            (true, false) => _ = write!(words, ", {} cordoned off", node.name),
            (true, true) => {}
        }
    }
    words
}

fn part_cells(part: &PartSnapshot) -> [String; 6] {
    let origin = match part.origin {
        PartOrigin::Embedded => "embedded",
        PartOrigin::Found => "found",
        PartOrigin::Given => "given",
        PartOrigin::Installed => "installed",
    };
    let health = if part.healthy { "" } else { "NOT HEALTHY" };
    [
        part.name.clone(),
        health.to_owned(),
        origin.to_owned(),
        part.version.clone().unwrap_or_else(dash),
        part.address.clone().unwrap_or_else(dash),
        part.detail.clone(),
    ]
}

fn service_lines(
    lines: &mut Vec<String>,
    selection: &str,
    service: &ServiceSnapshot,
    remarks: &str,
    now: Timestamp,
    width: usize,
) {
    let at = service.endpoint.as_ref().map(ToString::to_string).or_else(|| service.route.clone());
    let listens = at.map_or(String::new(), |at| format!(", clients connect to {at}"));
    let head = format!(
        "{}: {} of {} replicas ready{}{listens}",
        service.name,
        ready(service),
        service.desired,
        hint::complete(remarks, selection)
    );
    lines.extend(wrapped(&head, width));
    if let Some(remark) = &service.remark {
        lines.extend(wrapped(&format!("  {}", hint::complete(remark, selection)), width));
    }
    if let Some(autoscaler) = &service.autoscaler {
        let AutoscalerSnapshot { min, max, desired, reason, .. } = autoscaler;
        let text = format!("  autoscaler {min} to {max}, desired {desired}: {reason}");
        lines.extend(wrapped(&text, width));
        for metric in &autoscaler.metrics {
            lines.extend(wrapped(&format!("    {metric}"), width));
        }
    }
    if let Some(Decided { at, orders, reason }) = &service.balanced {
        let text = format!("  balancer, {} ago: {}: {reason}", age(*at, now), orders.join(", "));
        lines.extend(wrapped(&text, width));
    }
    if service.replicas.is_empty() {
        return;
    }
    let load = match ServiceKind::by_name(&service.name).map_or(Protocol::Tcp, |kind| kind.row().transport) {
        Protocol::Tcp => "CONNECTIONS",
        Protocol::Udp => "PACKETS",
    };
    let columns = [
        Column::words("REPLICA", 0),
        Column::words("NODE", 4),
        Column::words("PHASE", 0),
        Column::words("FOR", 3),
        Column::words("ADDRESS", 7),
        Column::number("PID", 8),
        Column::number(load, 1),
        Column::number("CPU", 5),
        Column::number("MEMORY", 6),
        Column::number("RESTARTS", 2),
    ];
    let rows: Vec<_> = service.replicas.iter().map(|replica| replica_cells(replica, now)).collect();
    lines.extend(table::lines(columns, &rows, width));
    let resting = service.replicas.iter().filter(|replica| !replica.traffic.is_active());
    let resting: Vec<&str> = resting.map(|replica| replica.name.as_str()).collect();
    if !resting.is_empty() {
        let text = format!("  inactive (no new connections; existing ones stay): {}", resting.join(", "));
        lines.extend(wrapped(&text, width));
    }
    for replica in &service.replicas {
        if let Some(reason) = &replica.reason {
            lines.extend(wrapped(&format!("  {}: {reason}", replica.name), width));
        }
    }
}

/// Remarks about its number of replicas.
fn remarks(service: &ServiceSnapshot) -> String {
    let mut remarks = String::new();
    if service.stopped {
        let _ = write!(remarks, " (stopped; start it with: playctl start {})", service.name);
    }
    if service.set_by_hand {
        remarks.push_str(match &service.autoscaler {
            Some(_) if service.desired == 0 => " (set by hand; the autoscaler is off at 0)",
            Some(_) => " (set by hand; the autoscaler continues from there)",
            None => " (set by hand)",
        });
    }
    if service.pending > 0 {
        let _ = write!(remarks, " ({} pending: no room for more on this platform)", service.pending);
    }
    remarks
}

fn ready(service: &ServiceSnapshot) -> usize {
    service.replicas.iter().filter(|replica| replica.phase == ReplicaPhase::Ready).count()
}

fn dash() -> String {
    "-".to_owned()
}

fn replica_cells(replica: &ReplicaSnapshot, now: Timestamp) -> [String; 10] {
    let phase = match replica.phase {
        ReplicaPhase::Starting => "starting",
        ReplicaPhase::Ready => "ready",
        ReplicaPhase::Unready => "unready",
        ReplicaPhase::Draining => "draining",
        ReplicaPhase::BackOff => "back-off",
        ReplicaPhase::Stopped => "stopped",
    };
    [
        replica.name.clone(),
        replica.node.clone().unwrap_or_else(dash),
        phase.to_owned(),
        age(replica.since, now),
        replica.address.as_ref().map_or_else(dash, ToString::to_string),
        replica.pid.map_or_else(dash, |pid| pid.to_string()),
        load(replica).unwrap_or_else(dash),
        replica.cpu_cores.map_or_else(dash, |cores| format!("{:.0}m", cores * 1000.0)),
        replica.memory_bytes.map_or_else(dash, |bytes| format!("{:.1}Mi", bytes as f64 / (1024.0 * 1024.0))),
        replica.restarts.to_string(),
    ]
}

/// Its load from clients: connections, or packets if there are none.
fn load(replica: &ReplicaSnapshot) -> Option<String> {
    let packets = replica.packets_per_second.map(|packets| format!("{packets:.0}/s"));
    packets.or(replica.connections.map(|connections| connections.to_string()))
}

fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use platform::target::{AutoscalerSnapshot, NodeSnapshot};

    use super::*;

    fn snapshot() -> Snapshot {
        let since = Timestamp::UNIX_EPOCH;
        let replica = ReplicaSnapshot {
            name: "tcp-0".to_owned(),
            node: Some("node-0".to_owned()),
            address: Some("127.77.2.1:40000".parse().unwrap()),
            admin_port: Some(9100),
            pid: Some(4_194_304),
            started: Some(since),
            server_id: None,
            phase: ReplicaPhase::BackOff,
            reason: None,
            since,
            traffic: platform::target::Traffic::Active,
            deletion_cost: 0,
            restarts: 12,
            connections: Some(10_000),
            packets_per_second: None,
            packets_received: None,
            cpu_cores: Some(0.25),
            memory_bytes: Some(123_456_789),
        };
        let part = PartSnapshot {
            name: "gateway-node-0".to_owned(),
            origin: PartOrigin::Embedded,
            version: Some("0.1.0".to_owned()),
            address: Some("127.77.1.1:9100".to_owned()),
            detail: "least request, node-0\nplayctl: forged\u{1b}[2J".to_owned(),
            healthy: false,
            restarts: 1,
            pid: Some(1),
            connects_from: None,
            connections: None,
        };
        Snapshot {
            platform: "blue".to_owned(),
            target: "local".to_owned(),
            since: Some(since),
            nodes: 2,
            node_list: Vec::new(),
            services: vec![ServiceSnapshot {
                name: "tcp".to_owned(),
                endpoint: Some("127.77.0.1:10000".parse().unwrap()),
                route: None,
                desired: 3,
                stopped: true,
                set_by_hand: true,
                pending: 2,
                remark: None,
                balanced: None,
                replicas: vec![replica],
                autoscaler: Some(AutoscalerSnapshot {
                    min: 1,
                    max: 5,
                    current: 1,
                    desired: 3,
                    metrics: vec!["tcp_state_established 7,012 of 5k per pod".to_owned()],
                    values: Vec::new(),
                    reason: "tcp_state_established is above its target, and has been for a while".to_owned(),
                    last_scale: None,
                }),
            }],
            parts: vec![part],
            next_sync: None,
            problems: vec!["the gateways do not know the current replicas: no space left".to_owned()],
        }
    }

    #[test]
    fn status_fits_every_width_and_keeps_what_matters() {
        let now = Timestamp::from_second(100_000).unwrap();
        for width in [40, 60, 80, 110, 200] {
            let text = render(&snapshot(), "--platform blue ", now, width).join("\n");
            for line in text.lines() {
                assert!(line.chars().count() <= width, "{width}: {line:?}");
                assert!(!line.starts_with("playctl") && !line.contains('\u{1b}'), "{line:?}");
            }
            for word in ["tcp-0", "back-off", "10000", "PROBLEM", "NOT HEALTHY", "pending", "--platform blue"]
            {
                let joined = text.replace("\n  ", " ");
                assert!(joined.contains(word), "{width}: {word} is missing in {text}");
            }
        }
        let wide = render(&snapshot(), "", now, 200).join("\n");
        for word in ["4194304", "117.7Mi", "250m", "127.77.2.1:40000", "1 d 3 h", "0.1.0", "set by hand"] {
            assert!(wide.contains(word), "{word} is missing in {wide}");
        }
    }

    #[test]
    fn an_age_that_nobody_may_see_is_left_out() {
        let now = Timestamp::from_second(100_000).unwrap();
        let mut snapshot = snapshot();
        let head = |snapshot: &Snapshot| render(snapshot, "", now, 200).remove(0);
        assert_eq!(head(&snapshot), "blue (local, 2 nodes), up for 1 d 3 h");
        snapshot.since = None;
        assert_eq!(head(&snapshot), "blue (local, 2 nodes)");
    }

    #[test]
    fn the_balancers_last_orders_are_shown_with_their_reason() {
        let mut snapshot = snapshot();
        snapshot.services[0].balanced = Some(Decided {
            at: Timestamp::from_second(99_988).unwrap(),
            orders: vec!["tcp-0 sheds 3".to_owned(), "1 → 2".to_owned()],
            reason: "9 of 10 sessions = 90 % > 80 %".to_owned(),
        });
        let text = render(&snapshot, "", Timestamp::from_second(100_000).unwrap(), 200).join("\n");
        let told = "balancer, 12 s ago: tcp-0 sheds 3, 1 → 2: 9 of 10 sessions = 90 % > 80 %\n";
        assert!(text.contains(told), "{text}");
    }

    #[test]
    fn replicas_that_take_no_new_connections_are_named() {
        let now = Timestamp::from_second(100_000).unwrap();
        let mut snapshot = snapshot();
        assert!(!render(&snapshot, "", now, 200).join("\n").contains("inactive"));
        snapshot.services[0].replicas[0].traffic = platform::target::Traffic::Inactive;
        let text = render(&snapshot, "", now, 200).join("\n");
        assert!(text.contains("inactive (no new connections; existing ones stay): tcp-0\n"), "{text}");
    }

    #[test]
    fn pending_replicas_and_unready_or_cordoned_nodes_are_shown() {
        let mut snapshot = snapshot();
        let replica = &mut snapshot.services[0].replicas[0];
        (replica.node, replica.address, replica.pid) = (None, None, None);
        replica.reason = Some("0/2 nodes are available: 2 Insufficient cpu".to_owned());
        let node = |name: &str, ready, schedulable| NodeSnapshot {
            name: name.to_owned(),
            ready,
            schedulable,
            cpu_cores: None,
            memory_bytes: None,
        };
        snapshot.node_list = vec![node("a", true, true), node("b", false, true), node("c", true, false)];
        let text = render(&snapshot, "", Timestamp::from_second(100_000).unwrap(), 200).join("\n");
        assert!(text.starts_with("blue (local, 2 nodes, b not ready, c cordoned off), up"), "{text}");
        assert!(text.contains("\n  tcp-0: 0/2 nodes are available: 2 Insufficient cpu\n"), "{text}");
        assert!(!text.contains("127.77.2.1"), "{text}");
    }
}
