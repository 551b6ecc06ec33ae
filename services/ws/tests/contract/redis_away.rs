use fixtures::{Redis, settles};

use crate::support::Ws;

#[test]
fn without_redis_sessions_go_on_and_are_listed_when_it_is_back() {
    let mut redis = Redis::start();
    redis.down();
    let ws = Ws::start(&redis, &[("SESSION_REFRESH", "200ms")]);
    ws.expect_degraded("redis: Redis at 127.0.0.1:");
    let mut anna = ws.open("anna");
    assert_eq!(anna.say("hi"), "hi");
    let (status, head, body) = ws.ask("GET", "/ws-session/all", "", "");
    assert_eq!(status, 503, "{body}");
    assert!(head.contains("retry-after: 5") && body.contains("is away"), "{head} {body}");

    redis.up();
    ws.expect_all_well();
    settles("listed", vec!["anna".to_owned()], || ws.users());

    // Away again with changes in between, and back with nothing in it.
    redis.down();
    ws.expect_degraded("redis");
    let _bert = ws.open("bert");
    drop(anna);
    ws.expect_metric("ws_sessions", 1);
    redis.up();
    ws.expect_all_well();
    settles("listed", vec!["bert".to_owned()], || ws.users());
}
