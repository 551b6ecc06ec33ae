//! Decisions in words.

use std::fmt;

use crate::{
    amount::Unit,
    calculator::{MetricError, Proposal, Target, Verdict},
    decision::{Decision, MissingRequest, ReconcileError, RescaleReason},
    plan::PlannedMetric,
    quantity::Quantity,
    rate::Cap,
    spec::{PolicyKind, ScalingPolicy},
    stabilize::Direction,
};

impl Decision {
    /// The decision in one sentence: which metric, what ratio, what limited it.
    pub fn explanation(&self) -> impl fmt::Display + '_ {
        Sentence(self)
    }

    /// One metric's outcome in words: `7,012 per pod of 5k: wants 2`.
    pub fn metric_words(&self, metric: usize) -> impl fmt::Display + '_ {
        MetricWords { decision: self, metric }
    }
}

/// A value of a metric in the unit of its target.
fn write_value(f: &mut fmt::Formatter<'_>, planned: &PlannedMetric, proposal: &Proposal) -> fmt::Result {
    let amount = |milli| planned.unit.amount(milli);
    match (planned.metric.target, proposal.utilization, proposal.usage) {
        (Some(Target::Utilization(_)), Some(per_cent), _) => write!(f, "{per_cent} % of the request"),
        (Some(Target::Value(_)), _, Some(milli)) => write!(f, "{}", amount(milli)),
        (_, _, Some(milli)) => write!(f, "{} per pod", amount(milli)),
        _ => f.write_str("no replicas to average over"),
    }
}

/// A target as users write it: `5k`, `40Mi`, `80 %`.
pub(crate) struct TargetWords<'a>(pub(crate) &'a PlannedMetric);

impl fmt::Display for TargetWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.metric.target {
            Some(Target::Utilization(per_cent)) => write!(f, "{per_cent} %"),
            Some(Target::AverageValue(milli) | Target::Value(milli)) => match self.0.unit {
                Unit::Decimal => write!(f, "{}", Quantity::from_milli(milli)),
                Unit::Binary => write!(f, "{}", self.0.unit.amount(milli)),
            },
            None => f.write_str("no target"),
        }
    }
}

/// `7,012 per pod of 5k: wants 2`.
pub(crate) struct MetricWords<'a> {
    pub(crate) decision: &'a Decision,
    pub(crate) metric: usize,
}

impl fmt::Display for MetricWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let planned = self.decision.plan().metrics.get(self.metric);
        let outcome = self.decision.metrics.get(self.metric);
        let (Some(planned), Some(outcome)) = (planned, outcome) else {
            return f.write_str("not looked at");
        };
        match &outcome.result {
            Ok(proposal) => {
                write_value(f, planned, proposal)?;
                let before = match planned.metric.target {
                    Some(Target::Utilization(_)) => ", target",
                    _ if proposal.usage.is_none() => ", target",
                    _ => " of",
                };
                write!(f, "{before} {}: ", TargetWords(planned))?;
                match proposal.verdict {
                    Verdict::Change => write!(f, "wants {}", proposal.replicas),
                    Verdict::WithinTolerance => write!(f, "within tolerance, keeps {}", proposal.replicas),
                    Verdict::DirectionUncertain => {
                        write!(
                            f,
                            "pods that are unready or without a sample may tip it, keeps {}",
                            proposal.replicas
                        )
                    }
                }
            }
            Err(error) => write_error(f, self.decision, self.metric, *error),
        }
    }
}

fn write_error(
    f: &mut fmt::Formatter<'_>,
    decision: &Decision,
    metric: usize,
    error: MetricError,
) -> fmt::Result {
    f.write_str("no value: ")?;
    let resource = decision.plan().metrics.get(metric).and_then(|planned| planned.metric.source.resource());
    let missing = decision.missing_requests.iter().find(|missing| missing.metric == metric);
    let (Some(resource), Some(MissingRequest { pod, container, .. })) = (resource, missing) else {
        return write!(f, "{error}");
    };
    // In the controller's words.
    match container {
        Some(container) => write!(f, "missing request for {resource} in container {container} of Pod {pod}"),
        None => write!(f, "missing pod-level request for {resource} in Pod {pod}"),
    }
}

/// One sentence on a decision.
pub(crate) struct Sentence<'a>(pub(crate) &'a Decision);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decision = self.0;
        match decision.error {
            Some(ReconcileError::GetScale) => return f.write_str("the scale could not be read"),
            Some(ReconcileError::NoSelector) => {
                return f.write_str("the scale names no selector for its pods");
            }
            Some(ReconcileError::Metrics { first, error, .. }) if decision.proposal.is_none() => {
                write!(f, "{} has ", decision.metric_label(first))?;
                write_error(f, decision, first, error)?;
                return f.write_str(", so the count stays as it is");
            }
            _ => {}
        }
        match decision.rescale_reason {
            Some(RescaleReason::AboveMax) => {
                return write!(
                    f,
                    "{} replicas are more than maxReplicas {}",
                    decision.current,
                    decision.plan().max
                );
            }
            Some(RescaleReason::BelowMin) => {
                return write!(
                    f,
                    "{} replicas are fewer than minReplicas {}",
                    decision.current,
                    decision.plan().min
                );
            }
            _ => {}
        }
        let Some(proposal) = decision.proposal else {
            return f.write_str("autoscaling is off while the replicas are 0");
        };
        if let Some(metric) = decision.leading {
            write!(f, "{} {}", decision.metric_label(metric), decision.metric_words(metric))?;
        } else {
            write!(f, "the metrics want {proposal}")?;
        }
        if let Some(hold) = decision.limits.stabilization {
            let window = match hold.direction {
                Direction::Up => "a lower recommendation",
                Direction::Down => "a higher recommendation",
            };
            let stabilized = decision.stabilized.unwrap_or(proposal);
            write!(f, "; {window} ({}) still in the window holds {stabilized}", hold.recommended)?;
        }
        if let Some(cap) = decision.limits.cap {
            write!(f, "; {}", CapWords { decision, cap })?;
        }
        if let Some(ReconcileError::UpdateScale { desired }) = decision.error {
            write!(f, "; writing {desired} to the scale failed")?;
        }
        Ok(())
    }
}

/// `limit 1 pod / 30 s allows 2`.
pub(crate) struct CapWords<'a> {
    pub(crate) decision: &'a Decision,
    pub(crate) cap: Cap,
}

impl fmt::Display for CapWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cap {
            Cap::Max { replicas } => write!(f, "maxReplicas allows {replicas}"),
            Cap::Min { replicas } => write!(f, "minReplicas asks for {replicas}"),
            Cap::Doubling { replicas } => write!(f, "at most doubling (or 4) allows {replicas}"),
            Cap::Policy { direction, policy, replicas } => {
                let rules = self.decision.plan().behavior.as_ref();
                let policies = rules.map(|rules| match direction {
                    Direction::Up => &rules.up.policies,
                    Direction::Down => &rules.down.policies,
                });
                match policies.and_then(|policies| policies.get(policy)) {
                    Some(policy) => write!(f, "limit {} allows {replicas}", PolicyWords(policy)),
                    None => write!(f, "the policies allow {replicas}"),
                }
            }
            Cap::Disabled { direction: Direction::Up, .. } => f.write_str("scaling up is disabled"),
            Cap::Disabled { direction: Direction::Down, .. } => f.write_str("scaling down is disabled"),
        }
    }
}

/// `1 pod / 30 s`.
pub(crate) struct PolicyWords<'a>(pub(crate) &'a ScalingPolicy);

impl fmt::Display for PolicyWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ScalingPolicy { kind, value, period_seconds } = self.0;
        match kind {
            PolicyKind::Pods if *value == 1 => write!(f, "1 pod / {period_seconds} s"),
            PolicyKind::Pods => write!(f, "{value} pods / {period_seconds} s"),
            PolicyKind::Percent => write!(f, "{value} % / {period_seconds} s"),
        }
    }
}
