//! Users who join and leave in groups, on servers that identify themselves.

use std::{net::SocketAddr, thread, time::Duration};

use platform::event::{EventKind, LoadSummary};
use scenario::{Protocol, Scenario};
use tokio_tungstenite::tungstenite::{
    self, Message,
    handshake::server::{Request, Response},
};

use crate::{
    actions::{directed, outcomes},
    processes::{process, worker_program},
    server::{Load, Server, request, run},
};

/// A WebSocket server with this name that echoes after a short delay.
fn named(name: &'static str) -> Server {
    Server::start(move |stream, _| {
        #[expect(clippy::result_large_err, reason = "the type that tungstenite asks for")]
        let say_who = |_: &Request, mut response: Response| {
            response.headers_mut().insert("Host-Id", name.parse().unwrap());
            Ok(response)
        };
        let Ok(mut socket) = tungstenite::accept_hdr(stream, say_who) else { return };
        while let Ok(message @ Message::Text(_)) = socket.read() {
            #[expect(clippy::disallowed_methods, reason = "answers are to be outstanding when users leave")]
            thread::sleep(Duration::from_millis(3));
            let _ = socket.send(message);
        }
    })
}

/// Two of three consecutive connections go to the first server, so that each of two workers has some of both.
fn load(servers: &[Server; 2], ramp: u64, actions: &str) -> Load {
    let [first, second] = [0, 1].map(|at| servers[at].address());
    let targets: Vec<SocketAddr> = vec![first, second, first];
    let text = format!("name: x\nservice: ws\nprotocol: ws\nactions: {actions}");
    let actions = Scenario::parse(&text, "x").unwrap_or_else(|error| panic!("{error}")).actions;
    request(first, ramp)
        .with(|scenario| {
            (scenario.protocol, scenario.service, scenario.actions) =
                (Protocol::Ws, "ws".to_owned(), actions);
        })
        .options(|options| options.targets = targets)
}

/// The number of users per server at the last look before the close.
fn last_seen(events: &[EventKind]) -> Vec<(&str, u64)> {
    let is_close =
        |event: &&EventKind| matches!(event, EventKind::PhaseStarted { phase, .. } if phase == "close");
    let before = events.iter().take_while(|event| !is_close(event));
    let ticks = before.filter_map(|event| match event {
        EventKind::LoadTick(tick) => Some(&tick.by_replica),
        _ => None,
    });
    ticks.last().unwrap().iter().map(|(name, count)| (name.as_str(), *count)).collect()
}

fn with_workers(load: Load, workers: Option<u32>) -> Load {
    load.options(|options| {
        options.workers = workers;
        options.worker = workers.map(|_| process(worker_program()));
    })
}

#[test]
fn groups_join_and_users_of_the_same_server_leave() {
    for workers in [None, Some(2)] {
        let servers = [named("a"), named("b")];
        // 3 and 1, then 5 and 2, then 1 and 2, then 1.
        let actions = "
          - { when: ramp done, do: join, users: 3 }
          - { when: users joined, do: leave, users: 4, of: ws/fullest }
          - { when: users left, do: leave, users: all, of: ws/b }";
        let (summary, events) = directed(with_workers(load(&servers, 4, actions), workers));
        let expected = [
            ("all of them tried; 7 connections are open", false),
            ("4 of a left", false),
            ("2 of b left", false),
        ];
        assert_eq!(outcomes(&events), expected, "{workers:?} workers");
        assert_eq!(last_seen(&events), [("a", 1)]);
        let LoadSummary { totals, plan, .. } = summary;
        assert_eq!((plan.connections, plan.joining, totals.connected_first), (4, 3, 7));
        // No user was cut off: each waited for its answer and closed properly.
        assert_eq!((totals.closed, totals.lost, totals.stayed_away), (7, 0, 0), "{totals:?}");
        assert_eq!((totals.messages_unanswered, totals.messages_wrong), (0, 0), "{totals:?}");
    }
}

#[test]
fn a_load_may_consist_of_joining_users_only() {
    let servers = [named("a"), named("b")];
    let actions = "
      - { when: ramp done, do: join, users: 5, rate: 10ms }
      - { when: spread 3/2, do: leave, users: 1, of: ws/emptiest }";
    let (summary, events) = directed(load(&servers, 0, actions));
    assert_eq!(summary.totals.connected_first, 5);
    assert_eq!(
        outcomes(&events),
        [("all of them tried; 5 connections are open", false), ("1 of b left", false)]
    );
    assert!(summary.busiest_second >= 2, "{}", summary.busiest_second);
}

#[test]
fn absent_users_cannot_leave() {
    let servers = [named("a"), named("b")];
    let actions = "
      - { when: ramp done, do: leave, users: 9, of: ws/b }
      - { when: ramp done, do: leave, users: 1, of: ws/c }";
    let (_, events) = directed(load(&servers, 3, actions));
    let mut seen = outcomes(&events);
    seen.sort_unstable();
    assert_eq!(seen[1], ("only 1 of b left; 9 were to leave", true));
    assert!(seen[0].0.starts_with("no user is on c; users are on: a") && seen[0].1, "{seen:?}");
}

#[test]
fn an_unidentified_server_has_no_users_to_leave() {
    let server = Server::echo();
    let actions =
        Scenario::parse("name: x\nactions: [{ when: ramp done, do: leave, users: 1, of: tcp/fullest }]", "x");
    let load = request(server.address(), 2).with(|scenario| scenario.actions = actions.unwrap().actions);
    let (_, events) = directed(load);
    let [(why, true)] = outcomes(&events)[..] else { panic!("{:?}", outcomes(&events)) };
    assert!(why.starts_with("no server reports its name"), "{why}");
}

#[test]
fn clients_refused_without_a_hint_are_counted() {
    let closing = |reason: &'static str| {
        Server::start(move |stream, _| {
            let Ok(mut socket) = tungstenite::accept(stream) else { return };
            let code = tungstenite::protocol::frame::coding::CloseCode::Again;
            let _ = socket.close(Some(tungstenite::protocol::CloseFrame { code, reason: reason.into() }));
            while socket.read().is_ok() {}
        })
    };
    let refusing = |answer: &'static [u8]| {
        Server::start(move |mut stream, _| {
            crate::server::receive(&mut stream);
            crate::server::send(&mut stream, answer);
        })
    };
    for (server, without) in [
        (closing("full"), 2),
        (closing("full; retry in 100 ms"), 0),
        (refusing(b"HTTP/1.1 503 Full\r\n\r\n"), 2),
        (refusing(b"HTTP/1.1 503 Full\r\nRetry-After: 3\r\n\r\n"), 0),
    ] {
        let (summary, _) =
            run(request(server.address(), 2).with(|scenario| scenario.protocol = Protocol::Ws));
        assert_eq!(summary.totals.refused_without_hint, without, "{:?}", summary.endings);
    }
}
