//! WebSocket sessions on this machine's platform: replicas, gateway, Redis, users, and the metric of sessions.

#[path = "support/services.rs"]
mod services;
mod support;

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use services::{address, ask, ready, service};
use support::{Lab, eventually, lossy};

/// Far longer than anything here takes; only a failure reaches it.
const SOON: Duration = Duration::from_mins(1);

/// Only the preset, with quick drains; users come back after a second, and the autoscaler looks every two.
const WS: [&str; 12] = [
    "-f",
    "ws",
    "--set",
    "tcp.enabled=false,kafka.enabled=false,memcached.enabled=false",
    "--set",
    "ws.env.SIGTERM_TIMEOUT=1,ws.env.DRAIN_SPREAD=1,ws.terminationGracePeriodSeconds=20",
    "--set",
    "ws.env.SESSION_REFRESH=1,ws.env.RETRY_AFTER=1,ws-client.env.RETURN_AFTER=1",
    "--set",
    "ws-client.env.CONNECT_EVERY=20ms",
    "--set",
    "metrics.scrapeInterval=1s,metrics.window=5s,metrics.syncPeriod=2s",
];

fn part(lab: &Lab, name: &str) -> Value {
    let parts = lab.status()["parts"].as_array().expect("parts").clone();
    parts.into_iter().find(|part| part["name"] == name).unwrap_or(Value::Null)
}

/// Users of the platform's own ws-client, and their sessions.
struct Users<'a> {
    lab: &'a Lab,
    client: SocketAddr,
    gateway: SocketAddr,
}

impl<'a> Users<'a> {
    fn of(lab: &'a Lab) -> Self {
        let client = address(&ready(lab, "ws-client")[0]["address"]);
        Self { lab, client, gateway: address(&service(lab, "ws")["endpoint"]) }
    }

    fn connect(&self, count: usize) {
        let users: Vec<String> = (0..count).map(|number| format!("user{number}")).collect();
        let body = json!({ "userIds": users }).to_string();
        let answer = ask(self.client, "POST", "/route/kickstart/ws/batch/connect", &body);
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

    /// The number of sessions that each ready replica itself reports.
    fn held(&self) -> Result<BTreeMap<String, usize>, String> {
        let mut held = BTreeMap::new();
        for replica in ready(self.lab, "ws") {
            let at = address(&replica["address"]);
            let answer = ask(at, "GET", "/ws-session/all/runtime", "").map_err(|error| error.to_string())?;
            let ids: Vec<String> = serde_json::from_str(&answer.1).map_err(|error| error.to_string())?;
            if !ids.is_empty() {
                held.insert(at.ip().to_string(), ids.len());
            }
        }
        Ok(held)
    }

    /// Waits until there are this many sessions, and Redis has each under the address of its replica.
    fn expect(&self, count: usize) {
        eventually(SOON, || {
            let (listed, held) = (self.by_host()?, self.held()?);
            let right = listed == held && held.values().sum::<usize>() == count;
            if right { Ok(()) } else { Err(format!("listed {listed:?}, held {held:?}")) }
        })
        .expect("all users have a session, and Redis knows it");
    }

    /// The reasons why users' last sessions ended.
    fn ends(&self) -> String {
        ask(self.client, "GET", "/route/kickstart/ws/users", "").expect("ws-client answers").1
    }
}

#[test]
fn sessions_scale_the_service_and_users_return_after_kills_and_drains() {
    let lab = Lab::new("ws");
    lab.up(&[&WS[..], &["--set", "ws.autoscaling.maxReplicas=2"]].concat());
    // It shows all events, however late it starts.
    let watch = lab.spawn(&["watch", "--from-start"]);
    let users = Users::of(&lab);
    assert_eq!(users.gateway.port(), 8000);
    assert_eq!(part(&lab, "redis")["origin"], "embedded");

    // 12 sessions on one replica are above 7.7, so two are wanted. Each session is listed under its replica's address.
    users.connect(12);
    users.expect(12);
    eventually(SOON, || match ready(&lab, "ws").len() {
        2 => Ok(()),
        other => Err(other),
    })
    .expect("the autoscaler adds a replica");
    let reason = service(&lab, "ws")["autoscaler"]["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("ws_sessions"), "{reason}");
    let explained = lab.ok(&["explain", "ws"]);
    assert!(explained.contains("ws_sessions"), "{explained}");

    // The users of a killed replica come back, and its own sessions are forgotten.
    users.expect(12);
    lab.ok(&["kill", "ws/ws-0"]);
    users.expect(12);

    // A drain notifies every session; none ends without a reason.
    lab.ok(&["drain", "ws/fullest"]);
    eventually(SOON, || {
        let ends = users.ends();
        if ends.contains("Server shutting down") { Ok(()) } else { Err(ends) }
    })
    .expect("users are told why");
    users.expect(12);

    // Three replicas by hand; the emptiest gets new users.
    lab.ok(&["scale", "ws", "3"]);
    eventually(SOON, || match ready(&lab, "ws").len() {
        3.. => Ok(()),
        other => Err(other),
    })
    .expect("three replicas");

    watch.signal(rustix::process::Signal::INT);
    let seen = lossy(&watch.finish(SOON).stdout);
    for part in ["ws 1 → 2", "ws-0", "ws_sessions"] {
        assert!(seen.contains(part), "{part}: {seen}");
    }
    assert!(lab.ok(&["logs", "ws"]).contains("ws-"), "replicas say something");
}

#[test]
fn sessions_stay_while_redis_is_away_and_are_listed_when_it_is_back() {
    let lab = Lab::new("ws-redis");
    lab.up(&WS);
    let users = Users::of(&lab);
    users.connect(5);
    users.expect(5);
    lab.ok(&["stop", "redis"]);
    eventually(SOON, || {
        let (status, body) =
            ask(users.gateway, "GET", "/ws-session/all", "").map_err(|error| error.to_string())?;
        if status == 503 { Ok(()) } else { Err(format!("{status} {body}")) }
    })
    .expect("what is not known is not told");
    assert_eq!(part(&lab, "redis")["healthy"], false);
    let status = lab.status();
    assert_eq!(ready(&lab, "ws").len(), 1, "a replica without Redis serves on: {status}");
    lab.ok(&["start", "redis"]);
    users.expect(5);
    assert!(!users.ends().contains("reason"), "no session ended: {}", users.ends());
}

/// Behind real proxies, and with a real Redis.
#[cfg(feature = "real-servers")]
mod real {
    use std::{
        fs,
        io::{Read as _, Write as _},
        net::TcpStream,
    };

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    fn behind(gateway: &str) {
        let lab = Lab::new(&format!("ws-{gateway}"));
        let own = ["--gateway", gateway, "--set", "ws.autoscaling=null,ws.replicas=3"];
        lab.up(&[&WS[..], &own].concat());
        let users = Users::of(&lab);
        // One user at a time: users who arrive together may all go to the replica that was the emptiest before.
        let mut count = 0;
        let mut one_more = || {
            count += 1;
            users.connect(count);
            users.expect(count);
            users.held()
        };
        // The gateway's health checks may find some replicas later than others.
        let mut held = eventually(SOON, || match one_more() {
            Ok(held) if held.len() == 3 => Ok(held),
            other => Err(other),
        })
        .expect("each replica has a session");
        for _ in 0..9 {
            let fewest = *held.values().min().expect("three replicas");
            let after = one_more().expect("replicas answer");
            let chosen =
                after.iter().find(|(replica, count)| held[*replica] < **count).expect("one has more");
            assert_eq!(*chosen.1, fewest + 1, "one of the emptiest gets the next: {held:?}, {after:?}");
            held = after;
        }
        lab.ok(&["drain", "ws/fullest"]);
        eventually(SOON, || {
            let ends = users.ends();
            if ends.contains("Server shutting down") { Ok(()) } else { Err(ends) }
        })
        .expect("users are told why");
        users.expect(count);
        let ends = users.ends();
        assert!(!ends.contains("without closing handshake"), "nobody ended without a notice: {ends}");
    }

    #[test]
    fn sessions_are_spread_and_drained_behind_envoy() {
        behind("envoy");
    }

    #[test]
    fn sessions_are_spread_and_drained_behind_haproxy() {
        behind("haproxy");
    }

    #[test]
    fn sessions_from_prometheus_scale_the_service_too() {
        let lab = Lab::new("ws-prometheus");
        let own =
            ["--with", "prometheus", "--metrics", "prometheus", "--set", "ws.autoscaling.maxReplicas=2"];
        lab.up(&[&WS[..], &own].concat());
        let users = Users::of(&lab);
        users.connect(12);
        eventually(SOON, || match ready(&lab, "ws").len() {
            2 => Ok(()),
            _ => Err(service(&lab, "ws")["autoscaler"].clone()),
        })
        .expect("the adapter's query finds the sessions");
        let explained = lab.ok(&["explain", "ws"]);
        assert!(explained.contains("ws_sessions"), "{explained}");
        // The value falls at once: a rule that recorded the series again would keep the old one.
        let users: Vec<String> = (0..12).map(|number| format!("user{number}")).collect();
        let client = address(&ready(&lab, "ws-client")[0]["address"]);
        let body = json!({ "userIds": users }).to_string();
        let answer = ask(client, "POST", "/route/kickstart/ws/batch/disconnect", &body);
        assert_eq!(answer.expect("ws-client answers").0, 202);
        eventually(SOON, || {
            let autoscaler = service(&lab, "ws")["autoscaler"].clone();
            let seen = autoscaler["values"][0]["value_milli"].as_i64();
            if seen == Some(0) { Ok(()) } else { Err(autoscaler) }
        })
        .expect("the autoscaler sees that all have left");
    }

    #[test]
    fn a_real_redis_has_a_password_and_comes_back_when_it_is_killed() {
        let lab = Lab::new("ws-real-redis");
        lab.up(&[&WS[..], &["--with", "redis"]].concat());
        let redis = part(&lab, "redis");
        assert_eq!(redis["origin"], "found", "{redis}");
        let at = address(&redis["address"]);
        let mut stream = TcpStream::connect(at).expect("Redis listens");
        stream.set_read_timeout(Some(SOON)).expect("set");
        stream.write_all(b"DBSIZE\r\n").expect("sent");
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(lossy(&answer), "-NOAUTH", "nobody gets in without the password");
        let password = fs::read_to_string(lab.state_of_platform().join("parts/redis/password"));
        assert_eq!(password.expect("kept").trim().len(), 32);

        let users = Users::of(&lab);
        users.connect(6);
        users.expect(6);
        let pid = i32::try_from(redis["pid"].as_i64().expect("a process")).expect("a pid");
        kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL).expect("killed");
        users.expect(6);
        assert!(!users.ends().contains("reason"), "no session ended: {}", users.ends());
        eventually(SOON, || {
            let restarts = part(&lab, "redis")["restarts"].as_u64();
            if restarts == Some(1) { Ok(()) } else { Err(restarts) }
        })
        .expect("it is started again");
        users.expect(6);
    }

    /// A process's number of ws client connections: its own established sockets with the gateway's port on this side.
    fn connections_of(pid: i32, gateway: SocketAddr) -> usize {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").flatten();
        let links = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
        let own: Vec<String> = links
            .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
            .collect();
        let port = format!(":{:04X}", gateway.port());
        let table = fs::read_to_string("/proc/net/tcp").expect("Linux");
        let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        // Number, local, remote, state, two queues, timer, retransmits, user, time-out, inode.
        rows.filter(|row| {
            row.len() > 9
                && row[1].ends_with(&port)
                && row[3] == "01"
                && own.iter().any(|inode| inode == row[9])
        })
        .count()
    }

    #[test]
    fn under_load_a_killed_haproxy_loses_only_its_own_connections_and_they_come_back() {
        const USERS: usize = 60;
        let lab = Lab::new("ws-load-haproxy");
        // No refresh comes while this lasts: nothing becomes right because time passes.
        let own = ["--set", "ws.autoscaling=null,ws.replicas=2,ws.env.SESSION_REFRESH=3600"];
        lab.ok(&[&["up", "--nodes", "2", "--gateway", "haproxy"], &WS[..], &own].concat());
        let file = lab.home().join("users.yaml");
        let scenario = format!(
            "name: users\nservice: ws\nprotocol: ws\n\
             phases: {{ ramp: {{ connections: {USERS}, rate: 5ms }}, hold: {{ for: 10m }} }}\n\
             messages: {{ every: 100ms, timeout: 30s }}\nconnect-timeout: 1m\nreconnect: {{ delay: 200ms }}\n"
        );
        fs::write(&file, scenario).expect("written");
        let load = lab.spawn(&["load", file.to_str().expect("UTF-8"), "--output", "json"]);
        let users = Users::of(&lab);
        users.expect(USERS);
        // One of two gateways, which has some of the users.
        let gateways = ["gateway-ws-node-0", "gateway-ws-node-1"].map(|name| {
            let pid = part(&lab, name)["pid"].as_i64().expect("a process");
            (name, i32::try_from(pid).expect("a pid"))
        });
        // Wait until requests for the list of sessions are over.
        let held = eventually(SOON, || {
            let held = gateways.map(|(name, pid)| (name, pid, connections_of(pid, users.gateway)));
            if held.iter().map(|(.., count)| count).sum::<usize>() == USERS { Ok(held) } else { Err(held) }
        })
        .expect("the users' connections alone");
        let (name, pid, count) = held.into_iter().max_by_key(|(.., count)| *count).expect("two");
        kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL).expect("killed");
        eventually(SOON, || {
            let part = part(&lab, name);
            if part["restarts"] == 1 && part["healthy"] == true { Ok(()) } else { Err(part) }
        })
        .expect("it is back");
        users.expect(USERS);
        load.signal(Signal::INT);
        let output = load.finish(SOON);
        let report: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", support::both(&output)));
        let totals = &report["summary"]["totals"];
        let total = |name: &str| totals[name].as_u64().unwrap_or_else(|| panic!("{name}: {totals}"));
        assert_eq!(total("lost"), count as u64, "what the killed one held, and nothing else: {totals}");
        for (name, wanted) in [("stayed_away", 0), ("messages_wrong", 0), ("message_timeouts", 0)] {
            assert_eq!(total(name), wanted, "{name}: {totals}");
        }
        assert!(total("reconnected") >= count as u64, "{totals}");
    }

    #[test]
    fn under_load_sessions_are_right_as_soon_as_a_killed_redis_is_back() {
        let lab = Lab::new("ws-load-redis");
        // No refresh comes while this lasts: nothing becomes right because time passes.
        lab.up(&[&WS[..], &["--with", "redis", "--set", "ws.env.SESSION_REFRESH=3600"]].concat());
        let file = lab.home().join("users.yaml");
        let scenario = "name: users\nservice: ws\nprotocol: ws\n\
                        phases: { ramp: { connections: 28, rate: 5ms }, hold: { after-ramp: 20s } }\n\
                        messages: { every: 100ms }\n\
                        actions:\n\
                        - { when: ramp done, after: 4s, do: leave, users: 10 }\n\
                        - { when: users left, after: 100ms, do: join, users: 5 }\n\
                        - { when: users joined, after: 6s, do: leave, users: 3 }\n\
                        expectations: [connected >= 33, lost = 0, answered >= 99%, wrong = 0]\n";
        fs::write(&file, scenario).expect("written");
        let load = lab.spawn(&["load", file.to_str().expect("UTF-8")]);
        let users = Users::of(&lab);
        users.expect(28);
        let pid = i32::try_from(part(&lab, "redis")["pid"].as_i64().expect("a process")).expect("a pid");
        kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL).expect("killed");
        // Some users leave and others connect during the outage, or right after it.
        users.expect(23);
        assert_eq!(part(&lab, "redis")["restarts"], 1);
        users.expect(20);
        let output = load.finish(SOON);
        assert_eq!(output.status.code(), Some(0), "{}", lossy(&output.stdout));
    }
}
