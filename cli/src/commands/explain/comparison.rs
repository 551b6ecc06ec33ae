//! Our engine's decision beside what a cluster's own controller says of its last one.

use autoscale::explain::Explanation;
use jiff::Timestamp;
use platform::target::Reported;
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Comparison {
    #[serde(flatten)]
    reported: Reported,
    /// Where our engine, run now, comes to another result; empty: they agree.
    differences: Vec<String>,
    /// The controller scaled while we read its inputs.
    scaled_meanwhile: bool,
}

impl Comparison {
    pub(super) fn of(explanation: &Explanation, reported: Reported) -> Self {
        let mut differences = Vec::new();
        let (ours, theirs) = (explanation.desired, reported.desired);
        if is_active(&reported) && i64::from(ours) != i64::from(theirs) {
            differences.push(format!("it wants {theirs}, our engine wants {ours}"));
        }
        // Whether it can act, and what limits it. The third condition changes with every step that is taken.
        for kind in ["ScalingActive", "ScalingLimited"] {
            let ours = explanation.conditions.get(kind).map(|one| (one.status, one.reason.as_str()));
            let theirs =
                reported.conditions.get(kind).map(|[status, reason, _]| (status.as_str(), reason.as_str()));
            if let (Some(ours), Some(theirs)) = (ours, theirs)
                && ours != theirs
            {
                let words = |(status, reason): (&str, &str)| format!("{status} ({reason})");
                differences.push(format!("{kind} is {}, for our engine {}", words(theirs), words(ours)));
            }
        }
        // The API has whole seconds.
        let is_recent = |at: Timestamp| at.as_millisecond() + 1000 > explanation.now_ms;
        let scaled_meanwhile = reported.last_scale.is_some_and(is_recent);
        Self { reported, differences, scaled_meanwhile }
    }
}

/// Without a metric it wants nothing in particular, and writes 0 or what it wanted before.
fn is_active(reported: &Reported) -> bool {
    reported.conditions.get("ScalingActive").is_none_or(|[status, ..]| status == "True")
}

impl Comparison {
    /// The metrics that this account cannot read, and why.
    pub(super) fn unread(&self) -> &[String] {
        &self.reported.unread
    }

    /// For people, one item per line.
    pub(super) fn lines(&self) -> Vec<String> {
        let Reported { current, desired, last_scale, metrics, conditions, unread } = &self.reported;
        let scaled = match last_scale {
            Some(at) => format!("last scaled at {at}"),
            None => "has never scaled".to_owned(),
        };
        let wants = if is_active(&self.reported) {
            format!("wants {desired}")
        } else {
            "inactive: its desired number means nothing".to_owned()
        };
        let mut lines = vec![
            String::new(),
            "what the cluster's own controller last reported".to_owned(),
            format!("  replicas: {current}, {wants}; {scaled}"),
        ];
        lines.extend(metrics.iter().map(|metric| format!("  {metric}")));
        lines.extend(
            conditions
                .iter()
                .map(|(kind, [status, reason, message])| format!("  {kind} {status} {reason}: {message}")),
        );
        lines.extend(self.differences.iter().map(|difference| format!("  DIFFERENT: {difference}")));
        // Our engine sees one autoscaler alone.
        let is_ambiguous =
            conditions.get("ScalingActive").is_some_and(|[_, reason, _]| reason == "AmbiguousSelector");
        let last = match (self.differences.is_empty(), unread.is_empty(), self.scaled_meanwhile) {
            (true, ..) => "  our engine, run now, agrees",
            _ if is_ambiguous => {
                "  (several autoscalers scale the same pods, and the controller ignores them all: delete all but one)"
            }
            (false, false, _) => "  (it reads metrics that could not be read here)",
            (false, true, true) => "  (it scaled meanwhile: run this again)",
            (false, true, false) => {
                "  (it may have used earlier values, and it keeps state that nobody else can read)"
            }
        };
        lines.push(last.to_owned());
        lines
    }
}

#[cfg(test)]
mod tests {
    use autoscale::{explain, spec::HpaSpec};

    use super::*;

    fn explanation() -> Explanation {
        let spec: HpaSpec = yaml::from_str(
            "{maxReplicas: 5, metrics: [{type: Pods, pods: {metric: {name: c}, target: {type: AverageValue, averageValue: 10}}}]}",
        )
        .unwrap();
        let state = "{now: 2026-11-28T09:00:00Z, replicas: 1, pods: [{name: a}], metrics: [{pods: {a: 20}}]}";
        explain::explain(&explain::state::read(state, &spec, 0).unwrap()).unwrap()
    }

    fn reported(desired: u32, limited: &str) -> Reported {
        let condition = |status: &str, reason: &str| [status, reason, "words"].map(str::to_owned);
        Reported {
            current: 1,
            desired,
            last_scale: None,
            metrics: vec!["c 20 per pod of 10: wants 2".to_owned()],
            conditions: [
                ("ScalingActive".to_owned(), condition("True", "ValidMetricFound")),
                ("ScalingLimited".to_owned(), condition("False", limited)),
            ]
            .into(),
            unread: Vec::new(),
        }
    }

    #[test]
    fn agreement_is_reported_and_each_difference_is_named() {
        let agrees = Comparison::of(&explanation(), reported(2, "DesiredWithinRange"));
        assert_eq!(agrees.differences, Vec::<String>::new());
        let agrees = agrees.lines().join("\n");
        assert!(agrees.ends_with("our engine, run now, agrees"), "{agrees}");
        let differs = Comparison::of(&explanation(), reported(1, "TooManyReplicas")).lines().join("\n");
        for words in [
            "it wants 1, our engine wants 2",
            "ScalingLimited is False (TooManyReplicas)",
            "replicas: 1, wants 1",
        ] {
            assert!(differs.contains(words), "{words} is missing in {differs}");
        }
        assert!(differs.ends_with("keeps state that nobody else can read)"), "{differs}");
        // As one that has never had a value.
        let mut inactive = reported(0, "DesiredWithinRange");
        let no_value = ["False", "FailedGetResourceMetric", "words"].map(str::to_owned);
        inactive.conditions.insert("ScalingActive".to_owned(), no_value);
        let inactive = Comparison::of(&explanation(), inactive).lines().join("\n");
        assert!(inactive.contains("inactive: its desired number means nothing"), "{inactive}");
        let mut one_of_two = reported(1, "DesiredWithinRange");
        let ambiguous = ["False", "AmbiguousSelector", "words"].map(str::to_owned);
        one_of_two.conditions.insert("ScalingActive".to_owned(), ambiguous);
        let one_of_two = Comparison::of(&explanation(), one_of_two).lines().join("\n");
        assert!(one_of_two.ends_with("ignores them all: delete all but one)"), "{one_of_two}");
        let now = "2026-11-28T09:00:00Z".parse().ok();
        let just_now = Reported { last_scale: now, ..reported(1, "TooManyReplicas") };
        let differs = Comparison::of(&explanation(), just_now).lines().join("\n");
        assert!(differs.ends_with("(it scaled meanwhile: run this again)"), "{differs}");
    }
}
