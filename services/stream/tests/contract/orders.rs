use fixtures::{eventually, settles};

use crate::support::{Ground, Replica, ask_with};

const CHANNEL: &str = "drop-persistent-sse-sessions";
const MOVED: &str = "another replica has more room";

#[test]
fn an_order_ends_the_longest_idle_streams_and_frees_their_pairs() {
    let ground = Ground::new();
    let one = Replica::start(&ground, &[("HOST_ID", "10.0.0.1")]);
    let two = Replica::start(&ground, &[("HOST_ID", "10.0.0.2")]);
    let (oldest, younger) = (ground.pair(), ground.pair());
    let mut first = one.open(&oldest);
    fixtures::pause(std::time::Duration::from_millis(5));
    let mut second = one.open(&younger);
    let order = |payload: &str| {
        eventually("both listen", || ground.redis.say(&["PUBLISH", CHANNEL, payload]) == ["2"]);
    };
    order("nonsense");
    order(r#"{"10.0.0.3": 3}"#);
    order(r#"{"10.0.0.1": 1, "10.0.0.2": 4}"#);
    let last = std::iter::from_fn(|| first.next()).last().unwrap();
    assert_eq!(last.comment.as_deref(), Some(MOVED));
    let retry = last.retry.expect("when to come back");
    assert!((5000..=7500).contains(&retry), "{retry}");
    one.expect_metric("stream_ended_total{by=\"shed\"}", 1);
    settles("its pair is free", "(nil)".to_owned(), || ground.owner(&oldest));
    let mut moved = two.open(&oldest);
    assert!(moved.next().unwrap().id.is_some() && second.next().unwrap().id.is_some());
}

#[test]
fn the_admin_port_takes_the_same_orders_with_the_token() {
    const TOKEN: &str = "correct-horse-battery";
    let ground = Ground::new();
    let replica = Replica::start(&ground, &[("SHED_TOKEN", TOKEN)]);
    let pairs = [ground.pair(), ground.pair(), ground.pair()];
    let clients = pairs.each_ref().map(|pair| replica.open(pair));
    let order = |headers: &str| ask_with(replica.admin, "POST", "/shed", headers, r#"{"id":"a","count":2}"#);
    assert_eq!(order("").0, 401);
    let (status, _, body) = order(&format!("Authorization: Bearer {TOKEN}\r\n"));
    assert_eq!((status, body.as_str()), (200, r#"{"id":"a","accepted":2}"#));
    replica.expect_metric("users", 1);
    let [mut first, mut second, mut third] = clients;
    for client in [&mut first, &mut second] {
        let last = std::iter::from_fn(|| client.next()).last().unwrap();
        assert_eq!(last.comment.as_deref(), Some(MOVED));
    }
    assert!(third.next().unwrap().id.is_some());
}
