use fixtures::settles;

use crate::support::{Ground, Replica};

#[test]
fn a_drain_notifies_all_clients_and_frees_their_pairs_and_sessions() {
    let ground = Ground::new();
    let replica = Replica::start(&ground, &[("DRAIN_GRACE", "300ms")]);
    let pairs = [ground.pair(), ground.pair(), ground.pair()];
    let [mut one, mut two, silent] = pairs.each_ref().map(|pair| replica.open(pair));
    let skipped = replica.metric("stream_events_skipped_total");
    let readers = std::thread::spawn(move || {
        [&mut one, &mut two].map(|client| std::iter::from_fn(|| client.next()).last().unwrap())
    });
    fixtures::eventually("the third does not read", || {
        replica.metric("stream_events_skipped_total") > skipped
    });
    replica.shutdown.drain();
    for last in readers.join().unwrap() {
        assert_eq!(last.comment.as_deref(), Some("this replica shuts down"));
        assert!(last.retry.is_some());
    }
    fixtures::eventually("it ends", || replica.has_ended());
    for pair in &pairs {
        settles("free", "(nil)".to_owned(), || ground.owner(pair));
    }
    assert_eq!(ground.sessions(), Vec::<String>::new());
    drop(silent);
}
