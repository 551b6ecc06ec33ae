use fixtures::{Redis, eventually, settles};

use crate::support::Ws;

#[test]
fn text_is_echoed_and_open_sessions_are_listed_on_every_host() {
    let redis = Redis::start();
    let (one, two) =
        (Ws::start(&redis, &[("HOST_ID", "10.0.0.1")]), Ws::start(&redis, &[("HOST_ID", "10.0.0.2")]));
    let mut anna = one.open("anna");
    let _bert = two.open("bert");
    assert_eq!(anna.say("msg:12345"), "msg:12345");
    assert_eq!(anna.say(""), "");
    settles("all sessions", ["anna".to_owned(), "bert".to_owned()].to_vec(), || two.users());
    let (_, body) = one.get("/ws-session/all/runtime");
    let ids: Vec<String> = serde_json::from_str(&body).unwrap();
    let [id] = &ids[..] else { panic!("{ids:?}") };
    let stored = redis.say(&["GET", &format!("WsSession#{id}")]);
    assert_eq!(stored, [format!(r#"{{"userId":"anna","sessionId":"{id}","hostId":"10.0.0.1"}}"#)]);
    assert_eq!(one.metric("ws_sessions"), 1);

    anna.0.close(None).unwrap();
    settles("what is left", ["bert".to_owned()].to_vec(), || one.users());
    one.expect_metric("ws_sessions", 0);
    one.expect_metric("ws_sessions_ended_total{by=\"client\"}", 1);
}

#[test]
fn a_client_that_disappears_is_forgotten() {
    let redis = Redis::start();
    let ws = Ws::start(&redis, &[]);
    drop(ws.open("anna"));
    ws.expect_metric("ws_sessions_opened_total", 1);
    ws.expect_metric("ws_sessions", 0);
    // It has not violated the protocol.
    ws.expect_metric("ws_sessions_ended_total{by=\"client\"}", 1);
    ws.expect_metric("ws_sessions_ended_total{by=\"refused\"}", 0);
    settles("Redis is empty", ["0".to_owned()].to_vec(), || redis.say(&["DBSIZE"]));
}

#[test]
fn a_user_may_connect_twice_and_have_any_name() {
    let redis = Redis::start();
    let ws = Ws::start(&redis, &[]);
    let _sessions = [ws.open("anna"), ws.open("anna"), ws.open("J%C3%B6rg%20%22%7B%7D%22")];
    let expected = vec!["Jörg \"{}\"".to_owned(), "anna".into(), "anna".into()];
    settles("the users", expected, || ws.users());
}

#[test]
fn sessions_live_as_long_as_their_host() {
    let redis = Redis::start();
    let ws = Ws::start(&redis, &[("SESSION_REFRESH", "100ms")]);
    let _anna = ws.open("anna");
    settles("there", vec!["anna".to_owned()], || ws.users());
    let (_, body) = ws.get("/ws-session/all/runtime");
    let id = body.trim_matches(['[', ']', '"']).to_owned();
    let key = format!("WsSession#{id}");
    eventually("it has a life of three refreshes at most", || {
        let life: i64 = redis.say(&["PTTL", &key])[0].parse().unwrap();
        assert!(life <= 300, "{life}");
        // On a busy machine it may expire before it is written again.
        life > 0
    });
    // Another client removes it: the next refresh writes it again.
    redis.say(&["DEL", &key]);
    settles("written again", vec!["anna".to_owned()], || ws.users());
}
