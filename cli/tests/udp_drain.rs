//! A UDP replica is drained at 30,000 packets a second through the gateways: its sessions move, and only packets are
//! lost that the kernel reports as dropped for lack of room.
//!
//! Needs no foreign server: `infrastructure/testbed/test udp`. A busy machine sends fewer packets, which is printed.

#[path = "support/admin.rs"]
mod admin;
mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use admin::{metric, ports};
use rustix::process::Signal;
use serde_json::Value;
use support::{Lab, both, eventually};

/// Far longer than anything here takes; only a failure reaches it.
const SOON: Duration = Duration::from_mins(1);
const CLIENTS: u64 = 64;
const PACKETS_PER_SECOND: u64 = 30_000;
const SECONDS: u64 = 5;

/// Packets that the kernel dropped for lack of room, by the count of a service or a gateway.
const SERVICE_DROPS: &str = "udp_packets_dropped_total{reason=\"kernel\"}";
const GATEWAY_DROPS: &str = "gateway_packets_dropped_total{reason=\"kernel\"}";

/// Sums a metric over all gateways.
fn gateways(lab: &Lab, name: &str) -> u64 {
    let value = |(gateway, admin)| metric(admin, name).unwrap_or_else(|| panic!("{gateway}: no {name}"));
    ports(lab, "gateways").into_iter().map(value).sum()
}

/// Each replica's sessions, by the gateways' counts.
fn sessions(lab: &Lab, replicas: &BTreeSet<String>) -> BTreeMap<String, u64> {
    let active = |replica: &String| {
        let name = format!("gateway_backend_sessions_active{{backend=\"{replica}\"}}");
        // A gateway without clients for it may have no value.
        let all = ports(lab, "gateways").into_iter();
        (replica.clone(), all.filter_map(|(_, admin)| metric(admin, &name)).sum())
    };
    replicas.iter().map(active).collect()
}

fn phases(lab: &Lab) -> BTreeMap<String, String> {
    let status = lab.status();
    let replicas = status["services"][0]["replicas"].as_array().expect("replicas");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    replicas.iter().map(|replica| (text(&replica["name"]), text(&replica["phase"]))).collect()
}

#[test]
fn only_packets_the_kernel_counts_are_lost_and_sessions_move() {
    let lab = Lab::new("udp-drained");
    lab.ok(&[
        "up",
        "--set",
        "tcp.enabled=false,udp.enabled=true,udp.autoscaling=null,udp.replicas=3",
        "--set",
        "udp.env.SIGTERM_TIMEOUT=5,udp.terminationGracePeriodSeconds=20",
    ]);
    let replicas: BTreeSet<String> = phases(&lab).into_keys().collect();
    let (clients, rate) = (CLIENTS.to_string(), format!("{PACKETS_PER_SECOND}/s"));
    let load = lab.spawn(&[
        "load",
        "--protocol",
        "udp",
        "--conns",
        &clients,
        "--send",
        &rate,
        "--window",
        "8",
        // An answer that takes this long does not come.
        "--timeout",
        "20s",
        "--for",
        "10m",
        "--output",
        "jsonl",
    ]);
    let began = clock::now();
    let load = load.until_type("RampDone");
    let before = eventually(SOON, || {
        let sessions = sessions(&lab, &replicas);
        let all: u64 = sessions.values().sum();
        if all == CLIENTS && sessions.values().all(|count| *count > 0) { Ok(sessions) } else { Err(sessions) }
    })
    .expect("every replica has sessions");

    let admin: BTreeMap<_, _> = ports(&lab, "services").into_iter().collect();
    lab.ok(&["scale", "udp", "2"]);
    let drained = eventually(SOON, || {
        let phases = phases(&lab);
        phases.iter().find(|(_, phase)| *phase == "draining").map(|(name, _)| name.clone()).ok_or(phases)
    })
    .expect("one drains");
    eventually(SOON, || match sessions(&lab, &replicas)[&drained] {
        0 => Ok(()),
        left => Err(left),
    })
    .expect("its sessions move while it still answers");
    // It gets no more packets, so this is its final count; it is gone before the load ends.
    let drops_of_drained = metric(admin[&drained], SERVICE_DROPS).expect("it still answers");
    eventually(SOON, || {
        let phases = phases(&lab);
        if phases.len() == 2 { Ok(()) } else { Err(phases) }
    })
    .expect("it goes");

    // At least this long in all, so that there is something to lose.
    while began.elapsed() < Duration::from_secs(SECONDS) {
        support::pause();
    }
    let took = began.elapsed();
    load.signal(Signal::INT);
    let output = load.finish(SOON);
    assert_eq!(output.status.code(), Some(130), "{}", both(&output));
    let finished = output.stdout.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty());
    let report: Value = serde_json::from_slice(finished.expect("a summary")).expect("JSON");
    let totals = &report["summary"]["totals"];
    let count = |name: &str| totals[name].as_u64().unwrap_or_else(|| panic!("{name}: {totals}"));

    let living = admin.iter().filter(|(name, _)| **name != drained);
    let services: u64 = living.map(|(_, admin)| metric(*admin, SERVICE_DROPS).expect("it lives")).sum();
    let drops = [drops_of_drained, services, gateways(&lab, GATEWAY_DROPS), count("receive_drops")];
    let (sent, lost) = (count("messages_sent"), count("messages_unanswered"));
    let moved = gateways(&lab, "gateway_sessions_moved_total");
    println!(
        "{sent} packets in {took:?}, of {PACKETS_PER_SECOND}/s, {lost} lost; kernel's drops at the drained replica, the others, the \
         gateways, the clients: {drops:?}; sessions {before:?}, {drained} drained, {moved} moved"
    );
    assert_eq!(count("messages_answered") + lost, sent, "{totals}");
    // Both directions of one packet may be dropped, so fewer can be lost than were dropped, but not more.
    assert!(lost <= drops.iter().sum(), "{lost} lost, dropped: {drops:?}, {totals}");
    for never in ["refused", "messages_wrong", "messages_duplicated", "messages_stray"] {
        assert_eq!(count(never), 0, "{never}: {totals}");
    }
    for reason in ["no_session", "loop", "unsent"] {
        assert_eq!(
            gateways(&lab, &format!("gateway_packets_dropped_total{{reason=\"{reason}\"}}")),
            0,
            "{reason}"
        );
    }
    assert_eq!(moved, before[&drained], "{drained}'s sessions and no others");
    assert_eq!(gateways(&lab, "gateway_sessions_opened_total"), CLIENTS, "no client had to start over");
    assert!(sent > 100 * CLIENTS, "{sent} packets");
}
