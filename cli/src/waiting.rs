//! The live line: the current wait, and how long it can take.

use std::time::Duration;

use platform::{Event, EventKind, event::LoadPlan};

/// Follows the stream and says what it is waiting for. Reads no clock: the caller passes the time, ms of the run.
pub(crate) struct Waiting {
    plan: LoadPlan,
    wait: Duration,
    phase: Phase,
    open: u64,
    connected: u64,
    /// Messages sent, and when that was counted: now and at the previous tick.
    sent: [(u64, u64); 2],
    lost: u64,
    /// The last observed action of each autoscaled service.
    held: Option<Held>,
}

#[derive(Clone, Copy)]
enum Phase {
    Before,
    Ramp { since_ms: u64 },
    Hold { since_ms: u64 },
    After { since_ms: u64 },
}

struct Held {
    service: String,
    recommended: u32,
    until_ms: u64,
}

impl Waiting {
    pub(crate) fn new(plan: LoadPlan, wait: Duration) -> Self {
        Self {
            plan,
            wait,
            phase: Phase::Before,
            open: 0,
            connected: 0,
            sent: [(0, 0); 2],
            lost: 0,
            held: None,
        }
    }

    pub(crate) fn observe(&mut self, event: &Event) {
        match &event.kind {
            EventKind::LoadStarted { .. } => self.phase = Phase::Ramp { since_ms: event.t_ms },
            EventKind::RampDone { .. } => self.phase = Phase::Hold { since_ms: event.t_ms },
            EventKind::LoadClosed { .. } => self.phase = Phase::After { since_ms: event.t_ms },
            EventKind::LoadTick(tick) => {
                self.open = tick.open;
                self.connected = tick.totals.connected_first;
                self.sent = [self.sent[1], (tick.totals.messages_sent, event.t_ms)];
                self.lost = tick.totals.message_timeouts;
            }
            EventKind::ScaleDownHeld { service, recommended, until_ms, .. } => {
                self.held =
                    Some(Held { service: service.clone(), recommended: *recommended, until_ms: *until_ms });
            }
            EventKind::DesiredChanged { .. } => self.held = None,
            _ => {}
        }
    }

    /// The stage (changes rarely) and the line (changes all the time); `None`: nothing to wait for yet.
    pub(crate) fn line(&self, now_ms: u64, pending: &[String]) -> Option<(&'static str, String)> {
        let plan = &self.plan;
        match self.phase {
            Phase::Before => None,
            Phase::Ramp { since_ms } => {
                let whole = Duration::from_micros(plan.connect_interval_us.saturating_mul(plan.connections));
                Some((
                    "ramp",
                    format!(
                        "ramp: {} of {} {}, {} left",
                        self.connected,
                        plan.connections,
                        if plan.is_udp() { "peers" } else { "connections" },
                        seconds(whole.saturating_sub(elapsed(since_ms, now_ms)))
                    ),
                ))
            }
            Phase::Hold { since_ms } => {
                let mut whole = Duration::from_millis(plan.duration_ms);
                // With stages, all peers open at once.
                if !plan.duration_from_ramp && plan.stages.is_empty() {
                    let ramp =
                        Duration::from_micros(plan.connect_interval_us.saturating_mul(plan.connections));
                    whole = whole.saturating_sub(ramp);
                }
                let left = seconds(whole.saturating_sub(elapsed(since_ms, now_ms)));
                if plan.is_udp() {
                    let rate = self.messages_per_second();
                    return Some((
                        "hold",
                        format!(
                            "{} peers send {rate} messages/s, {} without an answer, {left} left",
                            self.open, self.lost
                        ),
                    ));
                }
                Some(("hold", format!("holding {} connections, {left} left", self.open)))
            }
            Phase::After { since_ms } => {
                if pending.is_empty() {
                    return None;
                }
                let left = seconds(self.wait.saturating_sub(elapsed(since_ms, now_ms)));
                let what = pending.join(", ");
                let why = match &self.held {
                    Some(held) if held.until_ms > now_ms => format!(
                        "; {} wants {}, but its stabilization window delays it for {} more",
                        held.service,
                        held.recommended,
                        seconds(elapsed(now_ms, held.until_ms))
                    ),
                    _ if pending.iter().any(|expectation| expectation.contains('→')) => {
                        "; the one-minute metric, the window and a sync must pass".to_owned()
                    }
                    _ => String::new(),
                };
                Some(("after", format!("waiting for {what}, at most {left}{why}")))
            }
        }
    }
}

impl Waiting {
    /// Between the last two ticks.
    fn messages_per_second(&self) -> u64 {
        let [(before, since_ms), (now, at_ms)] = self.sent;
        let apart = elapsed(since_ms, at_ms).as_secs_f64();
        if since_ms == 0 || apart <= 0.0 {
            return 0;
        }
        (now.saturating_sub(before) as f64 / apart).round() as u64
    }
}

fn elapsed(since_ms: u64, now_ms: u64) -> Duration {
    Duration::from_millis(now_ms.saturating_sub(since_ms))
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use platform::event::{Counters, LatencySummary, LoadTick, Source, Stamper};
    use scenario::{Protocol, Scenario};
    use uuid::Uuid;

    use super::*;

    fn event(second: u64, kind: EventKind) -> Event {
        Stamper::new(Uuid::nil(), Source::Load, Timestamp::UNIX_EPOCH).stamp(second * 1000, kind)
    }

    fn tick(sent: u64, timeouts: u64) -> EventKind {
        EventKind::LoadTick(LoadTick {
            open: 64,
            connecting: 0,
            totals: Counters {
                connected_first: 64,
                messages_sent: sent,
                message_timeouts: timeouts,
                ..Counters::default()
            },
            connect: LatencySummary::default(),
            first_byte: LatencySummary::default(),
            message: LatencySummary::default(),
            by_replica: [].into(),
            skew: None,
        })
    }

    fn hold(protocol: Protocol) -> String {
        let mut scenario = Scenario { protocol, ..Scenario::default() };
        scenario.phases.ramp.connections = 64;
        let plan = scenario.describe("127.0.0.1:1".to_owned());
        let mut waiting = Waiting::new(plan.clone(), Duration::ZERO);
        let ramp_done = EventKind::RampDone { open: 64, refused: 0, lost: 0, after_ms: 10 };
        for (second, kind) in [
            (10, EventKind::LoadStarted { plan }),
            (11, ramp_done),
            (12, tick(20_000, 0)),
            (14, tick(80_000, 7)),
        ] {
            waiting.observe(&event(second, kind));
        }
        waiting.line(15_000, &[]).unwrap().1
    }

    #[test]
    fn the_hold_line_fits_the_protocol() {
        assert_eq!(hold(Protocol::Tcp), "holding 64 connections, 26 s left");
        assert_eq!(hold(Protocol::Udp), "64 peers send 30000 messages/s, 7 without an answer, 26 s left");
    }
}
