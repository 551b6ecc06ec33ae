use fixtures::settles;

use crate::support::{Ground, Replica, ask, key, path};

#[test]
fn events_match_the_contract() {
    let ground = Ground::new();
    let replica = Replica::start(&ground, &[]);
    let pair = ground.pair();
    let before = clock::wall().as_second();
    let mut client = replica.open(&pair);
    assert!(client.head.contains("content-type: text/event-stream"), "{}", client.head);
    assert!(client.head.contains("cache-control: no-cache"), "{}", client.head);
    assert!(client.head.contains("host-name: stream-0"), "{}", client.head);
    assert_eq!(replica.get("/metrics"), (200, "users 1\n".into()));
    assert_eq!(replica.metric("users"), 1);

    let (first, second) = (client.next().unwrap(), client.next().unwrap());
    assert!(first.second() > before, "the first comes after a second");
    assert_eq!(second.second(), first.second() + 1);
    let json = second.json();
    assert_eq!(json.as_object().unwrap().len(), 3);
    assert_eq!(json["host"], "stream-0");
    let time = jiff::Timestamp::from_second(second.second()).unwrap().to_zoned(jiff::tz::TimeZone::system());
    assert_eq!(json["timestamp"], time.strftime("%Y/%m/%d %H:%M:%S").to_string());
    let message = second.message();
    let letters = message.strip_prefix("Huge message of 1048576+ chars ... ").unwrap();
    assert_eq!(letters.len(), 1_048_576);
    let letter = letters.chars().next().unwrap();
    assert!(('a'..='f').contains(&letter) && letters.chars().all(|other| other == letter));

    let events = replica.metric("stream_events_total");
    assert!(events >= 2 && replica.metric("stream_event_bytes_total") > events * 1_048_576);
    drop(client);
    settles("nobody is left", (200, "users 0\n".to_owned()), || replica.get("/metrics"));
    replica.expect_metric("stream_ended_total{by=\"client\"}", 1);
}

#[test]
fn all_streams_get_the_same_event_of_a_second() {
    let ground = Ground::new();
    let replica = Replica::start(&ground, &[]);
    let pairs = [ground.pair(), ground.pair(), ground.pair()];
    let mut clients = pairs.each_ref().map(|pair| replica.open(pair));
    let mut events = clients.each_mut().map(|client| client.next().unwrap());
    let latest = events.iter().map(crate::support::Event::second).max().unwrap();
    for (client, event) in clients.iter_mut().zip(&mut events) {
        while event.second() < latest {
            *event = client.next().unwrap();
        }
    }
    assert!(events.iter().all(|event| *event == events[0]));
}

#[test]
fn a_head_request_is_answered_completely_and_locks_nothing() {
    let ground = Ground::new();
    let replica = Replica::start(&ground, &[]);
    let pair = ground.pair();
    let (status, head, body) = ask(replica.address, "HEAD", &path(&pair), "");
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(head.contains("text/event-stream"), "{head}");
    assert_eq!(ground.redis.say(&["EXISTS", &key(&pair)]), ["0"]);
}

#[test]
fn the_small_answers_match_the_original() {
    let ground = Ground::new();
    let replica = Replica::start(&ground, &[]);
    assert_eq!(replica.get("/"), (200, "Use /index/userId/profileId/".into()));
    assert_eq!(replica.get("/ping"), (200, "stream-0".into()));
    assert_eq!(replica.get("/health"), (200, String::new()));
    for elsewhere in ["/elsewhere", "/stream", "/stream/", "/index/a/b/c"] {
        let (status, body) = replica.get(elsewhere);
        assert!(
            status == 404 && body.contains("Use /index/userId/profileId/"),
            "{elsewhere}: {status} {body}"
        );
    }
    let pair = ground.pair();
    for path in ["/health", "/metrics", &path(&pair)] {
        let (status, head, body) = ask(replica.address, "POST", path, "");
        assert!(status == 405 && body.contains("Only GET"), "{path}: {status} {body}");
        assert!(head.contains("\r\nallow: get,head"), "{head}");
    }
    assert_eq!(ground.redis.say(&["DBSIZE"]), ["0"], "and nothing is locked");
}

#[test]
fn a_client_returning_with_its_last_id_gets_the_events_due_then() {
    let ground = Ground::new();
    let replica = Replica::start(&ground, &[("LOCK_RELEASE", "true")]);
    let pair = ground.pair();
    let mut client = replica.open(&pair);
    let last = client.next().unwrap().second();
    drop(client);
    settles("the pair is free", "(nil)".to_owned(), || ground.owner(&pair));
    let mut client = replica.connect_with(&pair, &format!("Last-Event-ID: {last}\r\n"));
    assert!(client.next().unwrap().second() > last);
}
