use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn flow(client: u16) -> Flow {
    Flow { client: ([127, 0, 0, 1], client).into(), listener: 0 }
}

fn session(client: u16, rank: Rank) -> Session {
    let backend = Arc::new(Backend::new("udp-0".into(), ([127, 0, 0, 1], 1).into()));
    let socket = UdpSocket::bind(([127, 0, 0, 1], 0).into()).unwrap();
    Session::new(flow(client), backend, socket, rank)
}

#[test]
fn departed_then_fresh_then_longest_idle_sessions_make_room() {
    let (mut table, start) = (Table::new(), clock::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    let proven = table.insert(session(1, Rank::Proven), at(0));
    let fresh = table.insert(session(2, Rank::Fresh), at(1));
    let left = table.insert(session(3, Rank::Proven), at(2));
    let other = table.insert(session(4, Rank::Fresh), at(3));
    table.leave(left, at(4));
    assert_eq!((table.len(), table.clients()), (4, 3));
    assert_eq!(table.find(flow(3)), None);
    table.touch(fresh, at(5));
    table.prove(other, at(6));
    let mut order = Vec::new();
    while let Some(key) = table.least_worth() {
        order.push(key);
        table.remove(key);
    }
    assert_eq!(order, [left, fresh, proven, other]);
    assert_eq!(table.len(), 0);
}

#[test]
fn a_moved_client_keeps_its_new_session_when_the_old_one_ends() {
    let (mut table, now) = (Table::new(), clock::now());
    let old = table.insert(session(1, Rank::Proven), now);
    table.leave(old, now);
    let new = table.insert(session(1, Rank::Proven), now);
    assert_eq!(table.find(flow(1)), Some(new));
    table.remove(old);
    assert_eq!(table.find(flow(1)), Some(new));
    assert_eq!(table.longest_idle(Rank::Left), None);
}

#[test]
fn memory_per_session_is_a_budget() {
    assert!(size_of::<Session>() <= 224, "{} bytes", size_of::<Session>());
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Insert,
    Touch(usize),
    Prove(usize),
    Remove(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Insert),
        (0_usize..8).prop_map(Step::Touch),
        (0_usize..8).prop_map(Step::Prove),
        (0_usize..8).prop_map(Step::Remove),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Compares the lists with queues that are searched.
    #[test]
    fn sessions_are_ordered_by_last_use(steps in proptest::collection::vec(step(), 1..60)) {
        let (mut table, start) = (Table::new(), clock::now());
        let mut model: [VecDeque<usize>; 2] = Default::default();
        for (time, step) in steps.into_iter().enumerate() {
            let now = start + Duration::from_millis(time as u64 + 1);
            let place = |key: usize, model: &[VecDeque<usize>; 2]| {
                (0..2).find(|&list| model[list].contains(&key))
            };
            match step {
                Step::Insert if table.len() < 8 => {
                    let key = table.insert(session(time as u16 + 1, Rank::Fresh), now);
                    model[0].push_back(key);
                }
                Step::Insert => {}
                Step::Touch(key) => {
                    table.touch(key, now);
                    if let Some(list) = place(key, &model) {
                        model[list].retain(|other| *other != key);
                        model[list].push_back(key);
                    }
                }
                Step::Prove(key) => {
                    table.prove(key, now);
                    if let Some(list) = place(key, &model) {
                        model[list].retain(|other| *other != key);
                        model[1].push_back(key);
                    }
                }
                Step::Remove(key) => {
                    prop_assert_eq!(table.remove(key).is_some(), place(key, &model).is_some());
                    for list in &mut model {
                        list.retain(|other| *other != key);
                    }
                }
            }
            let first = |rank| table.longest_idle(rank).map(|(key, _)| key);
            prop_assert_eq!(first(Rank::Fresh), model[0].front().copied());
            prop_assert_eq!(first(Rank::Proven), model[1].front().copied());
            prop_assert_eq!(table.clients(), model[0].len() + model[1].len());
        }
    }
}
