//! An explanation for people.

use std::fmt;

use super::{Because, Counterfactual, Explanation, MetricExplanation};
use crate::{
    amount::Unit,
    calculator::{PodUse, Proposal, Verdict},
    settings::Tolerances,
    stabilize::{Direction, Stabilization},
};

/// How instants are printed: the engine only knows differences, the caller knows the calendar.
pub trait Instants {
    /// The instant, such as `14:03:20`.
    fn instant(&self, at_ms: i64) -> String;
}

/// Instants as seconds of the caller's axis: `83.5 s`.
impl Instants for () {
    fn instant(&self, at_ms: i64) -> String {
        format!("{} s", Unit::Decimal.amount(at_ms))
    }
}

/// The text of an explanation: [`Text::lines`], each ended.
pub struct Text<'a> {
    pub explanation: &'a Explanation,
    pub instants: &'a dyn Instants,
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines().iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl Text<'_> {
    /// One item per line. Names and messages stay as they are: an item with a line end in it is still one line, and the
    /// caller escapes it before it shows it.
    pub fn lines(&self) -> Vec<String> {
        let it = self.explanation;
        let count = if it.desired == it.current {
            format!("keeps {} {}", it.current, replicas(it.current))
        } else {
            format!("{} → {} replicas", it.current, it.desired)
        };
        let (min, max) = (it.min_replicas, it.max_replicas);
        let mut lines = vec![
            format!("{count} at {} (min {min}, max {max})", self.instants.instant(it.now_ms)),
            format!("  {}", it.summary),
            format!("  controller: {}", it.reason),
        ];
        lines.extend(it.notes.iter().map(|note| format!("  note: {note}")));
        if !it.metrics.is_empty() {
            lines.extend(heading("metrics"));
        }
        for metric in &it.metrics {
            Self::metric(&mut lines, metric, it.tolerances);
        }
        self.steps(&mut lines);
        lines.extend(heading("conditions"));
        lines.extend(it.conditions.iter().map(|(name, condition)| {
            format!("  {name:<14} {:<5} {}: {}", condition.status, condition.reason, condition.message)
        }));
        lines.extend(heading("what would change it"));
        if it.what_would_change.is_empty() {
            lines.push(
                "  nothing that can be named: no metric's value and no passing of time alone".to_owned(),
            );
        }
        lines.extend(it.what_would_change.iter().map(|change| format!("  {}", self.counterfactual(change))));
        lines
    }

    fn metric(lines: &mut Vec<String>, metric: &MetricExplanation, tolerances: Tolerances) {
        let mark = if metric.leading { "*" } else { " " };
        lines.push(format!("{mark} {}: {}", metric.metric, metric.words));
        lines.extend(metric.proposal.as_ref().map(|proposal| ratio(proposal, tolerances)));
        for (pod_use, words) in [
            (PodUse::Counted, "counted"),
            (PodUse::Missing, "without a sample"),
            (PodUse::Unready, "set aside (pending, unready or too young)"),
            (PodUse::Ignored, "left out (failed or being deleted)"),
        ] {
            let pods = metric.pods.iter().filter(|pod| pod.r#use == pod_use);
            let pods: Vec<String> = pods
                .map(|pod| match pod.milli {
                    Some(milli) => format!("{} {}", pod.name, metric.unit.amount(milli)),
                    None => pod.name.clone(),
                })
                .collect();
            if !pods.is_empty() {
                lines.push(format!("    {words}: {}", pods.join(", ")));
            }
        }
        let unlisted = metric.proposal.map_or(0, |proposal| proposal.pods.unlisted);
        if unlisted > 0 {
            lines.push(format!(
                "    {unlisted} samples of pods that are not in the list, which count nevertheless"
            ));
        }
    }

    /// From the proposal to the result.
    fn steps(&self, lines: &mut Vec<String>) {
        let it = self.explanation;
        let (Some(proposal), Some(stabilized)) = (it.proposal, it.stabilized) else { return };
        let window = match it.limits.stabilization {
            None => "no earlier recommendation holds it".to_owned(),
            Some(hold) => self.hold(&hold),
        };
        let limit = it.limit_words.as_deref().unwrap_or("within policies and bounds");
        lines.extend(heading("from the proposal to the result"));
        lines.extend([
            format!("  {:<14} {proposal:>4}   the largest proposal of the metrics", "proposal"),
            format!("  {:<14} {stabilized:>4}   {window}", "stabilization"),
            format!("  {:<14} {:>4}   {limit}", "limits", it.desired),
        ]);
    }

    fn hold(&self, hold: &Stabilization) -> String {
        let direction = match hold.direction {
            Direction::Up => "up",
            Direction::Down => "down",
        };
        format!(
            "the recommendation {} of {} holds the way {direction} until {}",
            hold.recommended,
            self.instants.instant(hold.recommended_ms),
            self.instants.instant(hold.until_ms)
        )
    }

    fn counterfactual(&self, change: &Counterfactual) -> String {
        match change {
            Counterfactual::Value { metric, label, direction, edge, per_cent, beyond, to, at_once } => {
                let unit = self.explanation.metrics.get(*metric).map_or(Unit::Decimal, |metric| metric.unit);
                let value = |value: i64| {
                    if *per_cent { format!("{value} %") } else { unit.amount(value).to_string() }
                };
                let verb = if *at_once { "scales" } else { "asks to scale" };
                let (stays, comes) = (value(*edge), value(edge.saturating_sub(1)));
                // The shorter of the two numbers at the edge: "below 900", but "at most 2,500".
                let is_open = stays.len() < comes.len();
                match (direction, beyond) {
                    (Direction::Up, false) => format!("{verb} up to {to} when {label} passes {stays}"),
                    (Direction::Up, true) => format!("{verb} up only while {label} is above {stays}"),
                    (Direction::Down, false) if is_open => {
                        format!("{verb} down to {to} when {label} falls below {stays}")
                    }
                    (Direction::Down, false) => format!("{verb} down to {to} when {label} falls to {comes}"),
                    (Direction::Down, true) if is_open => {
                        format!("{verb} down only while {label} is below {stays}")
                    }
                    (Direction::Down, true) => format!("{verb} down only while {label} is at most {comes}"),
                }
            }
            Counterfactual::Time { to, because: Because::NextReconciliation, .. } => {
                format!("continues to {to} at the next reconciliation, if nothing else changes")
            }
            Counterfactual::Time { at_ms, to, because } => {
                let direction = if *to > self.explanation.desired { "up" } else { "down" };
                let at = self.instants.instant(*at_ms);
                format!("may scale {direction} to {to} at {at}, when {}", self.because(because))
            }
        }
    }

    fn because(&self, because: &Because) -> String {
        match because {
            Because::RecommendationLeaves { replicas, recommended_ms } => {
                let recommended = self.instants.instant(*recommended_ms);
                format!("the recommendation of {recommended} ({replicas}) leaves the window")
            }
            Because::PolicyPeriodEnds { change, scaled_ms, period_ms } => {
                let scaled = self.instants.instant(*scaled_ms);
                let period = period_ms / 1000;
                format!("the change by {change} of {scaled} is {period} s old and a policy allows the next")
            }
            Because::NextReconciliation => "it looks next".to_owned(),
            Because::PodInitialized { pod } => format!("the CPU initialisation period of {pod} is over"),
            Because::Reconciliations { every_ms } => {
                format!("it still reconciles every {} s and nothing else has changed", every_ms / 1000)
            }
        }
    }
}

/// A heading after a blank line.
fn heading(words: &str) -> [String; 2] {
    [String::new(), words.to_owned()]
}

fn ratio(proposal: &Proposal, tolerances: Tolerances) -> String {
    if !proposal.ratio.is_finite() {
        return "    no ratio, since there are no replicas to average over".to_owned();
    }
    let adjusted = proposal
        .adjusted_ratio
        .map_or(String::new(), |adjusted| format!(", {adjusted:.4} with missing and unready pods put in"));
    let verdict = match proposal.verdict {
        Verdict::Change => "outside",
        Verdict::WithinTolerance => "within",
        Verdict::DirectionUncertain => "not to be trusted in its direction; outside",
    };
    let (low, high) = (1.0 - tolerances.down, 1.0 + tolerances.up);
    format!("    ratio {:.4}{adjusted}; {verdict} the tolerance {low:.2} to {high:.2}", proposal.ratio)
}

fn replicas(count: i32) -> &'static str {
    if count == 1 { "replica" } else { "replicas" }
}
