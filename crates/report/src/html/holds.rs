//! What held a service's number of replicas, and for how long: a window, a policy, the maximum, or a metric that could
//! not be computed.

use std::collections::BTreeMap;

use platform::event::MetricProposal;
use serde::Serialize;

use super::lines::text;

/// Maximum number kept per service.
const HOLDS_MAX: usize = 1_000;

/// A period in which something held the number of replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Hold {
    from_ms: u64,
    /// Absent: it still does.
    #[serde(skip_serializing_if = "Option::is_none")]
    to_ms: Option<u64>,
    kind: Kind,
    /// The held number of replicas.
    at: u32,
    /// The number that the metrics asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    wanted: Option<u32>,
    /// When it ends at the latest, as far as known.
    #[serde(skip_serializing_if = "Option::is_none")]
    until_ms: Option<u64>,
    /// The reason in the autoscaler's conditions.
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// The stabilization window.
    Window,
    /// A policy that limits how fast replicas may come or go.
    Policy,
    /// The maximum number of replicas.
    Maximum,
    /// No metric could be computed.
    Blind,
}

/// All holds of a service, in chronological order. Bounded: beyond the limit, none is added.
#[derive(Debug, Clone, Default)]
pub(super) struct Holds(Vec<Hold>);

impl Holds {
    /// The autoscaler synced.
    pub(super) fn synced(
        &mut self,
        t_ms: u64,
        desired: u32,
        metrics: &[MetricProposal],
        conditions: &BTreeMap<String, [String; 2]>,
    ) {
        let held = of_conditions(conditions);
        let wanted = metrics.iter().filter_map(|metric| metric.proposal).max();
        let is_same = self.open().is_some_and(|open| {
            held.is_some_and(|(kind, _)| kind == open.kind) && (open.at, open.wanted) == (desired, wanted)
        });
        if is_same {
            return;
        }
        let until_ms = self.open().and_then(|open| open.until_ms);
        self.close(t_ms);
        if let Some((kind, reason)) = held {
            // The same window: only the recommended number has changed.
            let until_ms = until_ms.filter(|until| kind == Kind::Window && *until > t_ms);
            self.begin(Hold {
                from_ms: t_ms,
                to_ms: None,
                kind,
                at: desired,
                wanted,
                until_ms,
                reason: text(reason),
            });
        }
    }

    /// The end of the window is known.
    pub(super) fn until(&mut self, t_ms: u64, wanted: u32, at: u32, until_ms: u64) {
        if let Some(open) = self.0.last_mut().filter(|hold| hold.to_ms.is_none() && hold.kind == Kind::Window)
        {
            (open.until_ms, open.wanted) = (Some(until_ms), Some(wanted));
            return;
        }
        self.close(t_ms);
        let (wanted, until_ms) = (Some(wanted), Some(until_ms));
        let (kind, reason) = (Kind::Window, String::new());
        self.begin(Hold { from_ms: t_ms, to_ms: None, kind, at, wanted, until_ms, reason });
    }

    pub(super) fn finish(&self) -> Vec<Hold> {
        self.0.clone()
    }

    fn open(&self) -> Option<&Hold> {
        self.0.last().filter(|hold| hold.to_ms.is_none())
    }

    fn close(&mut self, t_ms: u64) {
        if let Some(open) = self.0.last_mut().filter(|hold| hold.to_ms.is_none()) {
            open.to_ms = Some(t_ms.max(open.from_ms));
        }
    }

    fn begin(&mut self, hold: Hold) {
        if self.0.len() < HOLDS_MAX {
            self.0.push(hold);
        }
    }
}

/// What holds an autoscaler, according to its conditions, with their own reason.
fn of_conditions(conditions: &BTreeMap<String, [String; 2]>) -> Option<(Kind, &str)> {
    let reason = |condition: &str, status: &str| {
        let [is, reason] = conditions.get(condition)?;
        (is == status).then_some(reason.as_str())
    };
    // Without replicas it is disabled, which holds nothing.
    let blind = reason("ScalingActive", "False").filter(|reason| *reason != "ScalingDisabled");
    let window = || reason("AbleToScale", "True").filter(|reason| reason.ends_with("Stabilized"));
    let limited = || match reason("ScalingLimited", "True")? {
        reason @ ("ScaleUpLimit" | "ScaleDownLimit") => Some((Kind::Policy, reason)),
        reason @ "TooManyReplicas" => Some((Kind::Maximum, reason)),
        // At the minimum, as an idle service always is.
        _ => None,
    };
    let of = |kind| move |reason| (kind, reason);
    blind.map(of(Kind::Blind)).or_else(|| window().map(of(Kind::Window))).or_else(limited)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(all: &[(&str, &str, &str)]) -> BTreeMap<String, [String; 2]> {
        all.iter()
            .map(|(name, status, reason)| ((*name).to_owned(), [(*status).to_owned(), (*reason).to_owned()]))
            .collect()
    }

    fn asks(proposal: u32) -> Vec<MetricProposal> {
        vec![MetricProposal {
            metric: "connections".to_owned(),
            value_milli: Some(1),
            target_milli: 1,
            utilization: false,
            proposal: Some(proposal),
            words: String::new(),
        }]
    }

    #[test]
    fn each_hold_lasts_until_the_look_that_finds_it_gone() {
        let free = conditions(&[
            ("AbleToScale", "True", "ReadyForNewScale"),
            ("ScalingActive", "True", "ValidMetricFound"),
            ("ScalingLimited", "False", "DesiredWithinRange"),
        ]);
        let window = conditions(&[("AbleToScale", "True", "ScaleDownStabilized")]);
        let policy = conditions(&[("ScalingLimited", "True", "ScaleUpLimit")]);
        let most = conditions(&[("ScalingLimited", "True", "TooManyReplicas")]);
        let least = conditions(&[("ScalingLimited", "True", "TooFewReplicas")]);
        let blind = conditions(&[("ScalingActive", "False", "FailedGetPodsMetric")]);
        let off = conditions(&[("ScalingActive", "False", "ScalingDisabled")]);
        let mut holds = Holds::default();
        for (t_ms, desired, wanted, conditions) in [
            (0, 1, 1, &least),
            (10, 2, 9, &policy),
            (20, 2, 9, &policy),
            (30, 4, 9, &policy),
            (40, 5, 9, &most),
            (50, 5, 5, &free),
            (60, 5, 2, &window),
        ] {
            holds.synced(t_ms, desired, &asks(wanted), conditions);
        }
        holds.until(60, 2, 5, 360);
        for (t_ms, wanted, conditions) in
            [(70, 2, &window), (80, 1, &window), (90, 1, &blind), (100, 1, &off)]
        {
            holds.synced(t_ms, 5, &asks(wanted), conditions);
        }
        let seen: Vec<_> = holds
            .finish()
            .into_iter()
            .map(|hold| (hold.from_ms, hold.to_ms, hold.kind, hold.at, hold.wanted, hold.until_ms))
            .collect();
        assert_eq!(
            seen,
            [
                (10, Some(30), Kind::Policy, 2, Some(9), None),
                (30, Some(40), Kind::Policy, 4, Some(9), None),
                (40, Some(50), Kind::Maximum, 5, Some(9), None),
                (60, Some(80), Kind::Window, 5, Some(2), Some(360)),
                (80, Some(90), Kind::Window, 5, Some(1), Some(360)),
                (90, Some(100), Kind::Blind, 5, Some(1), None),
            ]
        );
    }

    #[test]
    fn a_window_without_known_polls_counts_too_and_windows_are_bounded() {
        let mut holds = Holds::default();
        holds.until(5, 1, 3, 50);
        assert_eq!((holds.0[0].from_ms, holds.0[0].until_ms), (5, Some(50)));
        let policy = conditions(&[("ScalingLimited", "True", "ScaleDownLimit")]);
        for t_ms in 0..5_000_u32 {
            holds.synced(u64::from(t_ms), t_ms, &[], &policy);
        }
        assert_eq!(holds.finish().len(), HOLDS_MAX);
    }
}
