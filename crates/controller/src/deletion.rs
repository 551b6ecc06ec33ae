//! Which surplus replica is removed first: the order of the ReplicaSet controller.
//!
//! Source: `ActivePodsWithRanks.Less` of Kubernetes' `pkg/controller/controller_utils.go` with
//! `LogarithmicScaleDown` on, as it is by default. The clock is the caller's.

use std::{cmp::Ordering, collections::BTreeMap};

use crate::Time;

/// The properties that the order compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Breaks ties, like a pod's UID; the larger goes first. Upstream's are random, so any order is equally faithful,
    /// and with growing numbers the newer replica goes, which has fewer long-lived connections.
    pub(crate) uid: u64,
    pub(crate) node: u32,
    /// Its process runs (a pod's phase Running; otherwise Pending).
    pub(crate) running: bool,
    /// Since when it is ready; `None`: it is not.
    pub(crate) ready_since: Option<Time>,
    /// `controller.kubernetes.io/pod-deletion-cost`; lower goes first.
    pub(crate) deletion_cost: i32,
    pub(crate) restarts: u32,
    pub(crate) created: Time,
}

/// Indices of `candidates`, in the order of removal.
pub(crate) fn order(candidates: &[Candidate], now: Time) -> Vec<usize> {
    let mut per_node: BTreeMap<u32, usize> = BTreeMap::new();
    for candidate in candidates {
        *per_node.entry(candidate.node).or_default() += 1;
    }
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(candidates[index].uid));
    // Upstream's `Less` is not a total order: of three that became ready in one bucket, two of them at the same moment,
    // each may go before the next. The library's sort panics on that, an insertion sort does not.
    for end in 1..order.len() {
        let mut place = end;
        while place > 0 {
            let (a, b) = (&candidates[order[place]], &candidates[order[place - 1]]);
            if goes_first(a, b, (per_node[&a.node], per_node[&b.node]), now) != Ordering::Less {
                break;
            }
            order.swap(place, place - 1);
            place -= 1;
        }
    }
    order
}

/// `Less`: whether the first one goes first. `on_node`: how many replicas share each one's node.
fn goes_first(a: &Candidate, b: &Candidate, on_node: (usize, usize), now: Time) -> Ordering {
    a.running
        .cmp(&b.running)
        .then_with(|| a.ready_since.is_some().cmp(&b.ready_since.is_some()))
        .then_with(|| a.deletion_cost.cmp(&b.deletion_cost))
        .then_with(|| on_node.1.cmp(&on_node.0))
        .then_with(|| match (a.ready_since, b.ready_since) {
            // Within one bucket upstream decides by UID at once, without comparing restarts.
            (Some(since_a), Some(since_b)) if since_a != since_b => {
                bucket(since_a, now).cmp(&bucket(since_b, now)).then_with(|| b.uid.cmp(&a.uid))
            }
            _ => Ordering::Equal,
        })
        .then_with(|| b.restarts.cmp(&a.restarts))
        .then_with(|| bucket(a.created, now).cmp(&bucket(b.created, now)))
        .then_with(|| b.uid.cmp(&a.uid))
}

/// Ages fall into buckets by powers of two, so that a few seconds between two old replicas make no difference.
fn bucket(since: Time, now: Time) -> i64 {
    match now.since(since).as_nanos() {
        0 => -1,
        age => i64::from(age.ilog2()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at(start: Time, seconds: u64) -> Time {
        start + Duration::from_secs(seconds)
    }

    fn ready(uid: u64, start: Time) -> Candidate {
        Candidate {
            uid,
            node: u32::try_from(uid).unwrap(),
            running: true,
            ready_since: Some(start),
            deletion_cost: 0,
            restarts: 0,
            created: start,
        }
    }

    fn first(candidates: &[Candidate], now: Time) -> u64 {
        candidates[order(candidates, now)[0]].uid
    }

    #[test]
    fn each_rule_beats_those_below_it() {
        let start = Time::ZERO;
        let now = at(start, 1000);
        let base = || vec![ready(0, start), ready(1, start), ready(2, start)];

        let mut pods = base();
        pods[1].running = false;
        pods[2].ready_since = None;
        assert_eq!(first(&pods, now), 1, "pending before running");

        let mut pods = base();
        pods[2].ready_since = None;
        pods[1].deletion_cost = -100;
        assert_eq!(first(&pods, now), 2, "not ready before ready");

        let mut pods = base();
        pods[1].deletion_cost = -100;
        pods[2].node = 0;
        assert_eq!(first(&pods, now), 1, "lower cost before doubled up");

        let mut pods = base();
        pods[2].node = 1;
        pods[0].ready_since = Some(at(start, 999));
        assert_eq!(first(&pods, now), 2, "more on the same node before ready for less time");

        // In the cases about age the youngest has the smallest uid, so that the tie-break cannot give the same result.
        let mut pods = base();
        pods[0].ready_since = Some(at(start, 990));
        pods[1].restarts = 5;
        assert_eq!(first(&pods, now), 0, "ready for less time before restarts");

        let mut pods = base();
        pods[1].restarts = 5;
        pods[0].created = at(start, 990);
        assert_eq!(first(&pods, now), 1, "more restarts before newer");

        let mut pods = base();
        pods[0].created = at(start, 990);
        assert_eq!(first(&pods, now), 0, "newer first");

        assert_eq!(first(&base(), now), 2, "of equals, the larger uid");
    }

    #[test]
    fn buckets_are_powers_of_two_and_the_present_comes_before_them() {
        let now = Time::ZERO + Duration::from_nanos(1024);
        for (age, expected) in [(0, -1), (1, 0), (2, 1), (3, 1), (4, 2), (1023, 9), (1024, 10)] {
            assert_eq!(bucket(Time::ZERO + Duration::from_nanos(1024 - age), now), expected, "{age} ns");
        }
    }

    #[test]
    fn within_a_bucket_age_does_not_count() {
        let start = Time::ZERO;
        let now = at(start, 10_000);
        let pods = [ready(1, start), Candidate { ready_since: Some(at(start, 100)), ..ready(0, start) }];
        assert_eq!(first(&pods, now), 1, "10,000 s and 9,900 s are in one bucket, so the uid decides");
    }

    proptest! {
        /// `Less` is not an order: it can be circular for three replicas. Sorting must cope with that.
        #[test]
        fn many_pods_that_became_ready_together_can_be_sorted(
            pods in proptest::collection::vec((0_u64..4, 0_u32..4, 0_u64..4), 200..250),
        ) {
            let now = at(Time::ZERO, 1000);
            let candidates: Vec<Candidate> = pods.iter().enumerate().map(|(uid, (since, restarts, created))| Candidate {
                node: 0, ready_since: Some(at(Time::ZERO, *since)), restarts: *restarts,
                created: at(Time::ZERO, *created), ..ready(uid as u64, Time::ZERO)
            }).collect();
            let mut order = order(&candidates, now);
            order.sort_unstable();
            prop_assert_eq!(order, (0..pods.len()).collect::<Vec<_>>());
        }

        #[test]
        fn every_candidate_is_named_once_and_the_order_does_not_depend_on_the_input_order(
            pods in proptest::collection::vec(
                (0_u32..3, any::<bool>(), proptest::option::of(0_u64..1000), -2_i32..2, 0_u32..3, 0_u64..1000), 0..12),
        ) {
            let start = Time::ZERO;
            let mut candidates: Vec<Candidate> = pods.iter().enumerate().map(|(uid, pod)| Candidate {
                uid: uid as u64, node: pod.0, running: pod.1, ready_since: pod.2.map(|s| at(start, s)),
                deletion_cost: pod.3, restarts: pod.4, created: at(start, pod.5),
            }).collect();
            let now = at(start, 1000);
            let names = |candidates: &[Candidate]| -> Vec<u64> {
                order(candidates, now).into_iter().map(|index| candidates[index].uid).collect()
            };
            let forward = names(&candidates);
            candidates.reverse();
            prop_assert_eq!(&forward, &names(&candidates));
            let mut sorted = forward;
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..pods.len() as u64).collect::<Vec<_>>());
        }
    }
}
