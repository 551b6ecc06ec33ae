//! One autoscaler: the reconciliation (`reconcileAutoscaler`).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    calculator::{self, Context, MetricError, Source, Target},
    decision::{Decision, Limits, MetricOutcome, MissingRequest, ReconcileError, RescaleReason},
    memory::{self, Memory},
    observation::{MetricReading, Observation, Pod},
    plan::Plan,
    rate,
    settings::{ControllerSettings, Tolerances},
    spec::{HpaSpec, InvalidSpec},
    stabilize,
    status::{self, ConditionReason as Reason, CurrentMetric, Status},
};

/// One HorizontalPodAutoscaler and its controller's memory of it.
///
/// It has no clock and does no I/O: at every sync (upstream: every 15 s) the caller observes, passes the time to
/// [`reconcile`](Self::reconcile), and writes [`Decision::scaled_to`] to the scale.
///
/// Time should not go backwards. If it does, entries from the future count as recent, as they would upstream after a
/// step of the wall clock.
#[derive(Debug, Clone)]
pub struct Autoscaler {
    settings: ControllerSettings,
    plan: Arc<Plan>,
    memory: Memory,
    status: Status,
}

/// A serialisable autoscaler: everything it needs to continue elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Snapshot {
    pub spec: HpaSpec,
    #[serde(default)]
    pub settings: ControllerSettings,
    #[serde(default)]
    pub memory: Memory,
    #[serde(default)]
    pub status: Status,
}

impl Autoscaler {
    /// A new autoscaler with an empty status and a controller that remembers nothing. The spec is defaulted first.
    pub fn new(spec: &HpaSpec, settings: ControllerSettings) -> Result<Self, InvalidSpec> {
        let plan = Arc::new(Plan::new(spec, &settings)?);
        Ok(Self { settings, plan, memory: Memory::default(), status: Status::default() })
    }

    /// Continues from a snapshot.
    pub fn from_snapshot(snapshot: Snapshot) -> Result<Self, InvalidSpec> {
        let mut autoscaler = Self::new(&snapshot.spec, snapshot.settings)?;
        autoscaler.memory = snapshot.memory;
        autoscaler.status = snapshot.status;
        Ok(autoscaler)
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            spec: self.plan.spec.clone(),
            settings: self.settings.clone(),
            memory: self.memory.clone(),
            status: self.status.clone(),
        }
    }

    /// The user edits the spec. Memory and status stay; after an error nothing has changed.
    pub fn set_spec(&mut self, spec: &HpaSpec) -> Result<(), InvalidSpec> {
        self.plan = Arc::new(Plan::new(spec, &self.settings)?);
        Ok(())
    }

    /// The controller restarts: its memory is lost, the object with its status stays.
    pub fn restart(&mut self) {
        self.memory = Memory::default();
    }

    /// The object is deleted and created again with the same spec.
    pub fn recreate(&mut self) {
        self.restart();
        self.status = Status::default();
    }

    /// The spec in force, defaulted.
    pub fn spec(&self) -> &HpaSpec {
        &self.plan.spec
    }

    pub fn settings(&self) -> &ControllerSettings {
        &self.settings
    }

    pub fn status(&self) -> &Status {
        &self.status
    }

    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The tolerances in force, from the settings or the spec.
    pub fn tolerances(&self) -> Tolerances {
        self.plan.tolerances
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Reconciles once at the instant `now_ms`. The caller writes [`Decision::scaled_to`], if any, to the scale.
    pub fn reconcile(&mut self, now_ms: i64, observed: &Observation) -> Decision {
        // Shared instead of copied: the plan is read while the rest changes.
        let plan = Arc::clone(&self.plan);
        let mut decision = Decision::new(Arc::clone(&plan), now_ms, observed.spec_replicas);
        let conditions = &mut self.status.conditions;
        if observed.faults.get_scale {
            status::set(&mut conditions.able_to_scale, false, Reason::FailedGetScale, now_ms);
            decision.error = Some(ReconcileError::GetScale);
            return self.conclude(decision);
        }
        status::set(&mut conditions.able_to_scale, true, Reason::SucceededGetScale, now_ms);
        let current = observed.spec_replicas;
        self.memory.seed(current, now_ms);

        let mut metrics = None;
        let desired = if current == 0 && plan.min != 0 {
            let active = &mut self.status.conditions.scaling_active;
            status::set(active, false, Reason::ScalingDisabled, now_ms);
            current
        } else if current > plan.max {
            decision.rescale_reason = Some(RescaleReason::AboveMax);
            plan.max
        } else if current < plan.min {
            decision.rescale_reason = Some(RescaleReason::BelowMin);
            plan.min
        } else {
            let Some(proposal) = self.evaluate(&mut decision, observed, &mut metrics) else {
                self.write_status(current, self.status.desired_replicas, metrics);
                return self.conclude(decision);
            };
            self.normalize(&mut decision, current, proposal)
        };
        if desired == current {
            decision.rescale_reason = None;
            self.write_status(current, current, metrics);
        } else {
            self.rescale(&mut decision, observed, desired, metrics);
        }
        self.conclude(decision)
    }

    /// `computeReplicasForMetrics`: the largest proposal, unless metrics fail that might have asked for more.
    /// `None`: the reconciliation ends here.
    fn evaluate(
        &mut self,
        decision: &mut Decision,
        observed: &Observation,
        current_metrics: &mut Option<Vec<Option<CurrentMetric>>>,
    ) -> Option<i32> {
        let now_ms = decision.now_ms;
        let active = &mut self.status.conditions.scaling_active;
        if observed.faults.no_selector {
            status::set(active, false, Reason::InvalidSelector, now_ms);
            decision.error = Some(ReconcileError::NoSelector);
            return None;
        }
        let plan = &*self.plan;
        let replicas = (observed.spec_replicas, observed.status_replicas);
        let context = Context::new(&self.settings, plan.tolerances, now_ms, replicas);
        // Reuse the previous list.
        let mut values = self.status.current_metrics.take().unwrap_or_default();
        values.clear();
        let mut largest = 0;
        let mut failed = 0;
        let mut first_failed = None;
        decision.metrics.reserve_exact(plan.metrics.len());
        for (index, planned) in plan.metrics.iter().enumerate() {
            let reading = observed.metrics.get(index).unwrap_or(&MetricReading::Failed);
            let result = calculator::propose(&planned.metric, &context, &observed.pods, reading);
            match &result {
                Ok(proposal) => {
                    // A zero is overwritten by the next proposal, even a smaller one.
                    if largest == 0 || proposal.replicas > largest {
                        largest = proposal.replicas;
                        decision.leading = Some(index);
                    }
                    values.push(Some(reported(planned.metric.target, proposal)));
                }
                Err(error) => {
                    failed += 1;
                    decision.missing_requests.extend(missing_request(index, *error, &observed.pods));
                    first_failed.get_or_insert((index, *error));
                    values.push(None);
                }
            }
            decision.metrics.push(MetricOutcome { result });
        }
        *current_metrics = Some(values);
        if let Some((index, error)) = first_failed {
            decision.error = Some(ReconcileError::Metrics { failed, first: index, error });
            if failed >= plan.metrics.len() || largest < observed.spec_replicas {
                let reason = failure_reason(&plan.metrics[index].metric.source);
                status::set(active, false, reason, now_ms);
                decision.leading = None;
                return None;
            }
        }
        status::set(active, true, Reason::ValidMetricFound, now_ms);
        Some(largest)
    }

    /// From the proposal to the count that can be set now: stabilization, then limits.
    fn normalize(&mut self, decision: &mut Decision, current: i32, proposal: i32) -> i32 {
        let plan = &*self.plan;
        let now_ms = decision.now_ms;
        decision.proposal = Some(proposal);
        // Proposals below zero (of negative metrics) are zero from here on.
        let proposal = proposal.max(0);
        decision.rescale_reason = match decision.leading {
            _ if proposal < current => Some(RescaleReason::AllBelowTarget),
            Some(metric) if proposal > current => Some(RescaleReason::AboveTarget { metric }),
            _ => None,
        };
        let stabilized = match &plan.behavior {
            None => {
                let window_ms = plan.downscale_stabilization_ms;
                stabilize::without_behavior(&mut self.memory, window_ms, proposal, now_ms)
            }
            Some(rules) => stabilize::with_behavior(&mut self.memory, rules, current, proposal, now_ms),
        };
        decision.stabilized = Some(stabilized);
        let conditions = &mut self.status.conditions;
        let reason = if stabilized == proposal {
            Reason::ReadyForNewScale
        } else if plan.behavior.is_some() && proposal >= current {
            Reason::ScaleUpStabilized
        } else {
            Reason::ScaleDownStabilized
        };
        status::set(&mut conditions.able_to_scale, true, reason, now_ms);
        let cap = match &plan.behavior {
            None => rate::without_behavior(plan, current, stabilized),
            Some(rules) => rate::with_behavior(plan, rules, &self.memory, (current, stabilized), now_ms),
        };
        let desired = cap.map_or(stabilized, rate::Cap::replicas);
        // A cap that does not change the count is not called a limit.
        let limited = desired != stabilized;
        let reason = cap.map_or(Reason::DesiredWithinRange, rate::Cap::reason);
        status::set(&mut conditions.scaling_limited, limited, reason, now_ms);
        decision.limits = Limits {
            stabilization: (stabilized != proposal)
                .then(|| {
                    let rules = plan.behavior.as_ref();
                    let window_ms = plan.downscale_stabilization_ms;
                    stabilize::holder(&self.memory, rules, window_ms, (proposal, stabilized), now_ms)
                })
                .flatten(),
            cap,
        };
        desired
    }

    /// Writes the scale, or fails to.
    fn rescale(
        &mut self,
        decision: &mut Decision,
        observed: &Observation,
        desired: i32,
        metrics: Option<Vec<Option<CurrentMetric>>>,
    ) {
        let current = observed.spec_replicas;
        let now_ms = decision.now_ms.saturating_add(observed.faults.update_latency_ms);
        let able = &mut self.status.conditions.able_to_scale;
        if observed.faults.update_scale {
            status::set(able, false, Reason::FailedUpdateScale, now_ms);
            decision.error = Some(ReconcileError::UpdateScale { desired });
            self.write_status(current, self.status.desired_replicas, metrics);
            return;
        }
        status::set(able, true, Reason::SucceededRescale, now_ms);
        // The events are read only with a behaviour.
        if let Some(rules) = &self.plan.behavior {
            let change = desired.wrapping_sub(current);
            if change > 0 {
                memory::remember(&mut self.memory.scale_ups, change, now_ms, rules.up.longest_period_ms());
            } else {
                let change = change.wrapping_neg();
                memory::remember(
                    &mut self.memory.scale_downs,
                    change,
                    now_ms,
                    rules.down.longest_period_ms(),
                );
            }
        }
        decision.scaled_to = Some(desired);
        self.status.last_scale_ms = Some(now_ms);
        self.write_status(current, desired, metrics);
    }

    fn write_status(&mut self, current: i32, desired: i32, metrics: Option<Vec<Option<CurrentMetric>>>) {
        self.status.current_replicas = current;
        self.status.desired_replicas = desired;
        self.status.current_metrics = metrics;
    }

    fn conclude(&self, mut decision: Decision) -> Decision {
        decision.current = self.status.current_replicas;
        decision.desired = self.status.desired_replicas;
        decision.conditions = self.status.conditions;
        decision
    }
}

fn missing_request(metric: usize, error: MetricError, pods: &[Pod]) -> Option<MissingRequest> {
    let MetricError::MissingRequest { pod, container } = error else { return None };
    let pod = pods.get(pod)?;
    let container =
        container.and_then(|index| pod.containers.get(index)).map(|container| container.name.clone());
    Some(MissingRequest { metric, pod: Arc::clone(&pod.name), container })
}

/// The status of a metric.
fn reported(target: Option<Target>, proposal: &calculator::Proposal) -> CurrentMetric {
    match target {
        Some(Target::Value(_)) => CurrentMetric { value_milli: proposal.usage, ..CurrentMetric::default() },
        _ => CurrentMetric {
            utilization: proposal.utilization,
            average_milli: proposal.usage,
            value_milli: None,
        },
    }
}

/// The reason of `ScalingActive` if a metric of this source fails.
fn failure_reason(source: &Source) -> Reason {
    match source {
        Source::Resource { .. } => Reason::FailedGetResourceMetric,
        Source::ContainerResource { .. } => Reason::FailedGetContainerResourceMetric,
        Source::Pods => Reason::FailedGetPodsMetric,
        Source::Object => Reason::FailedGetObjectMetric,
        Source::External => Reason::FailedGetExternalMetric,
    }
}
