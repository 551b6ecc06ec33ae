//! The service from outside: a Redis with sessions, a platform that records calls, and requests.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use balancer::{Alone, Platform, Server, Settings, Turn};
use fixtures::{DEADLINE, Redis, Running, eventually};
use jiff::Timestamp;
use parking_lot::Mutex;
use platform::target::{
    Applied, AutoscalerSnapshot, Balanced, Case, Drained, Endpoint, EventStream, EventsFrom, Killed,
    LogQuery, LogStream, NodeAdded, NodeRemoved, OnProgress, ReplicaPhase, ReplicaSnapshot, Scaled,
    ServiceSnapshot, Shed, Snapshot, Started, Stopped, Subject, Traffic, Wanted,
};
use platform::{Target, TargetError};
use service::Shutdown;
use service::settings::Env;

/// A platform with a service `ws` whose replica N listens on 10.0.0.N.
struct Noted {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    replicas: BTreeMap<u8, (Traffic, i32)>,
    autoscaled: bool,
    calls: Vec<String>,
    told: Vec<Balanced>,
    fails: bool,
    uncounted: bool,
    /// Replicas that have a new process.
    started_again: BTreeSet<u8>,
    /// Replicas whose process was killed for good.
    stopped: BTreeSet<u8>,
}

impl Noted {
    fn with(replicas: u8, autoscaled: bool) -> Arc<Self> {
        let replicas = (0..replicas).map(|number| (number, (Traffic::Active, 0))).collect();
        Arc::new(Self { state: Mutex::new(State { replicas, autoscaled, ..State::default() }) })
    }

    fn call(&self, call: String) -> Result<(), TargetError> {
        let mut state = self.state.lock();
        state.calls.push(call);
        if state.fails { Err(TargetError::other("out of order")) } else { Ok(()) }
    }

    fn calls(&self) -> Vec<String> {
        self.state.lock().calls.clone()
    }

    fn change(&self, replica: &str, change: impl FnOnce(&mut (Traffic, i32))) {
        let number = replica.strip_prefix("ws-").unwrap().parse().unwrap();
        change(self.state.lock().replicas.get_mut(&number).unwrap());
    }
}

fn not_asked<T>() -> Result<T, TargetError> {
    Err(TargetError::other("a balancer does not ask for that"))
}

impl Target for Noted {
    fn is_up(&self) -> Result<bool, TargetError> {
        Ok(true)
    }
    fn apply(&self, _: Wanted<'_>, _: &mut OnProgress<'_>) -> Result<Applied, TargetError> {
        not_asked()
    }
    fn teardown(&self, _: bool) -> Result<(), TargetError> {
        not_asked()
    }
    fn snapshot(&self) -> Result<Snapshot, TargetError> {
        let state = self.state.lock();
        if state.fails {
            return Err(TargetError::other("out of order"));
        }
        let replicas = state.replicas.iter().map(|(number, (traffic, cost))| ReplicaSnapshot {
            name: format!("ws-{number}"),
            node: None,
            address: Some(format!("10.0.0.{number}:8088").parse().unwrap()),
            admin_port: Some(9100),
            pid: Some(100 + u32::from(*number) + 100 * u32::from(state.started_again.contains(number))),
            started: None,
            server_id: None,
            phase: if state.stopped.contains(number) { ReplicaPhase::Stopped } else { ReplicaPhase::Ready },
            reason: None,
            since: Timestamp::UNIX_EPOCH,
            traffic: *traffic,
            deletion_cost: *cost,
            restarts: u32::from(state.started_again.contains(number)),
            connections: (!state.uncounted).then_some(1000),
            packets_per_second: None,
            packets_received: None,
            cpu_cores: None,
            memory_bytes: None,
        });
        let autoscaler = state.autoscaled.then(|| AutoscalerSnapshot {
            min: 1,
            max: 10,
            current: 1,
            desired: 1,
            metrics: Vec::new(),
            values: Vec::new(),
            reason: String::new(),
            last_scale: None,
        });
        let service = ServiceSnapshot {
            name: "ws".into(),
            endpoint: None,
            route: None,
            desired: state.replicas.len() as u32,
            stopped: false,
            set_by_hand: false,
            pending: 0,
            remark: None,
            balanced: None,
            replicas: replicas.collect(),
            autoscaler,
        };
        Ok(Snapshot {
            platform: "p".into(),
            target: "local".into(),
            since: Some(Timestamp::UNIX_EPOCH),
            nodes: 1,
            node_list: Vec::new(),
            services: vec![service],
            parts: Vec::new(),
            next_sync: None,
            problems: Vec::new(),
        })
    }
    fn events(&self, _: EventsFrom) -> Result<EventStream, TargetError> {
        not_asked()
    }
    fn scale(&self, service: &str, replicas: u32) -> Result<Scaled, TargetError> {
        self.call(format!("scale {service} {replicas}"))?;
        let mut state = self.state.lock();
        let from = state.replicas.len() as u32;
        state.replicas.retain(|number, _| u32::from(*number) < replicas);
        for number in 0..replicas {
            state.replicas.entry(number as u8).or_default();
        }
        Ok(Scaled { from, to: replicas, autoscaled: None })
    }
    fn kill(&self, _: &Subject, _: bool) -> Result<Killed, TargetError> {
        not_asked()
    }
    fn stop(&self, _: &Subject) -> Result<Stopped, TargetError> {
        not_asked()
    }
    fn start(&self, _: &Subject) -> Result<Started, TargetError> {
        not_asked()
    }
    fn drain(&self, _: &Subject) -> Result<Drained, TargetError> {
        not_asked()
    }
    fn logs(&self, _: &LogQuery) -> Result<LogStream, TargetError> {
        not_asked()
    }
    fn endpoint(&self, _: &str) -> Result<Endpoint, TargetError> {
        not_asked()
    }
    fn autoscaler(&self, _: &str) -> Result<Case, TargetError> {
        Err(TargetError::other("it has not run yet"))
    }
    fn add_node(&self) -> Result<NodeAdded, TargetError> {
        not_asked()
    }
    fn remove_node(&self, _: Option<&str>) -> Result<NodeRemoved, TargetError> {
        not_asked()
    }
    fn set_traffic(&self, _: &str, replica: &str, traffic: Traffic) -> Result<(), TargetError> {
        self.call(format!("{replica} {traffic}"))?;
        self.change(replica, |(present, _)| *present = traffic);
        Ok(())
    }
    fn set_deletion_cost(&self, _: &str, replica: &str, cost: i32) -> Result<(), TargetError> {
        self.call(format!("{replica} cost {cost}"))?;
        self.change(replica, |(_, present)| *present = cost);
        Ok(())
    }
    fn shed(&self, _: &str, replica: &str, order: &Shed) -> Result<u64, TargetError> {
        self.call(format!("{replica} sheds {}", order.count))?;
        Ok(order.count)
    }
    fn tell_balanced(&self, _: &str, balanced: &Balanced) -> Result<(), TargetError> {
        self.state.lock().told.push(balanced.clone());
        Ok(())
    }
}

fn start(redis: &Redis, platform: Platform, variables: &[(&str, &str)]) -> Running {
    let at = redis.settings();
    let common = [
        ("HOST", "127.0.0.1".to_owned()),
        ("PORT", "0".to_owned()),
        ("ADMIN_PORT", "0".to_owned()),
        ("REDIS_HOST", at.host),
        ("REDIS_PORT", at.port.to_string()),
        ("UTILIZATION_INTERVAL", "100ms".to_owned()),
        ("BALANCE_INTERVAL", "1h".to_owned()),
    ];
    let own = variables.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let env: Env = common.into_iter().chain(own).collect();
    let shutdown = Shutdown::new();
    let server = Server::bind(Settings::from_env(&env).unwrap(), platform, shutdown.clone()).unwrap();
    let addresses = (server.bound().address(), server.bound().admin_address());
    Running::start(addresses, server.bound().readiness().clone(), shutdown, move || server.run())
}

fn acts_on(platform: &Arc<Noted>) -> Platform {
    Platform::Target(Arc::clone(platform) as Arc<dyn Target>, Arc::new(Alone))
}

/// `count` sessions of a host.
fn sessions(redis: &Redis, kind: &str, host: &str, count: usize) {
    for number in 0..count {
        let id = format!("{host}-{number}");
        let value = format!(r#"{{"userId":"u-{id}","sessionId":"{id}","hostId":"{host}"}}"#);
        redis.say(&["SET", &format!("{kind}#{id}"), &value]);
    }
}

fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn nine_of_ten_sessions_start_a_second_server_and_the_reason_is_given() {
    let (redis, platform) = (Redis::start(), Noted::with(1, false));
    sessions(&redis, "WsSession", "10.0.0.0", 9);
    let balancer = start(&redis, acts_on(&platform), &[]);
    eventually("it scales", || platform.calls() == ["scale ws 2"]);
    // It is reported when it is done.
    eventually("it is told", || !platform.state.lock().told.is_empty());
    let told = platform.state.lock().told.clone();
    assert_eq!(told[0].orders, ["1 → 2"]);
    assert_eq!(told[0].reason, "9 of 10 sessions = 90 % > 80 %: wants ⌈9 ÷ 7⌉ = 2 servers; 1 more");
    balancer.expect_metric("balancer_orders_total{order=\"scale\"}", 1);
    balancer.expect_metric("balancer_servers{traffic=\"active\"}", 2);
    balancer.expect_metric("balancer_sessions", 9);
}

#[test]
fn refused_users_count_until_they_have_a_session() {
    let (redis, platform) = (Redis::start(), Noted::with(1, false));
    sessions(&redis, "WsSession", "10.0.0.0", 8);
    for user in ["u-10.0.0.0-1", "a", "b"] {
        redis.say(&["SET", &format!("WsRefused#{user}"), "10.0.0.0"]);
    }
    let _balancer = start(&redis, acts_on(&platform), &[]);
    eventually("it scales", || platform.calls() == ["scale ws 2"]);
    eventually("it is told", || !platform.state.lock().told.is_empty());
    assert!(platform.state.lock().told[0].reason.starts_with("10 of 10 sessions = 100 % > 80 %"));
}

#[test]
fn foreign_entries_under_our_names_hide_no_session() {
    let (redis, platform) = (Redis::start(), Noted::with(1, false));
    sessions(&redis, "WsSession", "10.0.0.0", 9);
    let long = format!(r#"{{"userId":"{}","sessionId":"x","hostId":"10.0.0.0"}}"#, "x".repeat(20_000));
    let not_text: [&[u8]; 2] = [b"WsSession#\xff\xfe", b"WsRefused#\xff\xfe"];
    for key in not_text {
        redis.set(key, b"\xff");
    }
    for (key, value) in
        [("bad", "{"), ("null", "null"), ("types", r#"{"sessionId":1,"hostId":2}"#), ("long", &long)]
    {
        redis.say(&["SET", &format!("WsSession#{key}"), value]);
    }
    let balancer = start(&redis, acts_on(&platform), &[]);
    eventually("it scales", || platform.calls() == ["scale ws 2"]);
    balancer.expect_metric("balancer_sessions", 9);
    let (status, listed) = ask(balancer.address, "GET", "/ws-session/all");
    assert_eq!((status, listed.matches("sessionId").count()), (200, 9));
    balancer.expect_all_well();
    // Four values and a key that is not text.
    balancer.expect_metric("balancer_sessions_left_out{key=\"WsSession#\"}", 5);
    balancer.expect_metric("balancer_sessions_left_out{key=\"SseSession#\"}", 0);
}

/// Otherwise a killed server's sessions would count for half a minute, and its users twice once they are back.
#[test]
fn sessions_of_a_killed_server_are_not_counted_again_when_users_return() {
    type Kill = fn(&mut State);
    let kills: [(&str, Kill); 3] = [
        ("gone", |state| _ = state.replicas.remove(&1)),
        ("stopped", |state| _ = state.stopped.insert(1)),
        ("started again", |state| _ = state.started_again.insert(1)),
    ];
    for (how, kill) in kills {
        let (redis, platform) = (Redis::start(), Noted::with(3, false));
        for host in 0..3 {
            sessions(&redis, "WsSession", &format!("10.0.0.{host}"), 4);
        }
        let balancer = start(&redis, acts_on(&platform), &[]);
        balancer.expect_metric("balancer_sessions", 12);
        // Sessions of a host that is not a replica count too, like all in Redis.
        sessions(&redis, "WsSession", "10.9.9.9", 1);
        balancer.expect_metric("balancer_sessions", 13);
        kill(&mut platform.state.lock());
        for user in 0..4 {
            let value =
                format!(r#"{{"userId":"u-10.0.0.1-{user}","sessionId":"b-{user}","hostId":"10.0.0.0"}}"#);
            redis.say(&["SET", &format!("WsSession#b-{user}"), &value]);
        }
        eventually(how, || {
            let listed = ask(balancer.address, "GET", "/ws-session/all").1;
            listed.matches("sessionId").count() == 13 && !listed.contains("\"10.0.0.1\"")
        });
        balancer.expect_metric("balancer_sessions", 13);
        let calls = platform.calls();
        assert!(calls.iter().all(|call| !call.starts_with("scale")), "{how}: {calls:?}");
    }
}

#[test]
fn the_emptiest_server_becomes_inactive_and_is_removed_when_empty() {
    let (redis, platform) = (Redis::start(), Noted::with(2, false));
    sessions(&redis, "WsSession", "10.0.0.0", 6);
    sessions(&redis, "SseSession", "10.0.0.1", 1);
    let _balancer = start(&redis, acts_on(&platform), &[]);
    eventually("one is inactive", || platform.calls() == ["ws-1 inactive"]);
    redis.say(&["DEL", "SseSession#10.0.0.1-0"]);
    eventually("it goes", || platform.calls() == ["ws-1 inactive", "ws-1 cost -100", "scale ws 1"]);
}

#[test]
fn a_server_that_is_too_full_sheds() {
    let (redis, platform) = (Redis::start(), Noted::with(4, false));
    for (host, count) in [("10.0.0.0", 7), ("10.0.0.1", 6), ("10.0.0.2", 6), ("10.0.0.3", 3)] {
        sessions(&redis, "WsSession", host, count);
    }
    let balancer = start(&redis, acts_on(&platform), &[("BALANCE_INTERVAL", "200ms")]);
    eventually("it sheds", || platform.calls().contains(&"ws-0 sheds 1".into()));
    eventually("it is counted", || balancer.metric("balancer_moved_total") >= 1);
}

#[test]
fn beside_an_autoscaler_the_replicas_are_never_set() {
    let (redis, platform) = (Redis::start(), Noted::with(2, true));
    sessions(&redis, "WsSession", "10.0.0.0", 40);
    let forced = [("POLICY", "utilization"), ("BALANCE_INTERVAL", "200ms")];
    let _balancer = start(&redis, acts_on(&platform), &forced);
    eventually("it sheds", || platform.calls().iter().any(|call| call.starts_with("ws-0 sheds")));
    assert!(platform.calls().iter().all(|call| !call.starts_with("scale")), "{:?}", platform.calls());
}

#[test]
fn beside_an_autoscaler_only_the_excess_moves() {
    let (redis, platform) = (Redis::start(), Noted::with(2, true));
    sessions(&redis, "WsSession", "10.0.0.0", 20);
    sessions(&redis, "WsSession", "10.0.0.1", 4);
    let quick = [("SETTLE", "0"), ("OUTCOME_AFTER", "1h"), ("SHED_RATE", "1000")];
    let _balancer = start(&redis, acts_on(&platform), &quick);
    // 12 are fair; 13 are within three quarters of 10 %.
    eventually("it sheds", || platform.calls() == ["ws-0 inactive", "ws-0 sheds 7"]);
}

#[test]
fn a_balancer_that_ends_beside_an_autoscaler_leaves_no_replica_resting() {
    let (redis, platform) = (Redis::start(), Noted::with(2, true));
    sessions(&redis, "WsSession", "10.0.0.0", 20);
    sessions(&redis, "WsSession", "10.0.0.1", 4);
    let quick = [("SETTLE", "0"), ("OUTCOME_AFTER", "1h"), ("SHED_RATE", "1000")];
    let balancer = start(&redis, acts_on(&platform), &quick);
    eventually("it sheds", || platform.calls() == ["ws-0 inactive", "ws-0 sheds 7"]);
    balancer.shutdown.drain();
    eventually("it gives back", || platform.calls() == ["ws-0 inactive", "ws-0 sheds 7", "ws-0 active"]);
}

/// A turn that a test gives and takes back.
#[derive(Default)]
struct Given {
    mine: AtomicBool,
    returned: AtomicBool,
}

impl Turn for Given {
    fn is_mine(&self) -> bool {
        self.mine.load(Ordering::SeqCst)
    }
    fn whose(&self) -> String {
        "somebody".to_owned()
    }
    fn give_back(&self) {
        self.returned.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_balancer_that_does_not_lead_returns_at_once_without_changes() {
    let (redis, platform) = (Redis::start(), Noted::with(2, true));
    sessions(&redis, "WsSession", "10.0.0.0", 400);
    let turn = Arc::new(Given::default());
    let acts = Platform::Target(Arc::clone(&platform) as Arc<dyn Target>, Arc::clone(&turn) as Arc<dyn Turn>);
    let quick =
        [("SETTLE", "0"), ("OUTCOME_AFTER", "1h"), ("SHED_RATE", "4"), ("UTILIZATION_INTERVAL", "10")];
    let [settle, outcome, rate, _] = quick;
    let balancer = start(&redis, acts, &[settle, outcome, rate]);
    balancer.expect_metric("balancer_acts", 0);
    assert_eq!(platform.calls(), [] as [String; 0]);
    turn.mine.store(true, Ordering::SeqCst);
    // At four per second, this would take several seconds.
    eventually("it sheds", || platform.calls().iter().any(|call| call.starts_with("ws-0 sheds")));
    turn.mine.store(false, Ordering::SeqCst);
    balancer.expect_metric("balancer_acts", 0);
    let calls = platform.calls();
    turn.mine.store(true, Ordering::SeqCst);
    balancer.expect_metric("balancer_acts", 1);
    turn.mine.store(false, Ordering::SeqCst);
    balancer.expect_metric("balancer_acts", 0);
    let sheds = |calls: &[String]| calls.iter().filter(|call| call.contains("sheds")).count();
    assert_eq!(
        sheds(&platform.calls()),
        sheds(&calls),
        "what was left of its order is not carried out later"
    );
    let calls = platform.calls();
    balancer.shutdown.drain();
    eventually("it gives back", || turn.returned.load(Ordering::SeqCst));
    assert_eq!(platform.calls(), calls, "the replicas are somebody else's to put in order");
}

#[test]
fn replicas_with_unknown_connections_do_not_count_as_empty() {
    let (redis, platform) = (Redis::start(), Noted::with(2, true));
    platform.state.lock().uncounted = true;
    let quick = [("SETTLE", "0"), ("SESSIONS_FROM", "connections")];
    let balancer = start(&redis, acts_on(&platform), &quick);
    eventually("it says so", || balancer.metric("balancer_failures_total{part=\"platform\"}") >= 2);
    assert_eq!(platform.calls(), [] as [String; 0]);
    platform.state.lock().uncounted = false;
    balancer.expect_metric("balancer_sessions", 2000);
    balancer.expect_all_well();
}

#[test]
fn sessions_are_listed_and_one_moves_on_request() {
    let (redis, platform) = (Redis::start(), Noted::with(1, true));
    sessions(&redis, "WsSession", "10.0.0.0", 1);
    sessions(&redis, "SseSession", "10.0.0.9", 1);
    let balancer = start(&redis, acts_on(&platform), &[]);
    let session = r#"[{"userId":"u-10.0.0.0-0","sessionId":"10.0.0.0-0","hostId":"10.0.0.0"}]"#;
    assert_eq!(ask(balancer.address, "GET", "/ws-session/all"), (200, session.into()));
    assert!(ask(balancer.address, "GET", "/sse-session/all").1.contains("10.0.0.9"));
    assert_eq!(ask(balancer.address, "POST", "/ws-session/10.0.0.0/admin/command").0, 204);
    assert_eq!(platform.calls(), ["ws-0 sheds 1"]);
    assert_eq!(ask(balancer.address, "POST", "/ws-session/10.0.0.7/admin/command").0, 404);
    // The servers of streams are not the balanced ones, and obey Redis.
    assert_eq!(ask(balancer.address, "POST", "/sse-session/10.0.0.9/admin/command").0, 204);
    assert_eq!(ask(balancer.address, "POST", "/sse-session/10.0.0.0/admin/command").0, 404);
    assert_eq!(platform.calls().len(), 1);
}

#[test]
fn without_a_platform_it_only_decides_and_requests_use_redis() {
    let redis = Redis::start();
    sessions(&redis, "WsSession", "10.0.0.0", 9);
    let none = Platform::None { why: "a test".into() };
    let balancer = start(&redis, none, &[]);
    eventually("it decides", || balancer.metric("balancer_decisions_total") >= 1);
    assert_eq!(balancer.metric("balancer_orders_total{order=\"scale\"}"), 0);
    assert_eq!(ask(balancer.address, "POST", "/ws-session/10.0.0.0/admin/command").0, 204);
}

#[test]
fn unavailable_servers_are_reported_and_retried() {
    let (mut redis, platform) = (Redis::start(), Noted::with(1, false));
    sessions(&redis, "WsSession", "10.0.0.0", 5);
    let balancer = start(&redis, acts_on(&platform), &[]);
    balancer.expect_metric("balancer_sessions", 5);
    platform.state.lock().fails = true;
    balancer.expect_degraded("platform: out of order");
    platform.state.lock().fails = false;
    balancer.expect_all_well();
    redis.down();
    balancer.expect_degraded("redis: Redis at");
    assert_eq!(ask(balancer.address, "GET", "/ws-session/all").0, 503);
    redis.up();
    balancer.expect_all_well();
    eventually("it is all gone with Redis", || balancer.metric("balancer_sessions") == 0);
    assert_eq!(platform.calls(), Vec::<String>::new());
}
