use crate::support::{Ground, Replica};

#[test]
fn streams_continue_while_redis_is_away_and_end_if_it_returns_without_their_locks() {
    let mut ground = Ground::new();
    let replica = Replica::start(&ground, &[]);
    let pair = ground.pair();
    let mut client = replica.open(&pair);
    client.next().unwrap();
    ground.redis.down();
    replica.expect_degraded("redis");
    assert!(client.next().unwrap().id.is_some());
    let (event, _) = replica.refused(&ground.pair());
    assert!(event.comment.unwrap().contains("Redis does not answer"), "nobody new");
    ground.redis.up();
    replica.expect_all_well();
    // It is empty, so any client can take the pair.
    let last = std::iter::from_fn(|| client.next()).last().unwrap();
    assert_eq!(last.comment.as_deref(), Some("the lock is lost"));
    assert!(replica.open(&pair).next().unwrap().id.is_some());
}

#[test]
fn a_stream_whose_lock_may_have_expired_ends_by_itself() {
    let mut ground = Ground::new();
    let replica = Replica::start(&ground, &[("LOCK_TTL", "3"), ("LOCK_REFRESH", "1")]);
    let pair = ground.pair();
    let mut client = replica.open(&pair);
    client.next().unwrap();
    ground.redis.down();
    let last = std::iter::from_fn(|| client.next()).last().unwrap();
    assert_eq!(last.comment.as_deref(), Some("Redis has not confirmed the lock for too long"));
    replica.expect_metric("stream_ended_total{by=\"lock_unknown\"}", 1);
}
