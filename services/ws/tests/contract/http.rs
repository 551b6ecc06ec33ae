use fixtures::Redis;

use crate::support::Ws;

#[test]
fn health_checks_and_other_paths() {
    let redis = Redis::start();
    let ws = Ws::start(&redis, &[]);
    assert_eq!(ws.get("/").0, 200);
    assert_eq!(ws.get("/ws-session/all/runtime"), (200, "[]".into()));
    assert_eq!(ws.get("/nothing").0, 404);
    let (status, _, _) = ws.ask("POST", "/ws-session/all", "", "");
    assert_eq!(status, 405);
    ws.expect_all_well();
    assert_eq!(ws.get("/ws-session/all"), (200, "[]".into()));
}

#[test]
fn pages_of_any_origin_may_send_requests_even_from_a_public_address() {
    let redis = Redis::start();
    let ws = Ws::start(&redis, &[]);
    let (status, head, _) = ws.ask("GET", "/ws-session/all/runtime", "Origin: http://page:4200\r\n", "");
    assert_eq!(status, 200);
    assert!(head.contains("access-control-allow-origin: *"), "{head}");
    let preflight = "Origin: http://page:4200\r\nAccess-Control-Request-Method: POST\r\n\
        Access-Control-Request-Headers: content-type\r\nAccess-Control-Request-Private-Network: true\r\n";
    let (status, head, _) = ws.ask("OPTIONS", "/ws-session/10.0.0.1/drop", preflight, "");
    assert_eq!(status, 200);
    for line in [
        "access-control-allow-origin: *",
        "access-control-allow-methods: *",
        "access-control-allow-headers: *",
        "access-control-allow-private-network: true",
    ] {
        assert!(head.contains(line), "{line} in {head}");
    }
}

#[test]
fn an_invalid_session_is_refused_with_a_reason() {
    let redis = Redis::start();
    let ws = Ws::start(&redis, &[]);
    // No upgrade.
    assert_eq!(ws.get("/api/v1/websocket/anna").0, 400);
    for user in [&"x".repeat(129), "a%0Ab", "%00"] {
        let refusal = ws.try_open(user, &[]).err().expect("refused");
        assert!(refusal.contains("400"), "{refusal}");
    }
    ws.expect_metric("ws_refused_total{reason=\"request\"}", 4);
    assert_eq!(ws.open(&"x".repeat(128)).say("hi"), "hi");
}
