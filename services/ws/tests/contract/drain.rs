use fixtures::{Redis, eventually, settles};

use crate::support::Ws;

#[test]
fn a_drain_closes_all_clients_and_leaves_nothing_in_redis() {
    let redis = Redis::start();
    let ws = Ws::start(&redis, &[]);
    let clients: Vec<_> = (0..20).map(|user| ws.open(&user.to_string())).collect();
    settles("listed", 20, || ws.users().len());
    ws.shutdown.drain();
    for client in clients {
        assert_eq!(client.closed(), (1001, "Server shutting down".into()));
    }
    eventually("the server ends", || ws.has_ended());
    assert_eq!(redis.say(&["DBSIZE"]), ["0"]);
}

#[test]
fn clients_that_arrive_after_sigterm_are_served_until_balancers_have_noticed() {
    let redis = Redis::start();
    let ws = Ws::start(&redis, &[("SIGTERM_TIMEOUT", "60")]);
    ws.shutdown.drain();
    settles("/readyz", 503, || ws.page("/readyz").0);
    let mut late = ws.open("late");
    assert_eq!(late.say("hi"), "hi");
    ws.shutdown.force();
    eventually("the server ends", || ws.has_ended());
}
