use fixtures::{eventually, settles};

use crate::support::{Ground, Replica, key};

/// Frequent refreshes and a short TTL.
const QUICK: [(&str, &str); 2] = [("LOCK_TTL", "3"), ("LOCK_REFRESH", "100ms")];

#[test]
fn a_lock_has_an_owner_and_an_expiry_and_the_session_is_listed() {
    let ground = Ground::new();
    let replica = Replica::start(&ground, &[("HOST_ID", "10.0.0.1")]);
    let pair = ground.pair();
    let client = replica.open(&pair);
    let owner = ground.owner(&pair);
    let life = ground.life(&pair);
    assert!((1..=60_000).contains(&life), "{life}");
    let session = format!("SseSession#{owner}");
    settles("the session", vec![session.clone()], || ground.sessions());
    let user = &pair.0;
    let expected = format!(r#"{{"userId":"{user}","sessionId":"{owner}","hostId":"10.0.0.1"}}"#);
    assert_eq!(ground.redis.say(&["GET", &session]), [expected]);
    let life: i64 = ground.redis.say(&["PTTL", &session])[0].parse().unwrap();
    assert!((1..=30_000).contains(&life), "{life}");

    drop(client);
    settles("the session is gone", Vec::<String>::new(), || ground.sessions());
    assert_eq!(ground.owner(&pair), owner, "the lock is left to expire");
    assert_eq!(replica.refused(&pair).0.message(), "Unable to acquire lock");
}

#[test]
fn a_lock_lives_as_long_as_its_stream() {
    let ground = Ground::new();
    let replica = Replica::start(&ground, &QUICK);
    let pair = ground.pair();
    let mut client = replica.open(&pair);
    let owner = ground.owner(&pair);
    // Longer than the lock's TTL.
    for _ in 0..4 {
        assert!(client.next().unwrap().id.is_some());
    }
    assert_eq!(ground.owner(&pair), owner);
    eventually("it was refreshed a moment ago", || {
        let life = ground.life(&pair);
        assert!(life <= 3000, "{life}");
        life > 1000
    });
    drop(client);
    settles("the pair is free", "(nil)".to_owned(), || ground.owner(&pair));
    let mut again = replica.open(&pair);
    assert!(again.next().unwrap().id.is_some());
    assert_ne!(ground.owner(&pair), owner);
}

#[test]
fn a_pair_can_be_freed_at_once() {
    let ground = Ground::new();
    let replica = Replica::start(&ground, &[("LOCK_RELEASE", "true")]);
    let pair = ground.pair();
    for _ in 0..3 {
        drop(replica.open(&pair));
        settles("the pair is free", "(nil)".to_owned(), || ground.owner(&pair));
    }
}

#[test]
fn a_lock_taken_by_another_client_ends_the_stream_and_is_left_alone() {
    let ground = Ground::new();
    // If the lock were still its own, it would be freed at once.
    let replica = Replica::start(&ground, &[QUICK[0], QUICK[1], ("LOCK_RELEASE", "true")]);
    let (lost, kept) = (ground.pair(), ground.pair());
    let mut client = replica.open(&lost);
    let mut other = replica.open(&kept);
    ground.redis.say(&["SET", &key(&lost), "theirs", "PX", "600000"]);
    let last = std::iter::from_fn(|| client.next()).last().unwrap();
    assert_eq!(last.comment.as_deref(), Some("the lock is lost"));
    assert_eq!((last.data, last.retry), (None, None));
    replica.expect_metric("stream_ended_total{by=\"lock_lost\"}", 1);
    assert!(other.next().unwrap().id.is_some());
    assert_eq!(ground.owner(&lost), "theirs");
    let life = ground.life(&lost);
    assert!(life > 300_000, "its life is not ours to set: {life}");
    assert_eq!(ground.sessions().len(), 1);
}

#[test]
fn a_missing_lock_ends_the_stream() {
    let ground = Ground::new();
    let replica = Replica::start(&ground, &QUICK);
    let pair = ground.pair();
    let mut client = replica.open(&pair);
    ground.redis.say(&["DEL", &key(&pair)]);
    let last = std::iter::from_fn(|| client.next()).last().unwrap();
    assert_eq!(last.comment.as_deref(), Some("the lock is lost"));
    assert_eq!(ground.owner(&pair), "(nil)", "nobody takes it back");
}

#[test]
fn many_locks_are_refreshed_in_one_batch() {
    let ground = Ground::new();
    // TTLs that a busy machine can check before they expire.
    let replica = Replica::start(&ground, &[("LOCK_TTL", "60"), QUICK[1]]);
    // Only a few: a full step would need more memory than a test should use.
    let pairs: Vec<_> = (0..40).map(|_| ground.pair()).collect();
    let _clients: Vec<_> = pairs.iter().map(|pair| replica.connect(pair)).collect();
    replica.expect_metric("users", 40);
    // Each of them is refreshed again and again.
    for _ in 0..2 {
        for pair in &pairs {
            ground.redis.say(&["PEXPIRE", &key(pair), "30000"]);
        }
        for pair in &pairs {
            eventually("it has a new life", || ground.life(pair) > 30_000);
        }
    }
    assert_eq!(replica.metric("users"), 40);
}
