//! Predicts whether the autoscaler is about to want fewer replicas.
//!
//! The outcome is known if it has recommended fewer and only its stabilization window still holds the number. A
//! recommendation counts once it has stood for two looks, so that a brief one costs no writes.

use autoscale::explain::explain;
use platform::target::Case;

/// The autoscaler may be unreadable for this many looks: undoing what was written would cost as many writes again.
const UNSEEN_MOST: u32 = 3;

/// The recommendations of the last two looks, and their outcome.
#[derive(Debug, Clone, Default)]
pub(crate) struct Foresight {
    before: Option<u32>,
    /// What the last look foresaw, or why nothing.
    sight: Option<Result<u32, &'static str>>,
    /// Wanted replicas at the last look.
    wanted: Option<u32>,
    /// Consecutive looks at which the autoscaler could not be read.
    unseen: u32,
}

/// A scale-down since the last look.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ScaleDown {
    pub(crate) from: u32,
    pub(crate) to: u32,
    /// Why it was not foreseen; `None`: it was.
    pub(crate) unforeseen: Option<&'static str>,
}

impl Foresight {
    /// How many replicas will be wanted, if fewer; `case`: the autoscaler's current state, if it can be read. While it
    /// cannot, its last state counts, for a few looks.
    pub(crate) fn look(&mut self, case: Option<&Case>) -> Option<u32> {
        self.unseen = if case.is_some() { 0 } else { self.unseen.saturating_add(1) };
        if let (1..=UNSEEN_MOST, Some(Ok(goal))) = (self.unseen, self.sight) {
            return Some(goal);
        }
        let now = case.and_then(fewer);
        let before = std::mem::replace(&mut self.before, now);
        let sight = match (now, before) {
            // The more cautious of the two: a server that leaves without need moves clients twice.
            (Some(now), Some(before)) => Ok(now.max(before)),
            (Some(_), None) => Err("it had asked for fewer at only one look"),
            (None, _) if case.is_none() => Err("its autoscaler could not be read"),
            (None, _) => {
                Err("its autoscaler had not asked for fewer before it acted, or somebody else did it")
            }
        };
        self.sight = Some(sight);
        sight.ok()
    }

    /// The scale-down since the last look, if there was one. `wanted`: the replicas wanted now, if an autoscaler owns
    /// them.
    pub(crate) fn scaled(&mut self, wanted: Option<u32>) -> Option<ScaleDown> {
        let before = std::mem::replace(&mut self.wanted, wanted)?;
        let to = wanted.filter(|wanted| *wanted < before)?;
        let unforeseen = match self.sight {
            Some(Ok(goal)) if goal <= to => None,
            Some(Ok(_)) => Some("more replicas stayed than were foreseen"),
            Some(Err(why)) => Some(why),
            None => Some("nobody had looked before"),
        };
        Some(ScaleDown { from: before, to, unforeseen })
    }
}

fn fewer(case: &Case) -> Option<u32> {
    let explanation = explain(case).ok()?;
    let goal = explanation.proposal?.max(explanation.min_replicas);
    u32::try_from(goal).ok().filter(|goal| i64::from(*goal) < i64::from(explanation.current))
}

#[cfg(test)]
mod simulated;

#[cfg(test)]
mod tests {
    use autoscale::explain::of_status;

    use super::*;

    /// An autoscaler of 5 replicas; its status says that each has `each` connections, and its target is 100.
    fn case(each: u32) -> Case {
        let text = format!(
            "{{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {{name: tcp}}, spec: {{
             scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: tcp}}, minReplicas: 1, maxReplicas: 9,
             metrics: [{{type: Pods, pods: {{metric: {{name: connections}}, target: {{type: AverageValue,
             averageValue: 100}}}}}}]}}, status: {{currentReplicas: 5, desiredReplicas: 5, currentMetrics: [{{type: Pods,
             pods: {{metric: {{name: connections}}, current: {{averageValue: '{each}'}}}}}}]}}}}"
        );
        let manifest = autoscale::manifest::read("hpa.yaml", &text, false).unwrap().remove(0);
        of_status(&manifest, 0).unwrap().unwrap()
    }

    #[test]
    fn a_recommendation_counts_when_it_has_stood_for_two_looks() {
        let mut foresight = Foresight::default();
        let looks = [(100, None), (40, None), (20, Some(2)), (40, Some(2)), (100, None), (40, None)];
        for (each, foreseen) in looks {
            assert_eq!(foresight.look(Some(&case(each))), foreseen, "{each}");
        }
        assert_eq!(foresight.look(None), None);
        foresight.look(Some(&case(40)));
        assert_eq!(foresight.look(Some(&case(40))), Some(2));
        let unseen: Vec<_> = (0..5).map(|_| foresight.look(None)).collect();
        assert_eq!(unseen, [Some(2), Some(2), Some(2), None, None]);
    }

    #[test]
    fn scale_downs_are_classified_by_earlier_recommendations() {
        let after = |looks: &[Option<u32>], to: u32| {
            let mut foresight = Foresight::default();
            assert_eq!(foresight.scaled(Some(5)), None);
            for each in looks {
                foresight.look(each.map(case).as_ref());
                assert_eq!(foresight.scaled(Some(5)), None, "it has not happened yet");
            }
            foresight.scaled(Some(to)).map(|scale_down| scale_down.unforeseen)
        };
        assert_eq!(after(&[Some(40), Some(40)], 2), Some(None));
        assert_eq!(after(&[Some(40), Some(40)], 4), Some(None), "the first step of it");
        assert_eq!(after(&[Some(40), Some(40)], 5), None);
        let why = |looks: &[Option<u32>], to| after(looks, to).flatten().unwrap_or_default();
        assert_eq!(why(&[Some(40), Some(40)], 1), "more replicas stayed than were foreseen");
        assert_eq!(why(&[Some(100), Some(40)], 2), "it had asked for fewer at only one look");
        assert_eq!(
            why(&[Some(100)], 2),
            "its autoscaler had not asked for fewer before it acted, or somebody else did it"
        );
        assert_eq!(why(&[None], 2), "its autoscaler could not be read");
        assert_eq!(why(&[], 2), "nobody had looked before");
        let mut foresight = Foresight::default();
        assert_eq!(
            (foresight.scaled(None), foresight.scaled(Some(5)), foresight.scaled(None)),
            (None, None, None)
        );
    }
}
