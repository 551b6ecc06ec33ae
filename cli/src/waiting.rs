//! The live line: what is being waited for right now, and how long that can take.

use std::time::Duration;

use jiff::Timestamp;
use load::Plan;
use platform::{Event, EventKind, event::LoadPlan};

/// Follows the stream and says what it is waiting for. Reads no clock: the caller brings the time.
pub(crate) struct Waiting {
    plan: LoadPlan,
    wait: Duration,
    phase: Phase,
    open: u64,
    connected: u64,
    /// Per service under autoscaling: the last thing it was seen to do.
    held: Option<Held>,
}

#[derive(Clone, Copy)]
enum Phase {
    Before,
    Ramp { since: Timestamp },
    Hold { since: Timestamp },
    After { since: Timestamp },
}

struct Held {
    service: String,
    recommended: u32,
    until: Timestamp,
}

impl Waiting {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            plan: plan.describe(),
            wait: plan.wait,
            phase: Phase::Before,
            open: 0,
            connected: 0,
            held: None,
        }
    }

    pub(crate) fn observe(&mut self, event: &Event) {
        match &event.kind {
            EventKind::LoadStarted { .. } => self.phase = Phase::Ramp { since: event.wall },
            EventKind::RampDone { .. } => self.phase = Phase::Hold { since: event.wall },
            EventKind::LoadClosed { .. } => self.phase = Phase::After { since: event.wall },
            EventKind::LoadTick(tick) => {
                self.open = tick.open;
                self.connected = tick.totals.connected_first;
            }
            EventKind::ScaleDownHeld { service, recommended, until_ms, .. } => {
                // Times inside an event count from its own stream's beginning; only the distance is of use here.
                let left = until_ms.saturating_sub(event.t_ms);
                let until = event.wall + jiff::SignedDuration::from_millis(left as i64);
                self.held = Some(Held { service: service.clone(), recommended: *recommended, until });
            }
            EventKind::DesiredChanged { .. } => self.held = None,
            _ => {}
        }
    }

    /// The stage (changes rarely) and the line (changes all the time); `None`: nothing to wait for yet.
    pub(crate) fn line(&self, now: Timestamp, pending: &[String]) -> Option<(&'static str, String)> {
        let plan = &self.plan;
        match self.phase {
            Phase::Before => None,
            Phase::Ramp { since } => {
                let whole = Duration::from_micros(plan.connect_interval_us.saturating_mul(plan.connections));
                Some((
                    "ramp",
                    format!(
                        "ramp: {} of {} connections, {} left",
                        self.connected,
                        plan.connections,
                        seconds(whole.saturating_sub(elapsed(since, now)))
                    ),
                ))
            }
            Phase::Hold { since } => {
                let mut whole = Duration::from_millis(plan.duration_ms);
                if !plan.duration_from_ramp {
                    let ramp =
                        Duration::from_micros(plan.connect_interval_us.saturating_mul(plan.connections));
                    whole = whole.saturating_sub(ramp);
                }
                let left = seconds(whole.saturating_sub(elapsed(since, now)));
                Some(("hold", format!("holding {} connections, {left} left", self.open)))
            }
            Phase::After { since } => {
                if pending.is_empty() {
                    return None;
                }
                let left = seconds(self.wait.saturating_sub(elapsed(since, now)));
                let what = pending.join(", ");
                let why = match &self.held {
                    Some(held) if held.until > now => format!(
                        "; {} is to go to {}, its stabilization window holds it for {} more",
                        held.service,
                        held.recommended,
                        seconds(elapsed(now, held.until))
                    ),
                    _ => "; the metric's minute, the window and a sync must pass".to_owned(),
                };
                Some(("after", format!("waiting for {what}, at most {left}{why}")))
            }
        }
    }
}

fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs())
}
