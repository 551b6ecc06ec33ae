//! WebSocket connections: against our own service, a library's server, and servers that misbehave.

use std::{
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fixtures::{Redis, Running};
use load::Control;
use platform::event::{Ending, EventKind, LoadSummary};
use scenario::{Expect, Policy, Protocol, Reconnect};
use service::{Shutdown, settings::Env};
use tokio_tungstenite::tungstenite::{
    self, Message,
    handshake::server::{Request, Response},
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use crate::server::{
    Load, SILENT, Server, in_all, payload, receive, request, run, run_under, send, soon, wait_for_end,
};

type Socket = tungstenite::WebSocket<TcpStream>;

/// A load over WebSocket.
fn ws(server: &Server, connections: u64) -> Load {
    request(server.address(), connections).with(|scenario| scenario.protocol = Protocol::Ws)
}

/// A tungstenite server.
fn library(serve: impl Fn(Socket, usize) + Send + Sync + 'static) -> Server {
    Server::start(move |stream, number| {
        if let Ok(socket) = tungstenite::accept(stream) {
            serve(socket, number);
        }
    })
}

/// Echoes until the end. Returns the code with which the client closed.
fn echo(socket: &mut Socket) -> Option<u16> {
    loop {
        match socket.read() {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => socket.send(message).ok()?,
            Ok(Message::Close(close)) => return close.map(|close| close.code.into()),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

fn close_with(socket: &mut Socket, code: u16, reason: &str) {
    let _ = socket.close(Some(CloseFrame { code: CloseCode::from(code), reason: reason.to_owned().into() }));
    while socket.read().is_ok() {}
}

fn endings(summary: &LoadSummary) -> Vec<(u16, &str, u64)> {
    summary.endings.iter().map(|Ending { code, reason, count }| (*code, reason.as_str(), *count)).collect()
}

/// Our own service on `127.0.0.1`, one replica.
fn service(redis: &Redis, variables: &[(&str, &str)]) -> Running {
    let at = redis.settings();
    let common = [
        ("HOST", "127.0.0.1".to_owned()),
        ("PORT", "0".to_owned()),
        ("ADMIN_PORT", "0".to_owned()),
        ("REDIS_HOST", at.host),
        ("REDIS_PORT", at.port.to_string()),
        ("SIGTERM_TIMEOUT", "0".to_owned()),
        ("DRAIN_SPREAD", "0".to_owned()),
    ];
    let own = variables.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let env: Env = common.into_iter().chain(own).collect();
    let shutdown = Shutdown::new();
    let server = ::ws::Server::bind(::ws::Settings::from_env(&env).unwrap(), shutdown.clone()).unwrap();
    let addresses = (server.bound().address(), server.bound().admin_address());
    Running::start(addresses, server.bound().readiness().clone(), shutdown, move || server.run())
}

#[test]
fn our_own_service_echoes_says_who_it_is_and_lists_the_users() {
    let redis = Redis::start();
    let replicas = ["10.0.0.1", "10.0.0.2"].map(|host| service(&redis, &[("HOST_ID", host)]));
    let load = request(replicas[0].address, 20)
        .with(|scenario| scenario.protocol = Protocol::Ws)
        .options(|options| options.targets = replicas.iter().map(|replica| replica.address).collect());
    let (summary, _) = run(load.until(|totals| totals.messages_answered >= 20 * 10));
    let totals = summary.totals;
    assert_eq!((totals.connected, totals.closed, totals.lost, totals.messages_wrong), (20, 20, 0, 0));
    assert!(totals.messages_answered >= 20 * 10, "{totals:?}");
    let shares: Vec<_> =
        summary.shares.iter().map(|share| (share.replica.as_str(), share.connections)).collect();
    assert_eq!(shares, [("10.0.0.1", 10), ("10.0.0.2", 10)]);
    assert!((summary.skew.unwrap().jain - 1.0).abs() < 1e-9);
    for replica in &replicas {
        replica.expect_metric("ws_sessions_ended_total{by=\"client\"}", 10);
        replica.expect_metric("ws_sessions", 0);
    }
}

#[test]
fn refused_clients_are_reported_and_return_when_there_is_room() {
    let redis = Redis::start();
    let replica = service(&redis, &[("MAX_CONNECTIONS_PER_HOST", "5"), ("RETRY_AFTER", "20ms")]);
    let load = request(replica.address, 8).with(|scenario| {
        scenario.protocol = Protocol::Ws;
        scenario.reconnect = Reconnect { delay: Some(Duration::from_hours(1)), ..Reconnect::default() };
    });
    let (summary, _) = run(load.until(|totals| totals.turned_away > 3));
    let totals = summary.totals;
    // They follow the server's hint: their own delay is an hour.
    assert!(totals.turned_away > 3 && totals.turned_away == totals.notices, "{totals:?}");
    assert_eq!((totals.lost, totals.eof, totals.turned_away), (0, 0, totals.eof_after_notice));
    assert_eq!(endings(&summary), [(1013, "Maximum connections per host reached", totals.turned_away)]);
}

#[test]
fn a_drain_asks_every_client_to_reconnect() {
    let redis = Redis::start();
    let replica = service(&redis, &[]);
    let load = request(replica.address, 10)
        .with(|scenario| scenario.protocol = Protocol::Ws)
        .until(|totals| totals.eof_after_notice == 10);
    let shutdown = replica.shutdown.clone();
    let (summary, _) = run_under(&load, &Control::new(), |event| {
        if matches!(event, EventKind::RampDone { .. }) {
            shutdown.drain();
        }
    });
    let totals = summary.totals;
    assert_eq!((totals.notices, totals.eof_after_notice, totals.lost), (10, 10, 0), "{totals:?}");
    assert_eq!(endings(&summary), [(1001, "Server shutting down", 10)]);
}

#[test]
fn clients_beyond_the_accept_rate_are_refused_with_a_time_to_return() {
    let redis = Redis::start();
    let replica = service(&redis, &[("ACCEPT_RATE", "1"), ("ACCEPT_WAIT", "0")]);
    let load = request(replica.address, 5).with(|scenario| scenario.protocol = Protocol::Ws);
    let (summary, _) = run(load);
    let totals = summary.totals;
    assert!(totals.refused >= 1 && totals.connected + totals.refused == 5, "{totals:?}");
    let [(503, line, count)] = endings(&summary)[..] else { panic!("{:?}", summary.endings) };
    assert!(line.starts_with("HTTP/1.1 503 Service Unavailable, Retry-After: "), "{line}");
    assert_eq!(count, totals.refused);
    assert!(summary.first_error.as_ref().unwrap().contains(line));
}

#[test]
fn a_library_server_gets_masked_frames_and_a_proper_close() {
    let codes = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&codes);
    let server = library(move |mut socket, _| {
        let code = echo(&mut socket);
        seen.fetch_add(u64::from(code == Some(1000)), Ordering::AcqRel);
    });
    for text in ["msg:12345", "é", r"\xff\x00", &"long ".repeat(14_000)[..65_000]] {
        let load = ws(&server, 3).with(|scenario| scenario.messages.payload = payload(text));
        let (summary, _) = run(load.until(|totals| totals.messages_answered >= 3));
        let totals = summary.totals;
        assert!(totals.messages_answered >= 3 && totals.messages_wrong == 0, "{totals:?}");
        assert_eq!((totals.lost, totals.protocol_errors), (0, 0));
    }
    fixtures::eventually("all closed with 1000", || codes.load(Ordering::Acquire) == 12);
}

#[test]
fn each_connection_has_its_own_path() {
    let server = Server::start(|stream, _| {
        let mut path = String::new();
        #[expect(clippy::result_large_err, reason = "the type that tungstenite asks for")]
        let look = |request: &Request, response: Response| {
            request.uri().to_string().clone_into(&mut path);
            Ok(response)
        };
        let Ok(mut socket) = tungstenite::accept_hdr(stream, look) else { return };
        while socket.read().is_ok_and(|message| message.is_text()) {
            let _ = socket.send(Message::text(path.clone()));
        }
    });
    let load = ws(&server, 1).with(|scenario| {
        scenario.path = Some("/chat/{n}?as={user}".to_owned());
        scenario.messages.payload = payload("/chat/1?as=user-1");
    });
    let totals = run(load.until(|totals| totals.messages_answered > 0)).0.totals;
    assert!(totals.messages_answered > 0 && totals.messages_wrong == 0, "{totals:?}");
}

#[test]
fn pings_are_answered_while_nothing_is_sent() {
    let pongs = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&pongs);
    let server = library(move |mut socket, _| {
        let _ = socket.send(Message::Ping(b"are you there?"[..].into()));
        while let Ok(message) = socket.read() {
            counted.fetch_add(
                u64::from(message == Message::Pong(b"are you there?"[..].into())),
                Ordering::AcqRel,
            );
        }
    });
    let load = ws(&server, 4).with(|scenario| {
        scenario.messages.every = SILENT;
        scenario.phases.hold = in_all(Duration::from_mins(1));
    });
    let control = Control::new();
    let (summary, _) = run_under(&load, &control, |event| {
        let is_tick = matches!(event, EventKind::LoadTick(_));
        if is_tick && pongs.load(Ordering::Acquire) == 4 && !control.is_stopped() {
            control.stop();
        }
    });
    assert_eq!((summary.totals.closed, summary.totals.lost), (4, 0));
    assert_eq!(pongs.load(Ordering::Acquire), 4, "all answered");
}

#[test]
fn answers_in_fragments_with_pings_between_them_are_answers() {
    // Unmasked frames, byte by byte: msg:12345 in three fragments, with a ping in between.
    const ANSWER: &[u8] = b"\x01\x04msg:\x89\x01p\x00\x02\x31\x32\x80\x03345";
    let server = library(|mut socket, _| {
        while socket.read().is_ok_and(|message| !message.is_close()) {
            for byte in ANSWER {
                send(socket.get_mut(), &[*byte]);
            }
        }
    });
    let totals = run(ws(&server, 2).until(|totals| totals.messages_answered >= 2)).0.totals;
    assert!(totals.messages_answered >= 2 && totals.messages_wrong == 0, "{totals:?}");
    assert_eq!(totals.protocol_errors, 0);
}

#[test]
fn closes_are_counted_by_code() {
    let server = library(|mut socket, number| match number {
        0 => close_with(&mut socket, 4001, "Server Rebalancing; retry in 5 ms"),
        1 => close_with(&mut socket, 1000, "\x1b[2J"),
        2 => close_with(&mut socket, 3999, ""),
        // It ends without a close.
        3 => {}
        _ => drop(echo(&mut socket)),
    });
    let load = ws(&server, 4).with(|scenario| scenario.reconnect = soon());
    let (summary, _) = run(load.until(|totals| totals.reconnected == 4));
    let mut seen = endings(&summary);
    seen.sort_unstable();
    let expected = [
        (1000, r"\x1b[2J", 1),
        (1006, "no close before the end", 1),
        (3999, "", 1),
        (4001, "Server Rebalancing", 1),
    ];
    assert_eq!(seen, expected);
    let totals = summary.totals;
    assert_eq!((totals.notices, totals.eof_after_notice, totals.turned_away), (1, 1, 0), "{totals:?}");
    assert_eq!((totals.lost, totals.reconnected), (3, 4), "{totals:?}");
}

#[test]
fn a_backoff_waits_longer_each_time() {
    let server = library(|mut socket, _| close_with(&mut socket, 1011, "no"));
    let load = ws(&server, 1).with(|scenario| {
        scenario.reconnect = Reconnect {
            policy: Some(Policy::Backoff),
            delay: Some(Duration::from_millis(50)),
            jitter: Some(Duration::ZERO),
            ..Reconnect::default()
        };
        scenario.phases.hold = in_all(Duration::from_millis(400));
    });
    let totals = run(load).0.totals;
    // After 50, 150 and 350 ms, if the server is fast.
    assert!((1..=4).contains(&totals.attempted), "{totals:?}");
}

#[test]
fn a_server_that_breaks_the_protocol_is_left_with_a_reason() {
    for (bytes, words) in [
        (&b"\x81\x81\0\0\0\0a"[..], "a frame of the server is masked"),
        (b"\xc1\x00", "reserved bits"),
        (b"\x88\x01a", "half a code"),
    ] {
        let server = library(|mut socket, _| {
            send(socket.get_mut(), bytes);
            let close = socket.read();
            assert!(matches!(close, Ok(Message::Close(Some(CloseFrame { code: CloseCode::Protocol, .. })))));
        });
        let (summary, _) = run(ws(&server, 2).until(|totals| totals.protocol_errors == 2));
        assert_eq!((summary.totals.protocol_errors, summary.totals.lost), (2, 2));
        let error = summary.first_error.unwrap();
        assert!(error.contains("broke the protocol") && error.contains(words), "{error}");
    }
}

#[test]
fn servers_that_speak_something_else_are_recognised() {
    for (answer, words) in [
        (&b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"[..], "`HTTP/1.1 404 Not Found`"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "this port speaks SSH"),
        (b"12345", "not HTTP: `12345`"),
        (
            b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
            "its Sec-WebSocket-Accept is `x` instead of",
        ),
    ] {
        let server = Server::start(move |mut stream, _| {
            receive(&mut stream);
            send(&mut stream, answer);
            wait_for_end(&mut stream);
        });
        let (summary, _) = run(ws(&server, 2));
        let totals = summary.totals;
        assert_eq!((totals.connected, totals.refused + totals.connect_errors), (0, 2), "{totals:?}");
        let error = summary.first_error.unwrap();
        assert!(error.contains(words) && error.contains("the upgrade at"), "{error}");
    }
}

#[test]
fn a_server_that_never_answers_an_upgrade_is_given_up() {
    let server = Server::start(|mut stream, _| wait_for_end(&mut stream));
    let load = ws(&server, 2).with(|scenario| scenario.connect_timeout = Duration::from_millis(50));
    let (summary, _) = run(load);
    assert_eq!((summary.totals.connect_timeouts, summary.totals.connected), (2, 0));
    assert!(summary.first_error.unwrap().contains("does it speak WebSocket?"));
    let server = Server::start(|mut stream, _| drop(receive(&mut stream)));
    let (summary, _) = run(ws(&server, 2));
    assert_eq!((summary.totals.connect_errors, summary.totals.connected), (2, 0));
    assert!(summary.first_error.unwrap().contains("before the upgrade was answered"));
}

#[test]
fn a_server_that_never_answers_a_message_is_left_like_any_other() {
    let server = library(|mut socket, _| while socket.read().is_ok() {});
    let load = ws(&server, 2).with(|scenario| scenario.messages.timeout = Some(Duration::from_millis(50)));
    let totals = run(load.until(|totals| totals.message_timeouts == 2)).0.totals;
    assert_eq!((totals.given_up, totals.message_timeouts, totals.messages_sent), (2, 2, 2));
    let any = ws(&server, 2).with(|scenario| scenario.messages.expect = Expect::None);
    let totals = run(any.until(|totals| totals.messages_sent >= 20)).0.totals;
    assert!(totals.messages_sent >= 20 && totals.given_up == 0, "{totals:?}");
}
