use fixtures::{Redis, eventually, settles};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Ws, ask};

const CHANNEL: &str = "drop-persistent-sessions";
const MOVED: (u16, &str) = (4001, "Server Rebalancing");

/// Publishes an order until the server receives it.
fn order(redis: &Redis, payload: &str) {
    eventually("the server listens", || redis.say(&["PUBLISH", CHANNEL, payload]) == ["1"]);
}

#[test]
fn an_order_closes_the_longest_idle_sessions() {
    let redis = Redis::start();
    let ws = Ws::start(&redis, &[("HOST_ID", "10.0.0.1")]);
    let mut first = ws.open("first");
    let second = ws.open("second");
    let mut third = ws.open("third");
    ws.expect_metric("ws_sessions", 3);
    // Activity, by a message and by a ping: now the second session is idle longest.
    fixtures::pause(std::time::Duration::from_millis(5));
    first.say("hi");
    third.0.send(Message::Ping("x".into())).unwrap();
    assert!(matches!(third.hear(), Message::Pong(_)));
    order(&redis, r#"{"10.0.0.2": 3}"#);
    order(&redis, "nonsense");
    order(&redis, r#"{"10.0.0.2": 1, "10.0.0.1": 1}"#);
    let (code, reason) = second.closed();
    assert_eq!((code, &*reason), MOVED);
    settles("who is left", vec!["first".to_owned(), "third".into()], || ws.users());
    assert!(first.is_open() && third.is_open());
    ws.expect_metric("ws_sessions_ended_total{by=\"rebalanced\"}", 1);
}

#[test]
fn http_takes_the_same_orders_for_this_host_only() {
    let redis = Redis::start();
    let ws = Ws::start(&redis, &[("HOST_ID", "10.0.0.1")]);
    let clients = ["1", "2", "3"].map(|user| ws.open(user));
    // Idle for a shorter time than all others, to the millisecond.
    fixtures::pause(std::time::Duration::from_millis(5));
    let mut four = ws.open("4");
    ws.expect_metric("ws_sessions", 4);
    let drop = |host: &str, body: &str| ws.ask("POST", &format!("/ws-session/{host}/drop"), "", body).0;
    assert_eq!(drop("10.0.0.2", ""), 204);
    for bad in ["many", "[2]", "[]", "null", "2", "{"] {
        assert_eq!(drop("10.0.0.1", bad), 400, "{bad}");
    }
    assert_eq!(drop("10.0.0.1", r#"{"count": -1}"#), 400);
    assert_eq!(drop("10.0.0.1", ""), 204);
    assert_eq!(drop("10.0.0.1", r#"{"count": 2}"#), 204);
    ws.expect_metric("ws_sessions_ended_total{by=\"rebalanced\"}", 0);
    for client in clients {
        let (code, reason) = client.closed();
        assert_eq!((code, &*reason), MOVED);
    }
    assert!(four.is_open());
}

#[test]
fn the_admin_port_takes_the_same_orders_with_the_token() {
    const TOKEN: &str = "correct-horse-battery";
    let redis = Redis::start();
    let ws = Ws::start(&redis, &[("SHED_TOKEN", TOKEN)]);
    let first = ws.open("first");
    let second = ws.open("second");
    let mut third = ws.open("third");
    ws.expect_metric("ws_sessions", 3);
    fixtures::pause(std::time::Duration::from_millis(5));
    third.say("hi");
    let order = |headers: &str| ask(ws.admin, "POST", "/shed", headers, r#"{"id":"a","count":2}"#);
    assert_eq!(order("").0, 401);
    assert!(third.is_open());
    let (status, _, body) = order(&format!("Authorization: Bearer {TOKEN}\r\n"));
    assert_eq!((status, body.as_str()), (200, r#"{"id":"a","accepted":2}"#));
    for client in [first, second] {
        let (code, reason) = client.closed();
        assert_eq!((code, &*reason), MOVED);
    }
    assert!(third.is_open());
}
