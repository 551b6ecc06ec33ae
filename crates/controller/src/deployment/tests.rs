use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn view(uid: u64, current: bool, ready: bool, now: Time) -> View {
    View {
        current,
        candidate: Candidate {
            uid,
            node: 0,
            running: true,
            ready_since: ready.then_some(now),
            deletion_cost: 0,
            restarts: 0,
            created: now,
        },
    }
}

#[test]
fn scaling_starts_missing_replicas_and_drains_surplus_ones() {
    let now = Time::ZERO;
    assert_eq!(plan(3, &[view(0, true, true, now)], now), Plan { start: 2, drain: vec![] });
    let three = [view(0, true, true, now), view(1, true, false, now), view(2, true, true, now)];
    assert_eq!(plan(2, &three, now), Plan { start: 0, drain: vec![1] });
    assert_eq!(plan(0, &three, now).drain.len(), 3);
    assert_eq!(plan(3, &three, now), Plan::default());
}

#[test]
fn a_replacement_is_started_before_the_old_one_goes() {
    let now = Time::ZERO;
    assert_eq!(plan(1, &[view(0, false, true, now)], now), Plan { start: 1, drain: vec![] });
    let starting = [view(0, false, true, now), view(1, true, false, now)];
    assert_eq!(plan(1, &starting, now), Plan::default());
    let ready = [view(0, false, true, now), view(1, true, true, now)];
    assert_eq!(plan(1, &ready, now), Plan { start: 0, drain: vec![0] });
}

#[test]
fn an_unready_old_replica_is_drained_at_once() {
    let now = Time::ZERO;
    let replicas = [view(0, false, false, now), view(1, true, false, now)];
    assert_eq!(plan(1, &replicas, now), Plan { start: 0, drain: vec![0] });
}

#[test]
fn an_unready_old_replica_stays_unless_there_are_more_than_desired() {
    let now = Time::ZERO;
    let replicas = [view(0, false, false, now), view(1, false, true, now)];
    assert_eq!(plan(2, &replicas, now), Plan { start: 1, drain: vec![] });
}

#[test]
fn a_scale_down_during_a_rollout_still_allows_a_surplus_of_one() {
    let now = Time::ZERO;
    let old = |uid| view(uid, false, true, now);
    let starting = |uid| view(uid, true, false, now);
    // Four were desired; now two are, and both old ones must stay until a new one is ready.
    let replicas = [old(0), old(1), starting(2), starting(3), starting(4)];
    assert_eq!(plan(2, &replicas, now), Plan { start: 0, drain: vec![4, 3] });
    // One of the new ones is ready: it stays, and an old one goes.
    let replicas = [old(0), old(1), view(2, true, true, now), starting(3)];
    assert_eq!(plan(2, &replicas, now), Plan { start: 0, drain: vec![1] });
}

proptest! {
    /// Carrying out plan after plan, with every new replica becoming ready, ends with the desired number of current
    /// replicas. On the way there is never more than one too many, and never fewer ready ones than before or desired.
    #[test]
    fn rollouts_converge_and_stay_within_their_bounds(
        desired in 0_u32..6,
        replicas in proptest::collection::vec((any::<bool>(), any::<bool>()), 0..8),
    ) {
        let now = Time::ZERO + Duration::from_secs(100);
        let mut views: Vec<View> = replicas
            .iter()
            .enumerate()
            .map(|(uid, (current, ready))| view(uid as u64, *current, *ready, now))
            .collect();
        let ready = |views: &[View]| views.iter().filter(|view| view.candidate.ready_since.is_some()).count();
        let mut next_uid = 100;
        for _ in 0..40 {
            let step = plan(desired, &views, now);
            if step == Plan::default() && views.iter().all(|view| view.candidate.ready_since.is_some()) {
                break;
            }
            let (before, many) = (ready(&views), views.len());
            views.retain(|view| !step.drain.contains(&view.candidate.uid));
            prop_assert!(ready(&views) >= before.min(desired as usize));
            for _ in 0..step.start {
                views.push(view(next_uid, true, false, now));
                next_uid += 1;
            }
            prop_assert!(views.len() <= many.max(desired as usize + 1));
            if step == Plan::default() {
                for view in &mut views {
                    view.candidate.ready_since = Some(now);
                }
            }
        }
        prop_assert_eq!(views.len(), desired as usize);
        prop_assert!(views.iter().all(|view| view.current));
    }
}
