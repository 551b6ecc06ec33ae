//! One event in words: first the event, then its reason.

use std::{collections::BTreeMap, fmt::Write as _};

use platform::{
    Event, EventKind,
    event::{GatewayInfo, LoadPlan, LoadStage, LoadTick, NodeState, ServiceInfo},
};

use super::Entry;
use crate::{
    style::Tone,
    words::{interval, is_known, milli, plural, seconds, thousands},
};

/// Facts from earlier events that later descriptions need.
#[derive(Debug, Clone, Default)]
pub(crate) struct Context {
    gateway: Option<GatewayInfo>,
    /// How the gateway's ports choose replicas, if they have their own policy.
    policies: BTreeMap<String, String>,
    /// The load consists of datagrams.
    udp: bool,
    tick: Option<LoadTick>,
    /// Ready replicas by service, as the gateways know them.
    ready: BTreeMap<String, Vec<String>>,
    /// A balancer's last orders, by service.
    ordered: BTreeMap<String, Vec<String>>,
}

impl Context {
    pub(crate) fn observe(&mut self, event: &Event) {
        match &event.kind {
            EventKind::PlatformStarted { gateway, services, .. } => {
                self.gateway = Some(gateway.clone());
                let own = services.iter().filter_map(|one| Some((one.name.clone(), one.policy.clone()?)));
                self.policies = own.collect();
            }
            EventKind::LoadStarted { plan } => self.udp = plan.is_udp(),
            EventKind::LoadTick(tick) => self.tick = Some(tick.clone()),
            EventKind::LoadClosed { .. } => self.tick = None,
            EventKind::EndpointsChanged { service, ready, .. } => {
                // Bounded by the services of one platform.
                self.ready.insert(service.clone(), ready.clone());
            }
            EventKind::Balanced { service, orders, .. } => {
                self.ordered.insert(service.clone(), orders.clone());
            }
            _ => {}
        }
    }

    /// The share of a newly ready replica: if the gateway draws two and takes the emptier one, or if it takes the
    /// emptiest of all.
    fn share_of_a_new_one(&self, service: &str, pod: &str) -> Option<String> {
        let usual = self.gateway.as_ref().map(|gateway| &gateway.policy);
        let policy = self.policies.get(service).or(usual)?;
        let loaded = self.tick.as_ref().is_some_and(|tick| tick.open > 0);
        let ready = self.ready.get(service)?;
        // The gateways may learn about it before or after.
        let replicas = ready.iter().filter(|name| *name != pod).count() + 1;
        let what = if self.udp { "sessions" } else { "connections" };
        let share = match policy.as_str() {
            "least request" => format!("{} of {}", 2 * replicas - 1, replicas * replicas),
            "least request of all" => {
                return (loaded && replicas > 1)
                    .then(|| format!("gets all new {what} while it is the emptiest"));
            }
            _ => return None,
        };
        (loaded && replicas > 1).then(|| format!("gets {share} new {what} while it is emptier"))
    }
}

/// The entry for an event, if it deserves one.
pub(crate) fn of(event: &Event, context: &Context) -> Option<Entry> {
    if let EventKind::Warning { message } = &event.kind {
        return Some(Entry::new("warning", Tone::Bad, message));
    }
    platform(&event.kind)
        .or_else(|| pod(&event.kind, context))
        .or_else(|| autoscaling(event, context))
        .or_else(|| load(&event.kind, context))
}

fn platform(kind: &EventKind) -> Option<Entry> {
    let entry = match kind {
        EventKind::PlatformStarted { platform, target, nodes, gateway, services } => {
            let nodes = plural(u64::from(*nodes), "node", "nodes");
            let mut title = format!("{platform} on {target}, {nodes}");
            if !gateway.is_none() {
                _ = write!(title, ", gateway: {}, {}", gateway.kind, gateway.policy);
            }
            let mut entry = Entry::new("platform", Tone::Strong, title);
            entry.more = services.iter().map(service_line).collect();
            entry
        }
        EventKind::PartReady { part, detail, after_ms } => {
            Entry::new("part", Tone::Pod, format!("{part} ready after {}", seconds(*after_ms))).why(detail)
        }
        EventKind::PartStopped { part, after_ms } => {
            Entry::new("part", Tone::Bad, format!("{part} stopped after {}", seconds(*after_ms)))
        }
        EventKind::PlatformReady { platform, after_ms } => {
            Entry::new("platform", Tone::Good, format!("{platform} ready after {}", seconds(*after_ms)))
        }
        EventKind::PlatformStopping { platform, grace } => {
            let how = if *grace { "draining" } else { "at once" };
            Entry::new("platform", Tone::Strong, format!("{platform} goes down")).why(how)
        }
        EventKind::NodeChanged { node, state, reason } => {
            let (tone, what) = match state {
                NodeState::Ready => (Tone::Good, "ready"),
                NodeState::NotReady => (Tone::Bad, "not ready"),
                NodeState::Cordoned => (Tone::Pod, "cordoned: it takes no new pods"),
                NodeState::Gone => (Tone::Bad, "gone"),
            };
            Entry::new("node", tone, format!("{node} {what}")).why(reason)
        }
        EventKind::PlatformStopped { platform } => {
            Entry::new("platform", Tone::Strong, format!("{platform} is down")).why("nothing is left")
        }
        _ => return None,
    };
    Some(entry)
}

fn autoscaling(event: &Event, context: &Context) -> Option<Entry> {
    let entry = match &event.kind {
        EventKind::MetricCrossed {
            service,
            metric,
            average_milli,
            target_milli,
            above,
            next_sync_ms,
            not_before_ms,
        } => {
            let over = (*average_milli as f64 / *target_milli as f64 - 1.0) * 100.0;
            let what = format!(
                "{service} average {} of {} ({over:+.1} %)",
                milli(*average_milli),
                milli(*target_milli)
            );
            let why = if let Some(earliest) = not_before_ms {
                let before = event.t_ms.saturating_sub(*earliest);
                format!(
                    "{metric} went above target and tolerance up to {} earlier; the autoscaler saw it first",
                    seconds(before)
                )
            } else if *above {
                let wait = next_sync_ms.saturating_sub(event.t_ms);
                format!("{metric} above target and tolerance; the autoscaler looks in {}", seconds(wait))
            } else {
                format!("{metric} no longer above target and tolerance")
            };
            Entry::new("metric", Tone::Metric, what).why(why)
        }
        EventKind::DesiredChanged { service, from, to, reason, explanation, .. } => {
            Entry::new("desired", Tone::Decision, format!("{service} {from} → {to}"))
                .why(explanation)
                .more(format!("the controller says: {reason}"))
        }
        EventKind::ScaleDownHeld { service, recommended, held_at, until_ms } => {
            let left = seconds(until_ms.saturating_sub(event.t_ms));
            Entry::new("window", Tone::Metric, format!("{service} stays at {held_at}")).why(format!(
                "{recommended} would do; the stabilization window holds {held_at} for another {left}"
            ))
        }
        EventKind::TrafficChanged { pod, traffic, .. } => {
            let what =
                if traffic.is_active() { "takes new connections again" } else { "takes no new connections" };
            Entry::new("balance", Tone::Decision, format!("{pod} {what}"))
        }
        EventKind::Balanced { service, orders, reason } if !orders.is_empty() => {
            Entry::new("balance", Tone::Decision, format!("{service}: {}", orders.join(", "))).why(reason)
        }
        EventKind::ReplicasSet { service, from, to } => {
            let change = format!("{from} → {to}");
            let is_ordered = context.ordered.get(service).is_some_and(|orders| orders.contains(&change));
            let by = if is_ordered { "set by the balancer" } else { "set by hand" };
            Entry::new("scale", Tone::Decision, format!("{service} {change}")).why(by)
        }
        _ => return None,
    };
    Some(entry)
}

fn service_line(service: &ServiceInfo) -> String {
    let replicas = plural(u64::from(service.replicas), "replica", "replicas");
    let bounds =
        service.autoscaled.map(|[min, max]| format!(", autoscaled {min} to {max}")).unwrap_or_default();
    let endpoint = service.endpoint.as_ref().map(|endpoint| format!(" at {endpoint}")).unwrap_or_default();
    format!("{}: {replicas}{bounds}{endpoint}", service.name)
}

fn pod(kind: &EventKind, context: &Context) -> Option<Entry> {
    let entry = match kind {
        EventKind::PodStarting { pod, node, restarts, .. } => {
            let entry = Entry::new("pod", Tone::Pod, format!("{pod} starting on {node}"));
            if *restarts > 0 { entry.why(format!("restart {restarts}")) } else { entry }
        }
        EventKind::PodReady { service, pod, after_ms } => {
            let entry = Entry::new("pod", Tone::Pod, format!("{pod} ready after {}", seconds(*after_ms)));
            match context.share_of_a_new_one(service, pod) {
                Some(share) => entry.why(share),
                None => entry,
            }
        }
        EventKind::PodUnready { pod, reason, .. } => {
            Entry::new("pod", Tone::Bad, format!("{pod} not ready")).why(reason)
        }
        EventKind::PodDraining { pod, connections, .. } => {
            let held = connections.map(|count| format!(": {}", plural(count, "connection", "connections")));
            Entry::new("pod", Tone::Pod, format!("{pod} draining{}", held.unwrap_or_default()))
        }
        EventKind::PodGone { pod, after_ms, forced, .. } => {
            let why = if *forced { "killed: its grace period ran out" } else { "" };
            let tone = if *forced { Tone::Bad } else { Tone::Pod };
            Entry::new("pod", tone, format!("{pod} gone after {}", seconds(*after_ms))).why(why)
        }
        EventKind::PodCrashed { pod, exit, restart_in_ms, .. } => {
            let next = match restart_in_ms {
                Some(0) => "starts again at once".to_owned(),
                Some(wait) => format!("starts again in {}", seconds(*wait)),
                None => "will not restart".to_owned(),
            };
            Entry::new("pod", Tone::Bad, format!("{pod} ended: {exit}")).why(next)
        }
        _ => return None,
    };
    Some(entry)
}

fn load(kind: &EventKind, context: &Context) -> Option<Entry> {
    let entry = match kind {
        EventKind::LoadStarted { plan } => {
            Entry::new("load", Tone::Load, format!("{}: {}", plan.name, plan_words(plan)))
        }
        EventKind::PhaseStarted { phase, detail } => match phase.as_str() {
            // The plan's own line and the line that counts the closed connections already say it.
            "ramp" | "close" => return None,
            phase => Entry::new("load", Tone::Load, format!("{phase}: {detail}")),
        },
        EventKind::RampDone { open, .. } if context.udp => {
            Entry::new("load", Tone::Load, format!("{} open", plural(*open, "peer", "peers")))
        }
        EventKind::RampDone { open, refused, lost, .. } => {
            let what = format!(
                "ramp done: {} open, {} refused, {} lost",
                thousands(*open),
                thousands(*refused),
                thousands(*lost)
            );
            let entry = Entry::new("load", Tone::Load, what);
            match context.tick.as_ref().and_then(spread) {
                Some(spread) => entry.more(spread),
                None => entry,
            }
        }
        EventKind::LoadClosed { closed } if context.udp => {
            Entry::new("load", Tone::Load, format!("{} closed", plural(*closed, "peer", "peers")))
        }
        EventKind::LoadClosed { closed } => Entry::new(
            "load",
            Tone::Load,
            format!("{} closed by the client", plural(*closed, "connection", "connections")),
        ),
        EventKind::ActionTaken { action, because, outcome, failed } => {
            let tone = if *failed { Tone::Bad } else { Tone::Decision };
            let entry = Entry::new("action", tone, action).why(because);
            entry.more(if *failed { format!("not done: {outcome}") } else { outcome.clone() })
        }
        EventKind::ConnectionOpened { id, local, connect_us, replica } => {
            let replica = replica.as_ref().map(|replica| format!(" on {replica}")).unwrap_or_default();
            Entry::new("connection", Tone::Faint, format!("{id} open from {local}{replica}"))
                .why(interval(*connect_us))
        }
        EventKind::ConnectionClosed { id, reason } => {
            Entry::new("connection", Tone::Faint, format!("{id} closed")).why(reason)
        }
        _ => return None,
    };
    Some(entry)
}

fn plan_words(plan: &LoadPlan) -> String {
    if plan.is_udp() {
        return datagram_words(plan);
    }
    let messages = match plan.message_interval_ms {
        Some(every) => format!("each {} every {}", plan.payload, interval(every.saturating_mul(1000))),
        None => "silent".to_owned(),
    };
    let from = if plan.duration_from_ramp { " after the ramp" } else { "" };
    let pace = match (plan.connections, plan.joining) {
        (_, 0) => format!(", one per {}", interval(plan.connect_interval_us)),
        (0, _) => ", who join in groups".to_owned(),
        (first, joining) => format!(
            ", {} of them one per {} and {} who join later",
            thousands(first),
            interval(plan.connect_interval_us),
            thousands(joining)
        ),
    };
    format!(
        "{} {} connections to {}{pace}, {messages}, for {}{from}",
        thousands(plan.users()),
        plan.protocol,
        plan.target,
        interval(plan.duration_ms.saturating_mul(1000)),
    )
}

/// `64 udp peers to 127.0.0.1:10001, together sending msg:12345 at 1,000/s → 30,000/s in 120 s, then …, at most 8 of each
/// without an answer`
fn datagram_words(plan: &LoadPlan) -> String {
    let length = interval(plan.duration_ms.saturating_mul(1000));
    let from = if plan.duration_from_ramp { " after the ramp" } else { "" };
    let pace = match (plan.stages.as_slice(), plan.message_interval_ms) {
        ([], None) => format!("silent, for {length}{from}"),
        ([], Some(0)) => format!("each {} as fast as answers come, for {length}{from}", plan.payload),
        ([], Some(every)) => {
            let every = interval(every.saturating_mul(1000));
            format!("each {} every {every}, for {length}{from}", plan.payload)
        }
        (stages, _) => {
            let stages: Vec<_> = stages.iter().map(stage_words).collect();
            format!("together sending {} at {}", plan.payload, stages.join(", then "))
        }
    };
    let window = plan.window.map(|window| format!(", at most {window} of each without an answer"));
    let peers = plural(plan.connections, "udp peer", "udp peers");
    format!("{peers} to {}, {pace}{}", plan.target, window.unwrap_or_default())
}

fn stage_words(stage: &LoadStage) -> String {
    let rate = |milli: u64| format!("{}/s", milli_words(milli));
    let length = interval(stage.ms.saturating_mul(1000));
    if stage.from_milli_per_s == stage.to_milli_per_s {
        return format!("{} for {length}", rate(stage.from_milli_per_s));
    }
    format!("{} → {} in {length}", rate(stage.from_milli_per_s), rate(stage.to_milli_per_s))
}

fn milli_words(value: u64) -> String {
    milli(i64::try_from(value).unwrap_or(i64::MAX))
}

/// Connections per replica: `tcp-0 7,745 · tcp-1 2,255 · skew 1.55 · Jain 0.77`.
fn spread(tick: &LoadTick) -> Option<String> {
    const SHOWN: usize = 12;
    if !tick.by_replica.keys().any(|replica| is_known(replica)) {
        return None;
    }
    let mut parts: Vec<_> = tick
        .by_replica
        .iter()
        .take(SHOWN)
        .map(|(replica, count)| format!("{replica} {}", thousands(*count)))
        .collect();
    if tick.by_replica.len() > SHOWN {
        parts.push(format!("{} more", tick.by_replica.len() - SHOWN));
    }
    if let Some(skew) = tick.skew {
        parts.push(format!("skew {:.2}", skew.max_over_mean));
        parts.push(format!("Jain {:.2}", skew.jain));
    }
    Some(parts.join(" · "))
}
