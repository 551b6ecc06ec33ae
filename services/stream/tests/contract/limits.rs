use crate::support::{Ground, Replica};

#[test]
fn clients_beyond_the_limit_are_refused_until_one_leaves() {
    let ground = Ground::new();
    let replica = Replica::start(&ground, &[("MAX_STREAMS", "2")]);
    let (one, two, three) = (ground.pair(), ground.pair(), ground.pair());
    let first = replica.open(&one);
    let _second = replica.open(&two);
    let (event, _) = replica.refused(&three);
    assert_eq!(event.comment.as_deref(), Some("this replica has as many streams as it may have"));
    assert_eq!(event.message(), "Unable to acquire lock");
    replica.expect_metric("stream_refused_total{reason=\"full\"}", 1);
    drop(first);
    replica.expect_metric("users", 1);
    fixtures::eventually("there is room", || replica.connect(&three).next().unwrap().id.is_some());
}
