//! The contract of `ws-client`, against a real `ws` server.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;

use fixtures::{DEADLINE, Redis, Running, eventually, settles};
use service::Shutdown;
use service::settings::Env;

fn start_ws(redis: &Redis, variables: &[(&str, &str)]) -> Running {
    let at = redis.settings();
    let port = at.port.to_string();
    let common = [
        ("HOST", "127.0.0.1"),
        ("PORT", "0"),
        ("ADMIN_PORT", "0"),
        ("REDIS_HOST", &*at.host),
        ("REDIS_PORT", &*port),
        ("SIGTERM_TIMEOUT", "0"),
        ("DRAIN_SPREAD", "0"),
    ];
    let env: Env = common.into_iter().chain(variables.iter().copied()).collect();
    let shutdown = Shutdown::new();
    let server = ws::Server::bind(ws::Settings::from_env(&env).unwrap(), shutdown.clone()).unwrap();
    let addresses = (server.bound().address(), server.bound().admin_address());
    Running::start(addresses, server.bound().readiness().clone(), shutdown, move || server.run())
}

fn start_client(server: SocketAddr, variables: &[(&str, &str)]) -> Running {
    let port = server.port().to_string();
    let common = [
        ("HOST", "127.0.0.1"),
        ("PORT", "0"),
        ("ADMIN_PORT", "0"),
        ("WS_SERVER_HOST", "127.0.0.1"),
        ("WS_SERVER_PORT", &*port),
        ("CONNECT_EVERY", "1ms"),
        ("RETURN_AFTER", "10ms"),
    ];
    let env: Env = common.into_iter().chain(variables.iter().copied()).collect();
    let shutdown = Shutdown::new();
    let settings = ws_client::Settings::from_env(&env).unwrap();
    let server = ws_client::Server::bind(settings, shutdown.clone()).unwrap();
    let addresses = (server.bound().address(), server.bound().admin_address());
    Running::start(addresses, server.bound().readiness().clone(), shutdown, move || server.run())
}

/// Status and body.
fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    ask_with(address, method, path, "Content-Type: application/json\r\n", body)
}

/// The same with these headers.
fn ask_with(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn batch(client: &Running, what: &str, users: &[&str]) -> u16 {
    let body = serde_json::json!({ "userIds": users }).to_string();
    ask(client.address, "POST", &format!("/route/kickstart/ws/batch/{what}"), &body).0
}

/// User, state and reason of each.
fn states(client: &Running) -> Vec<(String, String, String)> {
    let (status, body) = ask(client.address, "GET", "/route/kickstart/ws/users", "");
    assert_eq!(status, 200);
    let users: Vec<serde_json::Value> = serde_json::from_str(&body).unwrap();
    let word = |user: &serde_json::Value, key: &str| user[key].as_str().unwrap_or_default().to_owned();
    users.iter().map(|user| (word(user, "userId"), word(user, "state"), word(user, "reason"))).collect()
}

#[test]
fn users_connect_and_disconnect_by_batches() {
    let redis = Redis::start();
    let ws = start_ws(&redis, &[]);
    let client = start_client(ws.address, &[]);
    assert_eq!(batch(&client, "connect", &["anna", "bert", "anna", "c/d ö"]), 202);
    ws.expect_metric("ws_sessions", 3);
    assert_eq!(batch(&client, "connect", &["anna"]), 202);
    assert_eq!(batch(&client, "disconnect", &["anna", "nobody"]), 202);
    ws.expect_metric("ws_sessions", 2);
    ws.expect_metric("ws_sessions_ended_total{by=\"client\"}", 1);
    client.expect_metric("ws_client_users", 2);
    let connected = |user: &str| (user.to_owned(), "connected".to_owned(), String::new());
    assert_eq!(states(&client), [connected("bert"), connected("c/d ö")]);
    client.shutdown.drain();
    client.join();
    ws.expect_metric("ws_sessions", 0);
}

#[test]
fn a_batch_is_json_whatever_its_type_says() {
    let redis = Redis::start();
    let ws = start_ws(&redis, &[]);
    let client = start_client(ws.address, &[]);
    let connect = |headers, body| {
        ask_with(client.address, "POST", "/route/kickstart/ws/batch/connect", headers, body).0
    };
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    assert_eq!(connect("", r#"{"userIds": ["anna"]}"#), 202);
    assert_eq!(connect(form, r#"{"userIds": ["bert"]}"#), 202);
    ws.expect_metric("ws_sessions", 2);
    for (body, status) in [("", 400), ("userIds=anna", 400), ("{}", 422), (r#"{"userIds": [1]}"#, 422)] {
        assert_eq!(connect(form, body), status, "{body}");
    }
}

#[test]
fn closed_clients_reconnect_and_the_reason_is_shown() {
    let redis = Redis::start();
    let ws =
        start_ws(&redis, &[("MAX_CONNECTIONS_PER_HOST", "1"), ("RETRY_AFTER", "50ms"), ("HOST_ID", "h")]);
    let client = start_client(ws.address, &[]);
    assert_eq!(batch(&client, "connect", &["anna", "bert"]), 202);
    eventually("one of them is refused again and again", || {
        ws.metric("ws_refused_total{reason=\"full\"}") >= 2
    });
    eventually("the reason is shown", || {
        states(&client).iter().any(|(_, state, reason)| {
            state == "waiting" && reason.starts_with("1013 Maximum connections per host reached; retry in ")
        })
    });
    let shed = ask(ws.address, "POST", "/ws-session/h/drop", "").0;
    assert_eq!(shed, 204);
    ws.expect_metric("ws_sessions_ended_total{by=\"rebalanced\"}", 1);
    eventually("there is a session again", || ws.metric("ws_sessions") == 1);
}

#[test]
fn an_absent_server_is_retried_until_it_is_up() {
    let redis = Redis::start();
    let ws = start_ws(&redis, &[]);
    let address = ws.address;
    ws.shutdown.force();
    ws.join();
    let client = start_client(address, &[]);
    assert_eq!(batch(&client, "connect", &["anna"]), 202);
    eventually("attempts fail", || client.metric("ws_client_failures_total") >= 2);
    assert!(states(&client)[0].2.starts_with("127.0.0.1:") || states(&client)[0].1 == "connecting");
    let port = address.port().to_string();
    let ws = start_ws(&redis, &[("PORT", &port)]);
    ws.expect_metric("ws_sessions", 1);
    eventually("it says that it is connected, and why it was not before", || {
        let (_, state, reason) = &states(&client)[0];
        state == "connected" && reason.starts_with("127.0.0.1:")
    });
}

/// As the original's server is, which knows no subprotocol.
#[test]
fn a_server_without_hints_is_still_used() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (give, take) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // The client hangs up on the first answer, because it lacks what was asked for.
            if let Ok(socket) = tokio_tungstenite::tungstenite::accept(stream) {
                let _ = give.send(socket);
            }
        }
    });
    let client = start_client(address, &[]);
    assert_eq!(batch(&client, "connect", &["anna"]), 202);
    client.expect_metric("ws_client_connects_total", 1);
    assert_eq!(client.metric("ws_client_failures_total"), 0);
    settles("connected", ("anna".into(), "connected".into(), String::new()), || states(&client)[0].clone());
    assert_eq!(take.iter().take(2).count(), 2);
}

#[test]
fn bad_batches_are_refused_and_too_many_users_too() {
    let redis = Redis::start();
    let ws = start_ws(&redis, &[]);
    let client = start_client(ws.address, &[("USERS_MAX", "2")]);
    for body in ["", "{}", "[]", r#"{"userIds": "anna"}"#, r#"{"userIds": [1]}"#] {
        let status = ask(client.address, "POST", "/route/kickstart/ws/batch/connect", body).0;
        assert!((400..500).contains(&status), "{body}: {status}");
    }
    assert_eq!(batch(&client, "connect", &["a\nb"]), 400);
    assert_eq!(batch(&client, "connect", &["1", "2", "3"]), 429);
    assert_eq!(batch(&client, "connect", &["1", "2"]), 202);
    client.expect_metric("ws_client_users", 2);
}
