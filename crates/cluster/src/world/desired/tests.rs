use super::*;

fn now(t_ms: u64) -> Now {
    let wall = Timestamp::from_millisecond(1_700_000_000_000 + t_ms.cast_signed()).unwrap();
    Now { t_ms, wall }
}

const AUTOSCALED: Facts =
    Facts { autoscaled: true, blind: false, broken: false, mended_ms: 0, last_scale: None };

fn message(to: u32) -> String {
    format!("New size: {to}; reason: test")
}

fn controller(from: u32, to: u32, t_ms: u64) -> Decided {
    Decided { from, to, t_ms, by: By::Controller(Some(message(to))) }
}

#[test]
fn whatever_comes_first_a_change_is_told_once_with_its_reason() {
    for (set_ms, said_ms) in [(100, 150), (150, 100), (100, 2_900), (2_900, 100)] {
        let mut desired = Desired::default();
        let mut decided = Vec::new();
        for t_ms in (0..20_000).step_by(50) {
            if t_ms == set_ms {
                desired.set(now(t_ms), 1, 2, Writer::Autoscaler);
            }
            if t_ms == said_ms {
                desired.announce(now(t_ms), 2, &message(2), Some(now(t_ms).wall));
            }
            decided.extend(desired.decide(now(t_ms), AUTOSCALED));
        }
        assert_eq!(decided, [controller(1, 2, set_ms)], "set at {set_ms}, said at {said_ms}");
    }
}

#[test]
fn changes_that_nobody_saw_are_told_from_what_the_controller_said() {
    let mut desired = Desired::default();
    // One after another while the connection was lost: the workload shows only the last number.
    desired.set(now(5_000), 1, 4, Writer::Autoscaler);
    for (to, second) in [(4, 40), (2, 10), (3, 20)] {
        let said = now(0).wall.checked_add(jiff::SignedDuration::from_secs(second)).unwrap();
        desired.announce(now(5_100), to, &message(to), Some(said));
    }
    let decided = desired.decide(now(6_000), AUTOSCALED);
    assert_eq!(decided, [controller(1, 2, 5_000), controller(2, 3, 5_000), controller(3, 4, 5_000)]);
}

#[test]
fn a_hand_is_told_at_once() {
    let mut desired = Desired::default();
    desired.set(now(10), 1, 5, Writer::Other("kubectl".to_owned()));
    let by = By::Hand(Some("kubectl".to_owned()));
    assert_eq!(desired.decide(now(10), AUTOSCALED), [Decided { from: 1, to: 5, t_ms: 10, by }]);
    desired.set(now(20), 5, 6, Writer::Unknown);
    let decided = desired.decide(now(20), Facts::default());
    assert_eq!(decided, [Decided { from: 5, to: 6, t_ms: 20, by: By::Hand(None) }]);
}

#[test]
fn a_controller_that_says_nothing_is_waited_for_but_not_for_ever() {
    let decide = |facts: Facts, t_ms: u64| {
        let mut desired = Desired::default();
        desired.set(now(0), 2, 1, Writer::Autoscaler);
        desired.decide(now(t_ms), facts)
    };
    let alone = [Decided { from: 2, to: 1, t_ms: 0, by: By::Controller(None) }];
    assert_eq!(decide(AUTOSCALED, WAIT_MS - 1), []);
    assert_eq!(decide(AUTOSCALED, WAIT_MS), alone);
    let broken = Facts { broken: true, ..AUTOSCALED };
    assert_eq!(decide(broken, WAIT_BROKEN_MS - 1), [], "its event may come when the watch is back");
    assert_eq!(decide(broken, WAIT_BROKEN_MS), alone);
    let mended = Facts { mended_ms: 20_000, ..AUTOSCALED };
    let last_ms = 20_000 + WAIT_MENDED_MS - 1;
    assert_eq!(decide(mended, last_ms), [], "the controller may still send its event again");
    assert_eq!(decide(mended, last_ms + 1), alone);
}

#[test]
fn an_object_that_does_not_say_who_wrote_it_is_compared_with_the_autoscalers_status() {
    let decide = |last_scale: Option<(Timestamp, u32)>| {
        let mut desired = Desired::default();
        desired.begin(Some(now(10_000).wall));
        // Seen long after it happened, because the connection was lost.
        desired.set(now(60_000), 1, 2, Writer::Unknown);
        let decided = desired.decide(now(60_000 + WAIT_MS), Facts { last_scale, ..AUTOSCALED });
        decided.into_iter().map(|one| one.by).collect::<Vec<_>>()
    };
    assert_eq!(decide(Some((now(30_000).wall, 2))), [By::Controller(None)]);
    assert_eq!(decide(Some((now(30_000).wall, 3))), [By::Hand(None)], "it set another count");
    assert_eq!(decide(Some((now(10_000).wall, 2))), [By::Hand(None)], "that was before");
    assert_eq!(decide(None), [By::Hand(None)]);
}

#[test]
fn a_workload_that_cannot_be_read_changes_when_the_controller_says_so() {
    let mut desired = Desired::default();
    let blind = Facts { blind: true, ..AUTOSCALED };
    desired.announce(now(10), 2, &message(2), None);
    assert_eq!(desired.decide(now(10), blind), [], "from what, nobody knows");
    desired.announce(now(20), 3, &message(3), None);
    assert_eq!(desired.decide(now(20), blind), [controller(2, 3, 20)]);
}

#[test]
fn a_late_event_is_no_second_change() {
    let mut desired = Desired::default();
    desired.set(now(0), 1, 2, Writer::Autoscaler);
    assert_eq!(desired.decide(now(WAIT_MS), AUTOSCALED).len(), 1);
    desired.announce(now(9_000), 2, &message(2), None);
    assert_eq!(desired.decide(now(9_000), AUTOSCALED), []);
    desired.set(now(10_000), 2, 1, Writer::Autoscaler);
    desired.set(now(10_001), 1, 2, Writer::Autoscaler);
    for to in [1, 2] {
        desired.announce(now(10_002), to, &message(to), None);
    }
    assert_eq!(desired.decide(now(11_000), AUTOSCALED), [controller(2, 1, 10_000), controller(1, 2, 10_001)]);
}
