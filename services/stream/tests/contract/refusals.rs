use crate::profiles::Mood;
use crate::support::{Ground, Replica, key, strangers};

/// Requests a stream and expects the one event of a refusal, with the reason in its comment.
fn expect_refusal(replica: &Replica, pair: &crate::support::Pair, reason: &str) {
    let (event, head) = replica.refused(pair);
    assert!(head.contains("text/event-stream"), "{head}");
    let comment = event.comment.clone().expect("a reason");
    assert!(comment.contains(reason), "{comment}, not {reason}");
    let json = event.json();
    assert_eq!(json["message"], "Unable to acquire lock");
    assert_eq!(json["host"], "stream-0");
    assert_eq!(json["timestamp"].as_str().unwrap().len(), "2026/01/01 00:00:00".len());
    assert_eq!(event.id, None);
}

#[test]
fn an_unbound_user_gets_no_lock() {
    let ground = Ground::new();
    let replica = Replica::start(&ground, &[]);
    let (pair, other) = (ground.pair(), ground.pair());
    let refused = replica.metric("stream_refused_total{reason=\"not_bound\"}");
    expect_refusal(&replica, &strangers(), "the profile does not have this user");
    expect_refusal(&replica, &(pair.0.clone(), other.1.clone()), "the profile does not have this user");
    replica.expect_metric("stream_refused_total{reason=\"not_bound\"}", refused + 2);
    assert_eq!(ground.redis.say(&["DBSIZE"]), ["0"]);
}

#[test]
fn a_pair_is_open_only_once_across_replicas() {
    let ground = Ground::new();
    let (one, two) = (Replica::start(&ground, &[]), Replica::start(&ground, &[]));
    let pair = ground.pair();
    let mut first = one.open(&pair);
    expect_refusal(&one, &pair, "the pair is open, or was a moment ago");
    expect_refusal(&two, &pair, "the pair is open, or was a moment ago");
    one.expect_metric("stream_refused_total{reason=\"locked\"}", 1);
    assert!(first.next().is_some(), "the first one continues");
    // Other pairs of the same user or profile are free.
    ground.profiles.bind(&pair.0, &strangers().1);
    let (other, another) = (ground.pair(), ground.pair());
    ground.profiles.bind(&pair.0, &other.1);
    ground.profiles.bind(&another.0, &pair.1);
    let _same_user = two.open(&(pair.0.clone(), other.1));
    let _same_profile = two.open(&(another.0, pair.1.clone()));
}

#[test]
fn without_answers_from_profiles_all_clients_are_refused_and_readiness_says_so() {
    let ground = Ground::new();
    let replica = Replica::start(&ground, &[("PROFILES_TIMEOUT", "300ms")]);
    let pair = ground.pair();
    for mood in [Mood::Away, Mood::Silent, Mood::Strange] {
        ground.profiles.is(mood);
        // Its address and its answer are not shown to clients.
        expect_refusal(&replica, &pair, "profiles does not answer as it should");
        replica.expect_degraded("profiles");
    }
    ground.profiles.is(Mood::Well);
    let _open = replica.open(&pair);
    replica.expect_all_well();
    assert_eq!(ground.redis.say(&["EXISTS", &key(&pair)]), ["1"]);
}

#[test]
fn without_redis_no_client_gets_a_stream() {
    let mut ground = Ground::new();
    ground.redis.down();
    let replica = Replica::start_alone(&ground, &[]);
    replica.expect_degraded("redis: Redis at 127.0.0.1:");
    let pair = ground.pair();
    expect_refusal(&replica, &pair, "Redis does not answer");
    ground.redis.up();
    replica.expect_all_well();
    let _open = replica.open(&pair);
}

#[test]
fn ids_are_uuids() {
    let ground = Ground::new();
    let replica = Replica::start(&ground, &[]);
    let (good, _) = ground.pair();
    let bad = [
        "anna",
        "1-1-1-1-1",
        "0f8fad5bd9cb469fa16570867728950e",
        "%7B0f8fad5b-d9cb-469f-a165-70867728950e%7D",
        "0f8fad5b-d9cb-469f-a165-70867728950g",
        "%0d%0a",
        "%ff",
        "0f8fad5b-d9cb-469f-a165-70867728950%C3%A9",
    ];
    for bad in bad {
        for page in ["stream", "index"] {
            for path in [format!("/{page}/{bad}/{good}"), format!("/{page}/{good}/{bad}")] {
                let (status, body) = replica.get(&path);
                assert_eq!(status, 400, "{path}: {body}");
                assert!(!body.contains(bad), "what was sent is not repeated: {body}");
            }
        }
    }
    assert_eq!(replica.get(&format!("/stream/{good}")).0, 404);
    let upper = (good.to_uppercase(), good.to_uppercase());
    ground.profiles.bind(&good, &good);
    let _open = replica.open(&upper);
    assert_ne!(ground.owner(&(good.clone(), good)), "(nil)", "a pair has one lock, however it is written");
}
