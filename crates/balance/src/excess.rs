//! The policy beside an autoscaler: it never sets the number of servers, and moves only what exceeds the fair share.
//!
//! * It starts when a server is above its fair share plus tolerance in two consecutive ticks, and not sooner than
//!   `pause_ms` after the last rebalancing. It stops when no server is above three quarters of the tolerance, which is
//!   also the level that a server sheds down to: never below its share.
//! * As long as the others can take everything, a server that sheds takes no new connections: with a choice between
//!   two draws, a quarter of the clients that leave would come straight back. A server that already has its share takes
//!   none either.
//! * It sheds in rounds and checks the outcome of one before the next, because counts arrive late.
//! * After a change of the replicas nothing moves until that has settled.
//! * When it foresees a scale-down, it takes all victims out before the first of them sheds, so that no client moves
//!   from one victim to another. While they shed, no other server does: their connections even out the others.

mod victims;

use std::collections::BTreeSet;

use crate::fleet::{activate, deactivate};
use crate::moving::Moving;
use crate::{Decision, Fleet, GOES_FIRST, Order, Reason, Server};

/// The numbers of the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExcessRules {
    pub tolerance_percent: u64,
    /// Connections that a server can take; `None`: any number.
    pub capacity: Option<u64>,
    /// Connections that are asked to move per second, over all servers.
    pub shed_rate: u64,
    /// New connections that a server can take per second.
    pub accept_rate: u64,
    /// Maximum duration of a round.
    pub round_ms: u64,
    /// How long it takes until counts show the effect of a round: the scrape, and the clients' return.
    pub outcome_ms: u64,
    /// Pause after a change of the replicas.
    pub settle_ms: u64,
    /// Pause between two rebalancings.
    pub pause_ms: u64,
    /// How long a moved connection may count twice for the autoscaler, whose metric has a window.
    pub twice_ms: u64,
}

impl Default for ExcessRules {
    fn default() -> Self {
        Self {
            tolerance_percent: 10,
            capacity: None,
            shed_rate: 200,
            accept_rate: 400,
            round_ms: 10_000,
            outcome_ms: 10_000,
            settle_ms: 15_000,
            pause_ms: 60_000,
            twice_ms: 75_000,
        }
    }
}

/// The policy and its state.
#[derive(Debug, Clone)]
pub struct Excess {
    rules: ExcessRules,
    moving: Moving,
    /// The replicas at the last tick, and when they last changed.
    replicas: Option<(u32, BTreeSet<String>)>,
    changed_ms: Option<u64>,
    state: State,
    /// Taken out because a scale-down is foreseen.
    victims: BTreeSet<String>,
    victims_next_ms: u64,
    /// When one of them was last told to shed.
    victims_shed_ms: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Even {
        /// No rebalancing begins before this time.
        not_before_ms: u64,
    },
    /// Uneven at the last tick.
    Suspect {
        not_before_ms: u64,
    },
    Shedding {
        next_round_ms: u64,
    },
}

/// How far a server exceeds its share.
struct Over<'a> {
    server: &'a Server,
    keeps: u64,
}

impl Over<'_> {
    fn excess(&self) -> u64 {
        self.server.connections.saturating_sub(self.keeps)
    }
}

impl Excess {
    pub fn new(rules: ExcessRules) -> Self {
        Self {
            rules,
            moving: Moving::default(),
            replicas: None,
            changed_ms: None,
            state: State::Even { not_before_ms: 0 },
            victims: BTreeSet::new(),
            victims_next_ms: 0,
            victims_shed_ms: None,
        }
    }

    /// `count` connections were asked to move.
    pub fn shed(&mut self, now_ms: u64, count: u64) {
        self.moving.shed(now_ms, count);
    }

    /// What to do now.
    pub fn look(&mut self, now_ms: u64, fleet: &Fleet) -> Vec<Decision> {
        let total = self.moving.count(now_ms, fleet, 0);
        let mut decisions = self.attend_victims(now_ms, fleet);
        let sharing: Vec<&Server> = fleet
            .servers
            .iter()
            .filter(|server| server.ready && !self.victims.contains(&server.name))
            .collect();
        let settled = self.has_settled(now_ms, fleet);
        if !self.victims.is_empty() && now_ms < self.victims_next_ms {
            decisions.extend(self.stop(now_ms, fleet));
            decisions.push(Decision::nothing(Reason::VictimsFirst));
            return decisions;
        }
        if sharing.len() < 2 || settled.is_err() {
            decisions.extend(self.stop(now_ms, fleet));
            decisions.push(Decision::nothing(match settled {
                Err(for_ms) => Reason::Settling { for_ms },
                Ok(()) => Reason::NobodyToShareWith,
            }));
            return decisions;
        }
        // Victims keep their connections until they shed them.
        let victims = fleet.servers.iter().filter(|server| self.victims.contains(&server.name));
        let theirs = victims.fold(0_u64, |sum, server| sum.saturating_add(server.connections));
        decisions.extend(self.even_out(now_ms, fleet, &sharing, total.saturating_sub(theirs)));
        decisions
    }

    /// Whether the last change of the replicas was long enough ago; if not, how long ago it was.
    fn has_settled(&mut self, now_ms: u64, fleet: &Fleet) -> Result<(), u64> {
        let ready = fleet.servers.iter().filter(|server| server.ready);
        let now = (fleet.replicas, ready.map(|server| server.name.clone()).collect::<BTreeSet<_>>());
        // Nothing is known about the time before the first look.
        if self.replicas.as_ref() != Some(&now) {
            self.changed_ms = Some(now_ms);
        }
        self.replicas = Some(now);
        let for_ms = now_ms.saturating_sub(self.changed_ms.unwrap_or(now_ms));
        if for_ms < self.rules.settle_ms { Err(for_ms) } else { Ok(()) }
    }

    fn even_out(&mut self, now_ms: u64, fleet: &Fleet, sharing: &[&Server], total: u64) -> Vec<Decision> {
        let servers = sharing.len() as u64;
        let tolerance = self.rules.tolerance_percent;
        let fair = total.div_ceil(servers);
        let keeps = level(total, servers, tolerance);
        let mut over: Vec<Over<'_>> =
            sharing.iter().map(|&server| Over { server, keeps }).filter(|over| over.excess() > 0).collect();
        over.sort_by(|a, b| {
            (b.server.connections, &a.server.name).cmp(&(a.server.connections, &b.server.name))
        });
        let first = over.first().filter(|over| is_beyond(over.server, total, servers, tolerance));
        match (&self.state, first) {
            (State::Shedding { next_round_ms }, _) if now_ms < *next_round_ms => {
                vec![Decision::nothing(Reason::Underway { until_ms: *next_round_ms })]
            }
            (State::Shedding { .. }, _) if !over.is_empty() => self.round(now_ms, sharing, &over, fair),
            (State::Shedding { .. }, _) => {
                let mut decisions = self.stop(now_ms, fleet);
                decisions.push(Decision::nothing(Reason::Fair { total, servers, tolerance }));
                decisions
            }
            (State::Even { not_before_ms } | State::Suspect { not_before_ms }, None) => {
                self.state = State::Even { not_before_ms: *not_before_ms };
                let mut decisions = self.nobody_rests_without_reason(fleet);
                decisions.push(Decision::nothing(Reason::Fair { total, servers, tolerance }));
                decisions
            }
            (State::Suspect { not_before_ms }, Some(_)) if now_ms >= *not_before_ms => {
                self.round(now_ms, sharing, &over, fair)
            }
            (State::Even { not_before_ms } | State::Suspect { not_before_ms }, Some(first)) => {
                let (server, connections) = (first.server.name.clone(), first.server.connections);
                self.state = State::Suspect { not_before_ms: *not_before_ms };
                let mut decisions = self.nobody_rests_without_reason(fleet);
                decisions.push(Decision::nothing(Reason::MayPass { server, connections, fair, tolerance }));
                decisions
            }
        }
    }

    /// Sheds for a while.
    fn round(&mut self, now_ms: u64, sharing: &[&Server], over: &[Over<'_>], fair: u64) -> Vec<Decision> {
        let is_over = |server: &Server| over.iter().any(|over| over.server.name == server.name);
        let room =
            |takers: &[&Server]| takers.iter().fold(0_u64, |sum, taker| sum.saturating_add(self.room(taker)));
        let excess = over.iter().fold(0_u64, |sum, over| sum.saturating_add(over.excess()));
        // A server near its share rests too if those well below theirs can take everything: connections that came to it
        // would have to move again.
        let others = || sharing.iter().copied().filter(|server| !is_over(server));
        let can_take_all = |takers: &[&Server]| !takers.is_empty() && room(takers) >= excess;
        let well_below = |server: &&Server| {
            u128::from(server.connections) * 100
                < u128::from(fair) * u128::from(100_u64.saturating_sub(2 * self.rules.tolerance_percent))
        };
        let mut takers: Vec<&Server> = others().filter(well_below).collect();
        if !can_take_all(&takers) {
            takers = others().collect();
        }
        let may_rest = can_take_all(&takers);
        let rate = self.rules.shed_rate.min(self.rules.accept_rate.saturating_mul(takers.len() as u64));
        let mut budget = room(&takers).min(self.most(rate));
        let per_second = (rate / over.len() as u64).max(1);
        let mut decisions = Vec::new();
        let mut longest_ms = 0;
        for over in over {
            let server = over.server.name.clone();
            let sheds = over.excess().min(budget);
            if sheds == 0 || takers.is_empty() {
                let reason = Reason::NoRoom { server, excess: over.excess() };
                decisions.push(Decision { orders: activate(over.server), reason });
                continue;
            }
            budget -= sheds;
            longest_ms = longest_ms.max(sheds.saturating_mul(1000) / per_second);
            let mut orders = Vec::new();
            if may_rest {
                orders.extend(deactivate(over.server));
            } else {
                orders.extend(activate(over.server));
            }
            orders.push(Order::Shed { server: server.clone(), count: sheds, per_second });
            let reason = Reason::Excess {
                server,
                connections: over.server.connections,
                fair,
                keeps: over.keeps,
                sheds,
                rests: may_rest,
            };
            decisions.push(Decision { orders, reason });
        }
        for server in others() {
            let takes = takers.iter().any(|taker| taker.name == server.name);
            decisions.extend(if takes { rested(server, fair) } else { rests(server, fair) });
        }
        let next_round_ms = now_ms.saturating_add(longest_ms).saturating_add(self.rules.outcome_ms);
        self.state = State::Shedding { next_round_ms };
        decisions
    }

    /// The maximum that a round sheds, at this rate per second.
    fn most(&self, rate: u64) -> u64 {
        let most = u128::from(rate) * u128::from(self.rules.round_ms) / 1000;
        u64::try_from(most).unwrap_or(u64::MAX).max(1)
    }

    fn room(&self, server: &Server) -> u64 {
        self.rules.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(server.connections))
    }

    /// The balancer stops: everything that was taken out takes connections again.
    pub fn end(&mut self, now_ms: u64, fleet: &Fleet) -> Vec<Decision> {
        let fleet = Fleet { foreseen: None, ..fleet.clone() };
        let mut decisions = self.attend_victims(now_ms, &fleet);
        decisions.extend(self.stop(now_ms, &fleet));
        decisions
    }

    /// Ends a rebalancing, if there is one.
    fn stop(&mut self, now_ms: u64, fleet: &Fleet) -> Vec<Decision> {
        let not_before_ms = match &self.state {
            State::Even { not_before_ms } | State::Suspect { not_before_ms } => *not_before_ms,
            State::Shedding { .. } => now_ms.saturating_add(self.rules.pause_ms),
        };
        self.state = State::Even { not_before_ms };
        self.nobody_rests_without_reason(fleet)
    }

    /// An inactive server that neither sheds nor will be removed takes connections again, such as one that rested when
    /// an earlier balancer ended.
    fn nobody_rests_without_reason(&self, fleet: &Fleet) -> Vec<Decision> {
        let ready = fleet.servers.iter().filter(|server| server.ready).count().max(1) as u64;
        let fair = fleet.connections().div_ceil(ready);
        let others = fleet.servers.iter().filter(|server| !self.victims.contains(&server.name));
        others.filter_map(|server| rested(server, fair)).collect()
    }
}

fn rests(server: &Server, fair: u64) -> Option<Decision> {
    let orders = vec![deactivate(server)?];
    let reason = Reason::HasItsShare { server: server.name.clone(), connections: server.connections, fair };
    Some(Decision { orders, reason })
}

fn rested(server: &Server, fair: u64) -> Option<Decision> {
    let orders = activate(server);
    let reason = Reason::Rested { server: server.name.clone(), connections: server.connections, fair };
    // With the cost of a victim, it is released as one.
    (!server.traffic.is_active() && server.deletion_cost != GOES_FIRST).then_some(Decision { orders, reason })
}

/// The level that a server sheds down to: its share plus three quarters of the tolerance.
fn level(total: u64, servers: u64, tolerance_percent: u64) -> u64 {
    let level = u128::from(total) * (400 + 3 * u128::from(tolerance_percent));
    level.div_ceil(400 * u128::from(servers.max(1))) as u64
}

/// Whether a server is above its share plus tolerance.
fn is_beyond(server: &Server, total: u64, servers: u64, tolerance_percent: u64) -> bool {
    u128::from(server.connections) * u128::from(servers) * 100
        > u128::from(total) * (100 + u128::from(tolerance_percent))
}

#[cfg(test)]
mod tests;
