//! The balancer on this machine's platform: it owns the number of WebSocket servers, and beside an autoscaler it only
//! rebalances.

#[path = "support/services.rs"]
mod services;
mod support;

use std::{collections::BTreeMap, fs, net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use services::{address, ask, ready, service};
use support::{Lab, both, eventually, lossy};

/// Far longer than anything here takes; only a failure reaches it.
const SOON: Duration = Duration::from_mins(2);

/// The preset with short intervals: users come back after a second, the balancer looks every second and rebalances every
/// three. A refused user counts for ten.
const BALANCER: [&str; 12] = [
    "-f",
    "balancer",
    "--set",
    "tcp.enabled=false,kafka.enabled=false,memcached.enabled=false",
    "--set",
    "ws.env.SIGTERM_TIMEOUT=1,ws.env.DRAIN_SPREAD=1,ws.terminationGracePeriodSeconds=20",
    "--set",
    "ws.env.SESSION_REFRESH=1,ws-client.env.RETURN_AFTER=1,ws-client.env.CONNECT_EVERY=5ms",
    "--set",
    "balancer.replicas=2,balancer.env.UTILIZATION_INTERVAL=1,balancer.env.BALANCE_INTERVAL=3",
    "--set",
    "metrics.scrapeInterval=1s,metrics.window=5s,metrics.syncPeriod=2s",
];

/// Users of the platform's own ws-client, and their sessions.
struct Users {
    client: SocketAddr,
    gateway: SocketAddr,
}

impl Users {
    fn of(lab: &Lab) -> Self {
        let client = address(&ready(lab, "ws-client")[0]["address"]);
        Self { client, gateway: address(&service(lab, "ws")["endpoint"]) }
    }

    /// `connect` or `disconnect`.
    fn have(&self, what: &str, count: usize) {
        let users: Vec<String> = (0..count).map(|number| format!("user{number}")).collect();
        let body = json!({ "userIds": users }).to_string();
        let answer = ask(self.client, "POST", &format!("/route/kickstart/ws/batch/{what}"), &body);
        assert_eq!(answer.expect("ws-client answers").0, 202);
    }

    /// The number of sessions per replica, by Redis, queried through the gateway.
    fn by_host(&self) -> Result<BTreeMap<String, usize>, String> {
        let (status, body) =
            ask(self.gateway, "GET", "/ws-session/all", "").map_err(|error| error.to_string())?;
        let listed: Vec<Value> =
            serde_json::from_str(&body).map_err(|error| format!("{status} {body}: {error}"))?;
        let mut by_host = BTreeMap::new();
        for session in listed {
            let host = session["hostId"].as_str().expect("a host").to_owned();
            *by_host.entry(host).or_default() += 1;
        }
        Ok(by_host)
    }
}

fn count_of(by_host: &BTreeMap<String, usize>) -> usize {
    by_host.values().sum()
}

/// The balancers that act, and those that stand by.
fn acting(lab: &Lab) -> (Vec<String>, Vec<String>) {
    let names = ready(lab, "balancer").into_iter().filter_map(|replica| {
        let port = u16::try_from(replica["admin_port"].as_u64()?).ok()?;
        let admin = SocketAddr::new(address(&replica["address"]).ip(), port);
        let (_, metrics) = ask(admin, "GET", "/metrics", "").ok()?;
        Some((replica["name"].as_str()?.to_owned(), metrics.contains("balancer_acts 1\n")))
    });
    let (acts, others): (Vec<_>, Vec<_>) = names.partition(|(_, acts)| *acts);
    let only_names = |pairs: Vec<(String, bool)>| pairs.into_iter().map(|(name, _)| name).collect();
    (only_names(acts), only_names(others))
}

#[test]
fn forty_users_need_six_servers_and_none_need_one() {
    let lab = Lab::new("balancer");
    lab.up(&BALANCER);
    let users = Users::of(&lab);
    // The first look must come after all of them have tried.
    lab.ok(&["stop", "balancer"]);
    // It shows all events, however late it starts.
    let watch = lab.spawn(&["watch", "--from-start"]);
    users.have("connect", 40);
    eventually(SOON, || {
        let (status, body) =
            ask(users.client, "GET", "/route/kickstart/ws/users", "").map_err(|error| error.to_string())?;
        let refused = body.matches("Maximum connections per host reached").count();
        let here = count_of(&users.by_host()?);
        if here == 30 && refused == 10 {
            Ok(())
        } else {
            Err(format!("{status}: {here} in, {refused} refused"))
        }
    })
    .expect("30 get in, 10 are turned away");
    lab.ok(&["start", "balancer"]);

    eventually(SOON, || {
        let by_host = users.by_host()?;
        let (servers, fullest) = (ready(&lab, "ws").len(), by_host.values().max().copied().unwrap_or(0));
        // 40 of 60 are 66 %: above 76 % a server sheds.
        let right = servers == 6 && count_of(&by_host) == 40 && fullest <= 7;
        if right { Ok(()) } else { Err(format!("{servers} servers: {by_host:?}")) }
    })
    .expect("all are in, on six servers, and none is too full");
    // Only the balancer set the replicas, and its last orders are explained.
    assert_eq!(service(&lab, "ws")["set_by_hand"], false);
    let explained = lab.ok(&["explain", "ws"]);
    assert!(explained.contains("ws has no autoscaler; the balancer manages it; 6 replicas"), "{explained}");
    assert!(explained.contains("\n  balancer, "), "{explained}");
    let (one, all) = (lab.json(&["explain", "ws"]), lab.json(&["explain"]));
    assert!(one["balancer"]["orders"].is_array(), "{one}");
    assert!(all.to_string().contains("\"replicas\":6"), "{all}");

    // Two balancers run. When the acting one is killed, the other takes over, and scales down.
    let (acts, other) = eventually(SOON, || match acting(&lab) {
        (acts, others) if acts.len() == 1 && others.len() == 1 => Ok((acts[0].clone(), others[0].clone())),
        other => Err(other),
    })
    .expect("one of two acts");
    lab.ok(&["kill", &format!("balancer/{acts}")]);
    eventually(SOON, || match acting(&lab).0 {
        acts if acts == [other.clone()] => Ok(()),
        acts => Err(acts),
    })
    .expect("the other one acts");

    users.have("disconnect", 40);
    eventually(SOON, || match ready(&lab, "ws").len() {
        1 => Ok(()),
        other => Err(other),
    })
    .expect("nobody needs more than one server");

    watch.signal(rustix::process::Signal::INT);
    let seen = lossy(&watch.finish(SOON).stdout);
    for part in [
        "40 of 10 sessions = 400 % > 80 %: wants ⌈40 ÷ 7⌉ = 6 servers; 5 more",
        "> 66 % overall + 10 %: sheds",
        "→ 1",
    ] {
        assert!(seen.contains(part), "{part}: {seen}");
    }
}

/// Settings that make rebalance-10k small, and let a fifth of its clients reconnect immediately.
const SMALL: [(&str, &str); 6] = [
    ("connections: 10000, rate: 5ms", "connections: 300, rate: 30ms"),
    ("after-ramp: 60s", "after-ramp: 35s"),
    ("reconnect: { delay: 1s }", "reconnect: { delay: 1s, at-once: 20% }"),
    ("connected >= 10000", "connected >= 300"),
    // Three times SHED_RATE. A busy machine delays the load, which then counts the connections of several seconds
    // as one; without a rate, all would come within one.
    ("busiest-second <= 600", "busiest-second <= 120"),
    // Times of this machine are not checked either.
    ("gap-without-delay p99 <= 250ms", "decided sheds"),
];

#[test]
fn beside_an_autoscaler_connections_are_evened_out_behind_four_gateways_and_none_is_lost() {
    let lab = Lab::new("rebalance");
    lab.ok(&[
        "up",
        "-f",
        "rebalance-10k",
        "--nodes",
        "4",
        "--set",
        "kafka.enabled=false,memcached.enabled=false,metrics.scrapeInterval=1s,metrics.window=5s,metrics.syncPeriod=2s",
        "--set-json",
        r#"tcp.autoscaling.metrics=[{"type":"Pods","pods":{"metric":{"name":"tcp_state_established"},
           "target":{"type":"AverageValue","averageValue":"100"}}}]"#,
        "--set",
        "balancer.env.UTILIZATION_INTERVAL=1,balancer.env.SETTLE=2,balancer.env.OUTCOME_AFTER=3,balancer.env.SHED_RATE=40",
    ]);
    let mut small = include_str!("../../infrastructure/scenarios/rebalance-10k.yaml").to_owned();
    for (whole, part) in SMALL {
        assert!(small.contains(whole), "{whole}: {small}");
        small = small.replace(whole, part);
    }
    let file = lab.home().join("small.yaml");
    fs::write(&file, small).expect("written");
    let output = lab.run(&["load", file.to_str().expect("UTF-8")]);
    let seen = both(&output);
    assert_eq!(output.status.code(), Some(0), "{seen}");
    assert!(seen.contains("✓ emptiest >= 45%") && !seen.contains('✗'), "{seen}");

    // The status shows the last orders, as text and as JSON.
    let status = lab.status();
    let tcp =
        status["services"].as_array().expect("services").iter().find(|service| service["name"] == "tcp");
    let last = &tcp.expect("tcp")["balanced"];
    let orders = last["orders"].as_array().unwrap_or_else(|| panic!("{status}"));
    assert!(!orders.is_empty() && last["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{last}");
    let told = lab.ok(&["status"]);
    assert!(told.contains("  balancer, "), "{told}");
    let explained = lab.ok(&["explain", "tcp"]);
    assert!(explained.contains("  balancer, "), "{explained}");
}
