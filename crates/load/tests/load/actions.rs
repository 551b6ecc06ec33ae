//! Actions: extra requests of clients, and actions on a platform.

use std::{
    collections::HashMap,
    io::Write as _,
    net::{SocketAddr, TcpStream},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use jiff::Timestamp;
use load::{Control, Director};
use parking_lot::Mutex;
use platform::{
    Event, EventKind, Target, TargetError,
    event::{Source, Stamper},
    target::{
        Applied, Case, Drained, Endpoint, EventStream, EventsFrom, Killed, LogQuery, LogStream, NodeAdded,
        NodeRemoved, OnProgress, Scaled, Snapshot, Started, Stopped, Subject, Wanted,
    },
};
use scenario::{Scenario, Step};
use uuid::Uuid;

use crate::{
    processes::{process, worker_program},
    server::{Load, Server, in_all, receive, request, run_under, send},
};

/// Clients of a load that broadcasts.
const CLIENTS: usize = 8;

/// How a server treats broadcasts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Broadcasts {
    /// To every client once.
    Once,
    /// To every client except the sender, and to the sender's neighbour twice.
    Badly,
    /// With an error, right after the answer to a message.
    Refused,
}

/// A server of our protocol with its clients. Tokens are numbered; only the client that got one may use it.
fn server(broadcasts: Broadcasts) -> Server {
    let clients: Arc<Mutex<HashMap<usize, TcpStream>>> = Arc::default();
    Server::start(move |mut stream, number| {
        clients.lock().insert(number, stream.try_clone().unwrap());
        let token = Uuid::from_u128(number as u128).to_string();
        while let Some(request) = receive(&mut stream) {
            let text = String::from_utf8(request).unwrap();
            let Some(rest) = text.strip_prefix("brd:") else {
                let answer = if text == "token" { token.clone() } else { "12345".to_owned() };
                clients.lock().get(&number).unwrap().write_all(answer.as_bytes()).unwrap();
                continue;
            };
            let (used, value) = rest.split_once(':').unwrap();
            assert_eq!(used, token, "the client's own token");
            // A client may be connected before this server has accepted the connection.
            let deadline = clock::now() + Duration::from_secs(20);
            while clients.lock().len() < CLIENTS && clock::now() < deadline {
                thread::yield_now();
            }
            for (client, stream) in clients.lock().iter_mut() {
                let times = match broadcasts {
                    Broadcasts::Once => 1,
                    Broadcasts::Refused => 0,
                    Broadcasts::Badly if *client == number => 0,
                    Broadcasts::Badly => 1 + usize::from(*client == number + 1),
                };
                send(stream, value.repeat(times).as_bytes());
            }
            if broadcasts == Broadcasts::Refused {
                send(&mut stream, b"error: broadcast unavailable");
            }
        }
    })
}

fn broadcasting(address: SocketAddr) -> Load {
    let text = r#"name: x
actions:
  - { when: ramp done, do: send, from: 1, payload: "brd:{token}:<one>" }
  - { when: ramp done, do: send, from: 2, payload: "brd:{token}:<two>" }"#;
    let actions = Scenario::parse(text, "x").unwrap().actions;
    request(address, CLIENTS as u64).with(|scenario| scenario.actions = actions)
}

/// Looks to wait after the last action was reported: by then its effects have been seen.
const LOOKS_AFTERWARDS: u32 = 2;

/// Runs a load with its actions, as the command line does, until all of them are reported.
pub(crate) fn directed(load: Load) -> (platform::event::LoadSummary, Vec<EventKind>) {
    let load = load.with(|scenario| scenario.phases.hold = in_all(Duration::from_mins(1)));
    let (control, mut told, mut looks) = (Control::new(), 0, 0);
    let mut director = Director::new(&load.scenario, control.clone(), None, |_, _| {}).unwrap();
    let mut stamper = Stamper::new(Uuid::nil(), Source::Load, Timestamp::UNIX_EPOCH);
    run_under(&load, &control, |event| {
        director.observe(&stamper.stamp(0, event.clone()));
        director.act(0);
        match event {
            EventKind::ActionTaken { .. } => told += 1,
            EventKind::LoadTick(_) if told == load.scenario.actions.len() => looks += 1,
            _ => {}
        }
        // A second stop would cut off outstanding messages.
        if looks == LOOKS_AFTERWARDS && !control.is_stopped() {
            control.stop();
        }
    })
}

pub(crate) fn outcomes(events: &[EventKind]) -> Vec<(&str, bool)> {
    let taken = |event| match event {
        &EventKind::ActionTaken { ref outcome, failed, .. } => Some((outcome.as_str(), failed)),
        _ => None,
    };
    events.iter().filter_map(taken).collect()
}

#[test]
fn each_broadcast_reaches_every_client_exactly_once() {
    for workers in [None, Some(2)] {
        let server = server(Broadcasts::Once);
        let (summary, events) = directed(broadcasting(server.address()).options(|options| {
            options.workers = workers;
            options.worker = workers.map(|_| process(worker_program()));
        }));
        let totals = summary.totals;
        assert_eq!((totals.broadcasts_sent, totals.broadcasts_refused, totals.actions_sent), (2, 0, 2));
        assert_eq!((totals.broadcasts_due, totals.broadcasts_received), (16, 16), "{totals:?}");
        assert_eq!((totals.broadcasts_missed, totals.broadcasts_doubled), (0, 0));
        assert!((1..=16).contains(&summary.broadcast.count), "{:?}", summary.broadcast);
        assert_eq!((totals.messages_wrong, totals.message_timeouts, totals.lost), (0, 0, 0), "{totals:?}");
        assert_eq!(outcomes(&events).len(), 2, "{events:?}");
        assert!(
            outcomes(&events).iter().all(|(outcome, failed)| outcome.starts_with("came back") && !failed),
            "{:?}",
            outcomes(&events)
        );
    }
}

#[test]
fn misses_and_duplicates_are_counted() {
    let server = server(Broadcasts::Badly);
    let totals = directed(broadcasting(server.address())).0.totals;
    assert_eq!((totals.broadcasts_due, totals.broadcasts_received), (16, 14), "{totals:?}");
    assert_eq!((totals.broadcasts_missed, totals.broadcasts_doubled), (2, 2), "{totals:?}");
    assert_eq!(totals.messages_wrong, 0);
}

#[test]
fn a_refused_broadcast_does_not_count_as_missed() {
    let server = server(Broadcasts::Refused);
    let mut load = broadcasting(server.address());
    load.scenario.actions.truncate(1);
    let (summary, events) = directed(load);
    let totals = summary.totals;
    assert_eq!((totals.broadcasts_sent, totals.broadcasts_refused), (1, 1));
    assert_eq!((totals.broadcasts_due, totals.broadcasts_missed), (0, 0));
    assert_eq!((totals.messages_wrong, totals.lost), (0, 0), "the echo keeps working");
    let [(outcome, false)] = outcomes(&events)[..] else { panic!("{events:?}") };
    assert!(outcome.starts_with("answered after "), "{outcome}");
    assert!(outcome.ends_with("s: error: broadcast unavailable"), "{outcome}");
}

#[test]
fn answers_to_a_client_are_reported_but_are_not_messages() {
    let server = Server::start(|mut stream, _| {
        while let Some(request) = receive(&mut stream) {
            let answer: &[u8] = match request.as_slice() {
                b"WHY\n" => b"42",
                b"token" => b"error: cache unavailable",
                _ => b"12345",
            };
            send(&mut stream, answer);
        }
    });
    let text = r#"name: x
actions:
  - { when: ramp done, do: send, from: 2, payload: 'WHY\n' }
  - { when: ramp done, do: send, from: 3, payload: "mcget:{token}:key" }"#;
    let actions = Scenario::parse(text, "x").unwrap().actions;
    let (summary, events) =
        directed(request(server.address(), 3).with(|scenario| scenario.actions = actions));
    let mut seen = outcomes(&events);
    seen.sort_unstable();
    let [(answered, false), refused] = seen[..] else { panic!("{seen:?}") };
    assert!(answered.starts_with("answered after ") && answered.ends_with("s: 42"), "{answered}");
    assert_eq!(refused, ("it got no token: error: cache unavailable", true));
    assert_eq!((summary.totals.actions_sent, summary.totals.messages_wrong), (1, 0));
}

/// It is found after any amount of other input, in any number of pieces.
#[test]
fn a_long_answer_is_searched_to_its_end() {
    let server = Server::start(|mut stream, _| {
        while let Some(request) = receive(&mut stream) {
            if request != b"WHO" {
                send(&mut stream, b"12345");
                continue;
            }
            for _ in 0..200 {
                send(&mut stream, "'127.0.0.1:12345', ".repeat(10).as_bytes());
            }
            send(&mut stream, b"}\nconnected clie");
            send(&mut stream, b"nts: 2\n");
        }
    });
    let text = r#"name: x
actions:
  - { when: ramp done, do: send, from: 1, payload: WHO, answer: "clients: {connections}" }
  - { when: ramp done, do: send, from: 2, payload: WHO, answer: "clients: 3" }"#;
    let actions = Scenario::parse(text, "x").unwrap().actions;
    let load = request(server.address(), 2).with(|scenario| {
        scenario.actions = actions;
        scenario.messages.timeout = Some(Duration::from_secs(2));
    });
    let (summary, events) = directed(load);
    let mut seen = outcomes(&events);
    seen.sort_unstable();
    let [(found, false), (missed, true)] = seen[..] else { panic!("{seen:?}") };
    assert!(found.ends_with(": clients: 2"), "{found}");
    assert!(missed.starts_with("no `clients: 3` came, but …") && missed.contains("clients: 2"), "{missed}");
    assert_eq!(summary.totals.messages_wrong, 0);
}

/// The failure of an order without an answer is reported.
#[test]
fn an_order_without_an_answer_fails() {
    let server = Server::start(|mut stream, _| {
        while let Some(request) = receive(&mut stream) {
            if request != b"WHY" {
                send(&mut stream, b"12345");
            }
        }
    });
    let text = "name: x\nactions: [{ when: ramp done, do: send, from: 1, payload: WHY }]";
    let actions = Scenario::parse(text, "x").unwrap().actions;
    let load = request(server.address(), 1).with(|scenario| {
        scenario.actions = actions;
        scenario.messages.timeout = Some(Duration::from_millis(100));
    });
    let (summary, events) = directed(load);
    assert_eq!(outcomes(&events), [("no answer in time", true)]);
    assert_eq!((summary.totals.given_up, summary.totals.message_timeouts), (1, 0), "it was no message");
}

/// A platform that records its requests.
struct Noted {
    calls: Mutex<Vec<String>>,
    can_stop: bool,
}

impl Noted {
    fn call<T>(&self, call: String, result: T) -> T {
        self.calls.lock().push(call);
        result
    }
}

impl Target for Noted {
    fn is_up(&self) -> Result<bool, TargetError> {
        Err(TargetError::other("not asked for"))
    }

    fn apply(&self, _: Wanted<'_>, _: &mut OnProgress<'_>) -> Result<Applied, TargetError> {
        Err(TargetError::other("not asked for"))
    }

    fn teardown(&self, _grace: bool) -> Result<(), TargetError> {
        Err(TargetError::other("not asked for"))
    }

    fn snapshot(&self) -> Result<Snapshot, TargetError> {
        Err(TargetError::other("not asked for"))
    }

    fn events(&self, _from: EventsFrom) -> Result<EventStream, TargetError> {
        Err(TargetError::other("not asked for"))
    }

    fn scale(&self, service: &str, replicas: u32) -> Result<Scaled, TargetError> {
        Ok(self
            .call(format!("scale {service} {replicas}"), Scaled { from: 1, to: replicas, autoscaled: None }))
    }

    fn kill(&self, what: &Subject, restart: bool) -> Result<Killed, TargetError> {
        let replica = "tcp-1".to_owned();
        let killed = Killed {
            replica,
            pid: None,
            draining: false,
            replaced: false,
            restart_in: restart.then_some(Duration::ZERO),
        };
        Ok(self.call(format!("kill {what} {restart}"), killed))
    }

    fn stop(&self, what: &Subject) -> Result<Stopped, TargetError> {
        if !self.can_stop {
            let (what, why) = (format!("stopping {what}"), "it was given by its address".to_owned());
            return Err(TargetError::Unsupported { what, why });
        }
        Ok(self.call(format!("stop {what}"), Stopped { name: what.name.clone(), was_running: true }))
    }

    fn start(&self, what: &Subject) -> Result<Started, TargetError> {
        Ok(self.call(format!("start {what}"), Started { name: what.name.clone(), was_stopped: true }))
    }

    fn drain(&self, what: &Subject) -> Result<Drained, TargetError> {
        let drained =
            Drained { replica: "tcp-0".to_owned(), connections: Some(500), grace: Duration::from_mins(1) };
        Ok(self.call(format!("drain {what}"), drained))
    }

    fn add_node(&self) -> Result<NodeAdded, TargetError> {
        let follows = vec!["gateway-node-2".to_owned()];
        Ok(self.call("add node".to_owned(), NodeAdded { name: "node-2".to_owned(), nodes: 3, follows }))
    }

    fn remove_node(&self, name: Option<&str>) -> Result<NodeRemoved, TargetError> {
        let name = name.unwrap_or("node-2").to_owned();
        Ok(self.call(format!("remove {name}"), NodeRemoved { name, nodes: 2 }))
    }

    fn logs(&self, _query: &LogQuery) -> Result<LogStream, TargetError> {
        Err(TargetError::other("not asked for"))
    }

    fn endpoint(&self, _service: &str) -> Result<Endpoint, TargetError> {
        Err(TargetError::other("not asked for"))
    }

    fn autoscaler(&self, _service: &str) -> Result<Case, TargetError> {
        Err(TargetError::other("not asked for"))
    }
}

/// A director over a recording platform, its events in order, and a clock that the test sets.
struct Stage {
    platform: Arc<Noted>,
    director: Director,
    told: mpsc::Receiver<EventKind>,
    stamper: Stamper,
}

impl Stage {
    fn new(actions: &str, can_stop: bool) -> Self {
        let text = format!("name: x\nphases: {{ hold: {{ for: 10m }} }}\nactions: {actions}");
        let scenario = Scenario::parse(&text, "x").unwrap();
        let platform = Arc::new(Noted { calls: Mutex::default(), can_stop });
        let (sender, told) = mpsc::channel();
        let tell = move |_, event| sender.send(event).unwrap();
        let target: Arc<dyn Target> = Arc::clone(&platform) as Arc<dyn Target>;
        let director = Director::new(&scenario, Control::new(), Some(target), tell).unwrap();
        let stamper = Stamper::new(Uuid::nil(), Source::Load, Timestamp::UNIX_EPOCH);
        let mut stage = Self { platform, director, told, stamper };
        let plan = scenario.describe(String::new());
        stage.happens(0, EventKind::LoadStarted { plan });
        stage
    }

    fn happens(&mut self, t_ms: u64, kind: EventKind) -> Event {
        let event = self.stamper.stamp(t_ms, kind);
        self.director.observe(&event);
        event
    }

    /// The next event, which the director also receives, as it does in a run.
    fn hears(&mut self, t_ms: u64) -> (String, String, bool) {
        let told = self.told.recv_timeout(Duration::from_secs(20)).expect("an action is told");
        match self.happens(t_ms, told).kind {
            EventKind::ActionTaken { action, outcome, failed, .. } => (action, outcome, failed),
            other => panic!("{other:?}"),
        }
    }

    fn calls(&self) -> Vec<String> {
        self.platform.calls.lock().clone()
    }
}

#[test]
fn nodes_are_added_and_removed() {
    let mut stage = Stage::new(
        "[{ at: 1s, do: add-node }, { at: 2s, do: remove-node }, { at: 3s, do: remove-node, node: node-1 }]",
        true,
    );
    for (at_ms, outcome) in [
        (1000, "node-2 is added, one of 3 nodes; on it: gateway-node-2"),
        (2000, "node-2 is drained and gone, 2 nodes are left"),
        (3000, "node-1 is drained and gone, 2 nodes are left"),
    ] {
        stage.director.act(at_ms);
        let (_, told, failed) = stage.hears(at_ms);
        assert_eq!((told.as_str(), failed), (outcome, false));
    }
    assert_eq!(stage.calls(), ["add node", "remove node-2", "remove node-1"]);
}

#[test]
fn actions_are_carried_out_and_reported() {
    let mut stage = Stage::new(
        "[{ at: 1s, do: stop, what: kafka, for: 30s }, { at: 2s, do: drain, what: tcp/tcp-0 },
            { at: 3s, do: scale, what: tcp, to: 3 },
            { when: kafka started, after: 2s, do: kill, what: tcp/fullest, restart: false }]",
        true,
    );
    stage.director.act(999);
    assert_eq!(stage.director.next_due(), Some(1_000));
    stage.director.act(1_000);
    assert!(stage.director.is_acting());
    assert_eq!(stage.hears(1_001), ("stop kafka for 30s".into(), "kafka is stopped".into(), false));
    stage.director.act(3_000);
    let outcome = "tcp-0 with 500 connections is told to end, at most 60 s from now".to_owned();
    assert_eq!(stage.hears(3_001), ("drain tcp/tcp-0".into(), outcome, false));
    assert_eq!(stage.hears(3_001).1, "tcp 1 → 3");
    stage.director.act(31_000);
    assert_eq!(stage.hears(31_005).1, "kafka is started");
    assert_eq!(stage.director.next_due(), None, "it is not ready yet");
    let ready = EventKind::PartReady { part: "kafka".to_owned(), detail: String::new(), after_ms: 4_995 };
    stage.happens(36_000, ready);
    assert_eq!(stage.director.next_due(), Some(38_000));
    stage.director.act(38_000);
    assert_eq!(stage.hears(38_001).1, "tcp-1 is killed; it stays dead");
    assert!(!stage.director.is_acting());
    let calls = ["stop kafka", "drain tcp/tcp-0", "scale tcp 3", "start kafka", "kill tcp/fullest false"];
    assert_eq!(stage.calls(), calls);
    assert_eq!(stage.director.end(), [] as [String; 0]);
}

#[test]
fn stopped_parts_start_again_however_the_run_ends() {
    // Asked to end, or dropped because the run failed.
    for asked in [true, false] {
        let mut stage = Stage::new(
            "[{ at: 1s, do: stop, what: kafka, for: 30s }, { at: 9s, do: kill, what: tcp }]",
            true,
        );
        stage.director.act(1_000);
        stage.hears(1_001);
        if asked {
            assert_eq!(stage.director.end(), ["at 9s: kill tcp"], "and what was never done is named");
        }
        let Stage { platform, director, .. } = stage;
        drop(director);
        assert_eq!(*platform.calls.lock(), ["stop kafka", "start kafka"]);
    }
}

#[test]
fn unsupported_actions_are_reported_with_the_reason() {
    let mut stage = Stage::new("[{ at: 1s, do: stop, what: kafka, for: 30s }]", false);
    stage.director.act(1_000);
    let (action, outcome, failed) = stage.hears(1_001);
    assert_eq!((action.as_str(), failed), ("stop kafka for 30s", true));
    assert!(outcome.contains("given by its address"), "{outcome}");
    assert_eq!((stage.director.next_due(), stage.calls().len()), (None, 0), "it is not started either");
}

fn step(action: &str) -> Step {
    let text = format!("name: x\nactions: [{action}]");
    let action = Scenario::parse(&text, "x").unwrap_or_else(|error| panic!("{error}")).actions.remove(0);
    Step { because: action.trigger.to_string(), verb: action.verb }
}

/// The workers of a load take a while to get ready, and the platform's events do not wait for them.
#[test]
fn orders_before_the_workers_listen_are_kept_and_orders_after_the_load_refused() {
    let server = server(Broadcasts::Once);
    let (control, joining) = (Control::new(), "{ at: 1s, do: join, users: 2 }");
    assert!(control.order(&step("{ at: 1s, do: send, from: 1, payload: 'msg:12345' }"), None));
    assert!(control.order(&step(joining), None));
    let mut told = 0;
    let load = joined_by(server.address(), joining);
    let (_, events) = run_under(&load, &control, |event| {
        told += usize::from(matches!(event, EventKind::ActionTaken { .. }));
        if told == 2 && !control.is_stopped() {
            control.stop();
        }
    });
    let outcomes = outcomes(&events);
    assert_eq!(outcomes.len(), 2, "{outcomes:?}");
    assert!(outcomes.iter().all(|(_, failed)| !failed), "{outcomes:?}");
    assert!(!control.order(&step(joining), None), "the load is over");
    // Its events may reach the director later.
    let mut director = Director::new(&load.scenario, control, None, |_, _| {}).unwrap();
    let started = EventKind::LoadStarted { plan: load.scenario.describe(String::new()) };
    director.observe(&Stamper::new(Uuid::nil(), Source::Load, Timestamp::UNIX_EPOCH).stamp(0, started));
    director.act(1_000);
    assert_eq!(director.end(), ["at 1s: 2 users join"]);
}

fn joined_by(address: SocketAddr, joining: &str) -> Load {
    let text = format!("name: x\nactions: [{joining}]");
    let actions = Scenario::parse(&text, "x").unwrap().actions;
    request(address, 1).with(|scenario| {
        (scenario.actions, scenario.phases.hold) = (actions, in_all(Duration::from_mins(1)));
    })
}

/// With workers in processes, too, which take a while to start.
#[test]
fn users_can_join_from_the_first_moment() {
    for workers in [None, Some(2)] {
        let server = server(Broadcasts::Once);
        let load = joined_by(server.address(), "{ at: 0s, do: join, users: 2 }").options(|options| {
            options.workers = workers;
            options.worker = workers.map(|_| process(worker_program()));
        });
        let (summary, events) = directed(load);
        let [(outcome, failed)] = outcomes(&events)[..] else { panic!("{:?}", outcomes(&events)) };
        assert!(outcome.starts_with("all of them tried") && !failed, "{outcome}");
        assert_eq!(summary.totals.connected_first, 3);
    }
}

/// The workers end while the coordinator still accepts orders: nobody carries those out.
#[test]
fn an_order_at_the_close_has_an_outcome() {
    let server = server(Broadcasts::Once);
    let load = joined_by(server.address(), "{ at: 0s, do: join, users: 1 }")
        .with(|scenario| scenario.phases.hold = in_all(Duration::from_millis(300)));
    let (control, mut orders) = (Control::new(), 0);
    let (_, events) = run_under(&load, &control, |event| {
        if matches!(event, EventKind::PhaseStarted { phase, .. } if phase == "close") {
            for action in
                ["{ at: 1s, do: send, from: 1, payload: 'msg:12345' }", "{ at: 1s, do: leave, users: 1 }"]
            {
                assert!(control.order(&step(action), None));
                orders += 1;
            }
        }
    });
    assert_eq!((orders, outcomes(&events).len()), (2, 2), "{:?}", outcomes(&events));
}

/// What looks like a broadcast, with a wrong token, is none: it does not touch the receipts of the real one.
#[test]
fn a_wrong_token_makes_no_broadcast() {
    let server = Server::start(|mut stream, number| {
        let token = Uuid::from_u128(number as u128).to_string();
        while let Some(request) = receive(&mut stream) {
            let text = String::from_utf8(request).unwrap();
            let answer = match text.strip_prefix("brd:").and_then(|rest| rest.split_once(':')) {
                Some((used, value)) if used == token => value.to_owned(),
                Some(_) => "whose token is that?".to_owned(),
                None if text == "token" => token.clone(),
                None => "12345".to_owned(),
            };
            send(&mut stream, answer.as_bytes());
        }
    });
    let text = r#"name: x
actions:
  - { when: ramp done, do: send, from: 1, payload: "brd:bad:hello" }
  - { when: ramp done, do: send, from: 1, payload: "brd:{token}:hello" }
  - { when: ramp done, do: send, from: 1, payload: "brd:bad:hello" }"#;
    let actions = Scenario::parse(text, "x").unwrap().actions;
    let load = request(server.address(), 1).with(|scenario| scenario.actions = actions);
    let (summary, events) = directed(load);
    let said: Vec<&str> =
        outcomes(&events).iter().map(|(outcome, _)| outcome.split_whitespace().next().unwrap()).collect();
    assert_eq!(said, ["answered", "came", "answered"], "{:?}", outcomes(&events));
    let totals = &summary.totals;
    assert_eq!((totals.broadcasts_sent, totals.broadcasts_received, totals.broadcasts_missed), (1, 1, 0));
}
