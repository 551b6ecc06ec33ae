//! `playctl status`

use std::fmt::Write as _;

use jiff::Timestamp;
use platform::{
    ServiceKind, Target, exit,
    target::{PartOrigin, ReplicaPhase, ReplicaSnapshot, ServiceSnapshot, Snapshot},
    values::Protocol,
};

use super::{Context, Outcome};
use crate::platform_source;

/// Show what runs, where it listens and what the autoscaler last decided
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl status
  playctl status --output json | jq '.services[0].replicas'")]
pub(crate) struct Args {}

pub(crate) fn run(context: &Context, _args: &Args) -> Outcome {
    let snapshot = platform_source::existing(context)?.snapshot()?;
    context.printer.line(&render(&snapshot, Timestamp::now()));
    context.printer.document(&snapshot);
    Ok(exit::DONE)
}

/// The snapshot for people. `now` only dates ages.
pub(crate) fn render(snapshot: &Snapshot, now: Timestamp) -> String {
    let mut text = String::new();
    let nodes = if snapshot.nodes == 1 { "1 node".to_owned() } else { format!("{} nodes", snapshot.nodes) };
    let _ = writeln!(
        text,
        "{} ({}, {nodes}), up for {}",
        snapshot.platform,
        snapshot.target,
        age(snapshot.since, now)
    );
    for problem in &snapshot.problems {
        let _ = writeln!(text, "PROBLEM: {problem}");
    }
    for service in &snapshot.services {
        service_lines(&mut text, service, now);
    }
    text.push_str("\nparts\n");
    let longest = snapshot.parts.iter().map(|part| part.name.len()).max().unwrap_or_default();
    for part in &snapshot.parts {
        let origin = match part.origin {
            PartOrigin::Embedded => "embedded",
            PartOrigin::Found => "found",
            PartOrigin::Given => "given",
        };
        let health = if part.healthy { "" } else { "  NOT HEALTHY" };
        let (version, address) =
            (part.version.as_deref().unwrap_or("-"), part.address.as_deref().unwrap_or("-"));
        let _ = writeln!(
            text,
            "  {:<longest$} {origin:<9} {version:<9} {address:<26} {}{health}",
            part.name, part.detail
        );
    }
    text
}

fn service_lines(text: &mut String, service: &ServiceSnapshot, now: Timestamp) {
    let listens =
        service.endpoint.map_or(String::new(), |endpoint| format!(", clients connect to {endpoint}"));
    let _ = writeln!(
        text,
        "\n{}: {} of {} replicas ready{}{listens}",
        service.name,
        ready(service),
        service.desired,
        remarks(service)
    );
    if let Some(autoscaler) = &service.autoscaler {
        let _ = writeln!(
            text,
            "  autoscaler {} to {}, desired {}: {}",
            autoscaler.min, autoscaler.max, autoscaler.desired, autoscaler.reason
        );
        for metric in &autoscaler.metrics {
            let _ = writeln!(text, "    {metric}");
        }
    }
    if service.replicas.is_empty() {
        return;
    }
    let load = match ServiceKind::by_name(&service.name).map_or(Protocol::Tcp, |kind| kind.row().transport) {
        Protocol::Tcp => "CONNECTIONS",
        Protocol::Udp => "PACKETS",
    };
    let _ = writeln!(
        text,
        "  {:<10} {:<8} {:<9} {:<22} {:>7} {:>11} {:>7} {:>9} {:>8}",
        "REPLICA", "NODE", "PHASE", "ADDRESS", "PID", load, "CPU", "MEMORY", "RESTARTS"
    );
    for replica in &service.replicas {
        replica_line(text, replica, now);
    }
}

/// What is special about its number of replicas.
fn remarks(service: &ServiceSnapshot) -> String {
    let mut remarks = String::new();
    if service.stopped {
        let _ = write!(remarks, " (stopped; start it with: playctl start {})", service.name);
    }
    if service.set_by_hand {
        remarks.push_str(match &service.autoscaler {
            Some(_) => " (set by hand; the autoscaler goes on from there)",
            None => " (set by hand)",
        });
    }
    if service.pending > 0 {
        let _ = write!(remarks, " ({} pending: no place for more on this platform)", service.pending);
    }
    remarks
}

fn ready(service: &ServiceSnapshot) -> usize {
    service.replicas.iter().filter(|replica| replica.phase == ReplicaPhase::Ready).count()
}

fn replica_line(text: &mut String, replica: &ReplicaSnapshot, now: Timestamp) {
    let phase = match replica.phase {
        ReplicaPhase::Starting => "starting",
        ReplicaPhase::Ready => "ready",
        ReplicaPhase::Unready => "unready",
        ReplicaPhase::Draining => "draining",
        ReplicaPhase::BackOff => "back-off",
        ReplicaPhase::Stopped => "stopped",
    };
    let dash = || "-".to_owned();
    let _ = writeln!(
        text,
        "  {:<10} {:<8} {phase:<9} {:<22} {:>7} {:>11} {:>7} {:>9} {:>8}   {phase} for {}",
        replica.name,
        replica.node,
        replica.address.to_string(),
        replica.pid.map_or_else(dash, |pid| pid.to_string()),
        load(replica).unwrap_or_else(dash),
        replica.cpu_cores.map_or_else(dash, |cores| format!("{:.0}m", cores * 1000.0)),
        replica.memory_bytes.map_or_else(dash, |bytes| format!("{:.1}Mi", bytes as f64 / (1024.0 * 1024.0))),
        replica.restarts,
        age(replica.since, now),
    );
}

/// What the clients do to it: connections, or packets where there are none.
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
