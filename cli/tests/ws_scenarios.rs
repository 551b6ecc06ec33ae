//! The scenarios of WebSocket sessions under a balancer, and a storm, with real processes: the built-in files, with
//! intervals shortened by settings.

mod support;

use std::{fs, thread, time::Duration};

use support::{Lab, both, eventually};

/// Far longer than a platform takes to become ready.
const SOON: Duration = Duration::from_mins(1);

/// The preset of the scenarios. Users who are sent away come back after 1 to 1.5 s, the balancer looks every second and
/// rebalances every six: as in full length, all users are back long before the next rebalancing.
const BALANCER: [&str; 8] = [
    "-f",
    "balancer",
    "--set",
    "tcp.enabled=false,ws-client.enabled=false,kafka.enabled=false,memcached.enabled=false",
    "--set",
    "ws.env.RETRY_AFTER=1,ws.env.SIGTERM_TIMEOUT=1,ws.env.DRAIN_SPREAD=1,ws.terminationGracePeriodSeconds=20",
    "--set",
    "balancer.env.UTILIZATION_INTERVAL=1,balancer.env.BALANCE_INTERVAL=6",
];

/// Runs a load, which must meet all its expectations.
fn meets(lab: &Lab, load: &[&str]) -> String {
    let output = lab.run(&[&["load"], load].concat());
    let seen = both(&output);
    assert_eq!(output.status.code(), Some(0), "{load:?}\n{seen}");
    assert!(seen.contains('✓') && !seen.contains('✗'), "{seen}");
    seen
}

/// Concurrently, since each of them mostly waits.
#[test]
fn all_four_scenarios_end_as_the_balancers_rules_predict() {
    let runs = [
        ["ws-hard-limit", "--for", "30s"],
        ["ws-scale-out", "--hold", "30s"],
        ["ws-scale-in", "--hold", "50s"],
        ["ws-swiss-cheese", "--hold", "40s"],
    ];
    thread::scope(|scope| {
        for run in &runs {
            scope.spawn(move || {
                let lab = Lab::new(run[0]);
                lab.up(&BALANCER);
                meets(&lab, run);
            });
        }
    });
}

/// Settings for a small storm: a thirtieth of the users, a tenth of the rate.
const SMALL: [(&str, &str); 7] = [
    ("connections: 10000, rate: 5ms", "connections: 300, rate: 30ms"),
    ("after-ramp: 50s", "after-ramp: 20s"),
    ("every: 5s", "every: 1s"),
    ("connect-timeout: 30s", "connect-timeout: 30s\nreconnect: { delay: 1s }"),
    ("connected >= 10000", "connected >= 300"),
    ("reconnected >= 4900", "reconnected >= 140"),
    // A busy machine delays the load, which then counts the connections of several seconds as one.
    ("busiest-second <= 440", "busiest-second <= 120"),
];

#[test]
fn after_a_storm_all_clients_return_at_the_survivors_rate_and_a_verdict_can_fail() {
    let lab = Lab::new("ws-storm");
    let quick = "ws.env.ACCEPT_RATE=40,gateway.env.ACCEPT_RATE=50,tcp.enabled=false,kafka.enabled=false,memcached.enabled=false";
    lab.up(&["-f", "ws-storm", "--set", quick]);
    eventually(SOON, || {
        let status = lab.status().to_string();
        if status.matches(r#""phase":"ready""#).count() == 2 { Ok(()) } else { Err(status) }
    })
    .expect("two servers");
    let mut storm = include_str!("../../infrastructure/scenarios/ws-storm.yaml").to_owned();
    for (whole, small) in SMALL {
        assert!(storm.contains(whole), "{whole}: {storm}");
        storm = storm.replace(whole, small);
    }
    let file = lab.home().join("storm.yaml");
    fs::write(&file, storm).expect("written");
    meets(&lab, &[file.to_str().expect("UTF-8")]);

    // One server is left with two users, and no more decisions are made.
    let wrong = "name: wrong\nservice: ws\nprotocol: ws\nphases: { ramp: { connections: 0 }, hold: { for: 3s } }\n\
                 actions: [{ at: 100ms, do: join, users: 2 }]\n\
                 expectations: [connected >= 2, spread = 1/1, replicas = 2, decided anything, never decided anything]\n";
    fs::write(&file, wrong).expect("written");
    let output = lab.run(&["load", file.to_str().expect("UTF-8")]);
    let seen = both(&output);
    assert_eq!(output.status.code(), Some(3), "{seen}");
    for verdict in [
        "✓ connected >= 2",
        "✗ spread = 1/1  (seen: 2)",
        "✗ replicas = 2  (seen: 1)",
        "✗ decided anything  (seen: no decision)",
        "✓ never decided anything",
    ] {
        assert!(seen.contains(verdict), "{verdict}: {seen}");
    }
}
