//! Why the autoscaler decides as it does, and what would change that.
//!
//! A [`Case`] is everything a decision depends on: the autoscaler with its history, its observations, and the time. It
//! comes from a live platform or from a file ([`state`]). [`explain`] reconciles it once, on a copy, and breaks the
//! decision down. No formula is repeated here: proposals come from the decision, counterfactuals from the engine
//! itself.

mod counterfactual;
mod notes;
pub mod state;
mod template;
mod text;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    amount::Unit,
    calculator::{self, Context, MetricError, PodUse, Proposal, Target},
    decision::{Decision, Limits, ReconcileError},
    engine::{Autoscaler, Snapshot},
    observation::{MetricReading, Observation},
    settings::Tolerances,
    spec::InvalidSpec,
};
pub use counterfactual::{Because, Counterfactual, with_value};
pub use template::{of_status, template};
pub use text::{Instants, Text};

/// Everything that one decision depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Case {
    /// When the next reconciliation happens, in ms on the axis of all other instants.
    pub now_ms: i64,
    pub autoscaler: Snapshot,
    pub observed: Observation,
}

/// A decision in its parts. Serialised, it is the result of `playctl explain --output json`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub struct Explanation {
    pub now_ms: i64,
    pub min_replicas: i32,
    pub max_replicas: i32,
    /// The scale's `spec.replicas` before.
    pub current: i32,
    /// What it is afterwards.
    pub desired: i32,
    /// The decision in one sentence.
    pub summary: String,
    /// The controller's words for it, as in `kubectl describe hpa`.
    pub reason: String,
    pub tolerances: Tolerances,
    /// Parts of the spec that have no effect, and why.
    pub notes: Vec<String>,
    pub metrics: Vec<MetricExplanation>,
    /// What the metrics ask for together; absent: they were not looked at or failed.
    pub proposal: Option<i32>,
    /// What stabilization left of it.
    pub stabilized: Option<i32>,
    pub limits: Limits,
    /// The limit in words.
    pub limit_words: Option<String>,
    /// By type.
    pub conditions: BTreeMap<&'static str, ConditionExplanation>,
    pub error: Option<ReconcileError>,
    /// In the order: up, down, time.
    pub what_would_change: Vec<Counterfactual>,
}

/// One metric's part in it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub struct MetricExplanation {
    pub metric: String,
    pub target: Option<Target>,
    /// Absent: it could not be computed.
    pub proposal: Option<Proposal>,
    pub error: Option<MetricError>,
    /// `7,012 per pod of 5k: wants 2`.
    pub words: String,
    /// Its proposal was the largest.
    pub leading: bool,
    /// How each pod counted (pod metrics only).
    pub pods: Vec<PodExplanation>,
    #[serde(skip)]
    pub(crate) unit: Unit,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub struct PodExplanation {
    pub name: String,
    pub r#use: PodUse,
    #[serde(rename = "value_milli")]
    pub milli: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub struct ConditionExplanation {
    pub status: &'static str,
    pub reason: String,
    pub message: String,
}

/// Explains what the next reconciliation of a case does.
pub fn explain(case: &Case) -> Result<Explanation, InvalidSpec> {
    let before = Autoscaler::from_snapshot(case.autoscaler.clone())?;
    let mut after = before.clone();
    let decision = after.reconcile(case.now_ms, &case.observed);
    let plan = before.plan();
    let current = case.observed.spec_replicas;
    Ok(Explanation {
        now_ms: case.now_ms,
        min_replicas: plan.min,
        max_replicas: plan.max,
        current,
        desired: decision.scaled_to.unwrap_or(current),
        summary: decision.explanation().to_string(),
        reason: decision.reason().to_string(),
        tolerances: plan.tolerances,
        notes: notes::notes(&before),
        metrics: metrics(&before, &decision, case),
        proposal: decision.proposal,
        stabilized: decision.stabilized,
        limits: decision.limits,
        limit_words: decision
            .limits
            .cap
            .map(|cap| crate::words::CapWords { decision: &decision, cap }.to_string()),
        conditions: decision
            .conditions
            .iter()
            .map(|(name, condition)| {
                let explanation = ConditionExplanation {
                    status: condition.status_word(),
                    reason: condition.reason.to_string(),
                    message: decision.condition_message(condition.reason).to_string(),
                };
                (name, explanation)
            })
            .collect(),
        error: decision.error,
        what_would_change: counterfactual::find(&before, &after, &decision, case),
    })
}

fn metrics(autoscaler: &Autoscaler, decision: &Decision, case: &Case) -> Vec<MetricExplanation> {
    let observed = &case.observed;
    let replicas = (observed.spec_replicas, observed.status_replicas);
    let tolerances = autoscaler.tolerances();
    let context = Context::new(autoscaler.settings(), tolerances, case.now_ms, replicas);
    let explanation = |(index, outcome): (usize, &crate::MetricOutcome)| {
        let planned = &autoscaler.plan().metrics[index];
        let pods = match observed.metrics.get(index) {
            Some(MetricReading::Pods(samples)) if planned.metric.source.is_per_pod() => {
                calculator::classify(&planned.metric.source, &context, &observed.pods, samples)
                    .into_iter()
                    .enumerate()
                    .map(|(position, r#use)| PodExplanation {
                        name: observed.pods[position].name.to_string(),
                        r#use,
                        milli: samples.of(position).map(|sample| sample.milli),
                    })
                    .collect()
            }
            _ => Vec::new(),
        };
        MetricExplanation {
            metric: planned.label.clone(),
            target: planned.metric.target,
            proposal: outcome.result.ok(),
            error: outcome.result.err(),
            words: decision.metric_words(index).to_string(),
            leading: decision.leading == Some(index),
            pods,
            unit: planned.unit,
        }
    };
    decision.metrics.iter().enumerate().map(explanation).collect()
}

#[cfg(test)]
mod tests;
