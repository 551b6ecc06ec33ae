//! The policy that sets the number of servers: as many as the sessions need, by thresholds.
//!
//! Rules 1 to 7 of the policy `utilization`, in `docs/balancer.md`. Percentages are compared as fractions, so a
//! threshold is met exactly or not at all.

use crate::fleet::{activate, deactivate, goes_first};
use crate::moving::Moving;
use crate::reason::{Share, Wanted};
use crate::{Decision, Fleet, Order, Reason, Server};

/// The numbers of the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// `LIMIT`: the number of sessions that a server is meant for.
    pub limit: u64,
    pub max_percent: u64,
    pub min_percent: u64,
    pub tolerance_percent: u64,
    /// Never more replicas than this.
    pub replicas_max: u32,
    /// Sessions that are asked to move per second.
    pub shed_rate: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            limit: 10,
            max_percent: 70,
            min_percent: 40,
            tolerance_percent: 10,
            replicas_max: 10,
            shed_rate: 200,
        }
    }
}

/// The policy and its state: which sessions are on the move.
#[derive(Debug, Clone)]
pub struct Utilization {
    rules: Rules,
    moving: Moving,
}

impl Utilization {
    pub fn new(rules: Rules) -> Self {
        Self { rules, moving: Moving::default() }
    }

    /// `count` sessions were asked to move, by an order of [`Self::balance`] or by hand.
    pub fn shed(&mut self, now_ms: u64, count: u64) {
        self.moving.shed(now_ms, count);
    }

    /// The desired number of servers (rules 1 to 4, 6 and 7).
    pub fn utilize(&mut self, now_ms: u64, fleet: &Fleet) -> Decision {
        let sessions = self.sessions(now_ms, fleet);
        if fleet.servers.is_empty() {
            return Decision::nothing(Reason::NoServers);
        }
        if sessions == 0 && fleet.replicas > 1 {
            return down_to_one(fleet);
        }
        let share = self.share(sessions, fleet);
        let rules = &self.rules;
        let wanted = self.wanted(sessions);
        // At least one server must be active.
        if share.is_above(rules.max_percent.saturating_add(rules.tolerance_percent)) || share.whole == 0 {
            return self.grow(fleet, share, wanted);
        }
        if share.is_below(rules.min_percent)
            && let Some(decision) = self.take_out(fleet, share, wanted)
        {
            return decision;
        }
        self.remove_empty(fleet, share)
    }

    /// The servers with too many sessions (rule 5).
    pub fn balance(&mut self, now_ms: u64, fleet: &Fleet) -> Vec<Decision> {
        let sessions = self.sessions(now_ms, fleet);
        let tolerance = self.rules.tolerance_percent;
        let overall = self.share(sessions, fleet).percent();
        let full: Vec<_> = fleet.servers.iter().filter_map(|server| self.full(server, overall)).collect();
        if full.is_empty() {
            return vec![Decision::nothing(Reason::Even { overall, tolerance })];
        }
        let has_others = |decision: &Decision| {
            let Reason::Full { server: name, .. } = &decision.reason else { return false };
            let mut others = fleet.servers.iter().filter(|other| other.name != *name);
            others.any(|other| other.traffic.is_active() && other.ready)
        };
        let full: Vec<_> = full.into_iter().filter(has_others).collect();
        if full.is_empty() {
            return vec![Decision::nothing(Reason::NobodyToShareWith)];
        }
        full
    }

    fn full(&self, server: &Server, overall: u64) -> Option<Decision> {
        let tolerance = self.rules.tolerance_percent;
        let percent = Share { part: server.connections, whole: server.capacity }.percent();
        let keeps = (u128::from(server.capacity) * u128::from(overall)).div_ceil(100) as u64;
        let count = server.connections.saturating_sub(keeps);
        if percent <= overall.saturating_add(tolerance) || count == 0 {
            return None;
        }
        let (name, sessions) = (server.name.clone(), server.connections);
        let shed = Order::Shed { server: name.clone(), count, per_second: self.rules.shed_rate };
        let reason = Reason::Full { server: name, sessions, percent, overall, tolerance, keeps };
        Some(Decision { orders: vec![shed], reason })
    }

    /// Rules 1 and 7: all sessions, also on inactive servers and on the move.
    fn sessions(&mut self, now_ms: u64, fleet: &Fleet) -> u64 {
        self.moving.count(now_ms, fleet, fleet.waiting)
    }

    /// Rule 1.
    fn share(&self, sessions: u64, fleet: &Fleet) -> Share {
        let active = fleet.servers.iter().filter(|server| server.traffic.is_active()).count() as u64;
        let active = active.saturating_add(fleet.to_come());
        Share { part: sessions, whole: active.saturating_mul(self.rules.limit) }
    }

    fn wanted(&self, sessions: u64) -> Wanted {
        let per_server_hundredths = self.rules.limit.saturating_mul(self.rules.max_percent).max(1);
        let servers = (u128::from(sessions) * 100).div_ceil(per_server_hundredths.into()).max(1) as u64;
        Wanted { sessions, per_server_hundredths, servers }
    }

    /// Rule 2.
    fn grow(&self, fleet: &Fleet, share: Share, wanted: Wanted) -> Decision {
        let active = share.whole / self.rules.limit.max(1);
        let missing = wanted.servers.saturating_sub(active);
        // The fullest ones: the emptiest can be removed soonest.
        let mut inactive: Vec<_> =
            fleet.servers.iter().filter(|server| !server.traffic.is_active()).collect();
        inactive.sort_by(|a, b| (b.connections, &a.name).cmp(&(a.connections, &b.name)));
        inactive.truncate(missing as usize);
        let mut orders: Vec<_> = inactive.iter().flat_map(|server| activate(server)).collect();
        let missing = missing - inactive.len() as u64;
        let to = (u64::from(fleet.replicas) + missing).min(self.rules.replicas_max.into()) as u32;
        let added = to.saturating_sub(fleet.replicas);
        if added > 0 {
            orders.push(Order::Scale { from: fleet.replicas, to });
        }
        let reason = Reason::Over {
            share,
            fence: self.rules.max_percent.saturating_add(self.rules.tolerance_percent),
            wanted,
            activated: inactive.iter().map(|server| server.name.clone()).collect(),
            added,
            most: (u64::from(added) < missing).then_some(self.rules.replicas_max),
        };
        Decision { orders, reason }
    }

    /// Rule 3; `None` if no server can be spared.
    fn take_out(&self, fleet: &Fleet, share: Share, wanted: Wanted) -> Option<Decision> {
        let active = share.whole / self.rules.limit.max(1);
        let mut candidates: Vec<_> =
            fleet.servers.iter().filter(|server| server.traffic.is_active()).collect();
        // Among equals, the one that cannot take sessions anyway.
        candidates.sort_by_key(|server| (server.connections, server.ready, &server.name));
        let spared = active.saturating_sub(wanted.servers).min((candidates.len() as u64).saturating_sub(1));
        candidates.truncate(spared as usize);
        if candidates.is_empty() {
            return None;
        }
        Some(Decision {
            orders: candidates.iter().filter_map(|server| deactivate(server)).collect(),
            reason: Reason::Under {
                share,
                fence: self.rules.min_percent,
                wanted,
                taken_out: candidates.iter().map(|server| server.name.clone()).collect(),
            },
        })
    }

    /// Rule 4.
    fn remove_empty(&self, fleet: &Fleet, share: Share) -> Decision {
        let rules = &self.rules;
        let empty: Vec<_> = fleet
            .servers
            .iter()
            .filter(|server| !server.traffic.is_active() && server.connections == 0)
            .collect();
        let mut orders: Vec<_> = empty.iter().filter_map(|server| goes_first(server)).collect();
        // Servers that were marked earlier may still exist, waiting to be told to end.
        let fewer = (empty.len() as u64).saturating_sub(fleet.surplus());
        let to = u64::from(fleet.replicas).saturating_sub(fewer).max(1) as u32;
        if to < fleet.replicas {
            orders.push(Order::Scale { from: fleet.replicas, to });
        }
        let gone = empty.iter().map(|server| server.name.clone()).collect();
        let max = rules.max_percent.saturating_add(rules.tolerance_percent);
        Decision { orders, reason: Reason::Within { share, min: rules.min_percent, max, gone } }
    }
}

/// Rule 6.
fn down_to_one(fleet: &Fleet) -> Decision {
    let best = |server: &&Server| (!server.ready, !server.traffic.is_active(), server.name.clone());
    let Some(kept) = fleet.servers.iter().min_by_key(best) else {
        return Decision::nothing(Reason::NoServers);
    };
    let mut orders = activate(kept);
    for server in fleet.servers.iter().filter(|server| server.name != kept.name) {
        orders.extend(goes_first(server));
    }
    orders.push(Order::Scale { from: fleet.replicas, to: 1 });
    Decision { orders, reason: Reason::NobodyThere { kept: kept.name.clone(), from: fleet.replicas } }
}

#[cfg(test)]
mod tests;
