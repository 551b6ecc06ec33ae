//! Servers that will be removed because the autoscaler will want fewer.

use std::collections::BTreeSet;

use super::Excess;
use crate::fleet::{activate, deactivate, goes_first};
use crate::{Decision, Fleet, GOES_FIRST, Order, Reason, Server};

impl Excess {
    /// Chooses the victims of a foreseen scale-down, lets them shed once all are out, and takes the choice back if the
    /// scale-down does not come.
    pub(super) fn attend_victims(&mut self, now_ms: u64, fleet: &Fleet) -> Vec<Decision> {
        let there = |name: &String| fleet.servers.iter().any(|server| &server.name == name);
        self.victims.retain(there);
        let servers = fleet.servers.len() as u64;
        // The last one never goes.
        let goal = fleet.foreseen.map_or(servers, |goal| u64::from(goal).max(1));
        let mut count = servers.saturating_sub(goal) as usize;
        // Shed connections count twice for the autoscaler for a while, so at first it asks for more replicas than later.
        let sheds =
            self.victims_shed_ms.is_some_and(|at_ms| now_ms < at_ms.saturating_add(self.rules.twice_ms));
        if sheds && count > 0 {
            count = count.max(self.victims.len());
        }
        let chosen = self.chosen(fleet, count);
        let before = std::mem::replace(&mut self.victims, chosen);
        if self.victims.is_empty() {
            self.victims_shed_ms = None;
        }
        let mut decisions: Vec<_> = fleet
            .servers
            .iter()
            .filter(|server| !self.victims.contains(&server.name))
            // A victim of an earlier balancer has the cost.
            .filter(|server| before.contains(&server.name) || server.deletion_cost == GOES_FIRST)
            .map(|server| Decision {
                orders: activate(server),
                reason: Reason::NotForeseen { server: server.name.clone() },
            })
            .filter(|decision| !decision.orders.is_empty())
            .collect();
        let victims: Vec<&Server> =
            fleet.servers.iter().filter(|server| self.victims.contains(&server.name)).collect();
        let orders: Vec<Order> = victims
            .iter()
            .flat_map(|server| deactivate(server).into_iter().chain(goes_first(server)))
            .collect();
        if orders.is_empty() {
            decisions.extend(self.shed_victims(now_ms, fleet, &victims));
        } else {
            let victims = self.victims.iter().cloned().collect();
            decisions
                .push(Decision { orders, reason: Reason::Foreseen { from: servers, to: goal, victims } });
        }
        decisions
    }

    /// The emptiest ones; earlier choices come first, so that no connection moves needlessly.
    fn chosen(&self, fleet: &Fleet, count: usize) -> BTreeSet<String> {
        let mut servers: Vec<&Server> = fleet.servers.iter().collect();
        servers.sort_by_key(|server| {
            // A server that is not ready goes first whatever its cost is.
            (!self.victims.contains(&server.name), server.ready, server.connections, &server.name)
        });
        servers.into_iter().take(count).map(|server| server.name.clone()).collect()
    }

    fn shed_victims(&mut self, now_ms: u64, fleet: &Fleet, victims: &[&Server]) -> Vec<Decision> {
        if now_ms < self.victims_next_ms {
            return Vec::new();
        }
        let takers: Vec<_> = fleet
            .servers
            .iter()
            .filter(|server| {
                server.ready && server.traffic.is_active() && !self.victims.contains(&server.name)
            })
            .collect();
        let room = takers.iter().fold(0_u64, |sum, taker| sum.saturating_add(self.room(taker)));
        let rate = self.rules.shed_rate.min(self.rules.accept_rate.saturating_mul(takers.len() as u64));
        let most = (u128::from(rate) * u128::from(self.rules.round_ms) / 1000) as u64;
        let mut budget = room.min(most);
        let full: Vec<_> = victims.iter().filter(|victim| victim.connections > 0).collect();
        let per_second = (rate / (full.len().max(1) as u64)).max(1);
        let mut decisions = Vec::new();
        let mut longest_ms = 0;
        for victim in full {
            let sheds = victim.connections.min(budget);
            let server = victim.name.clone();
            if sheds == 0 {
                let reason = Reason::NoRoom { server, excess: victim.connections };
                decisions.push(Decision::nothing(reason));
                continue;
            }
            budget -= sheds;
            longest_ms = longest_ms.max(sheds.saturating_mul(1000) / per_second);
            decisions.push(Decision {
                orders: vec![Order::Shed { server: server.clone(), count: sheds, per_second }],
                reason: Reason::Leaves { server, connections: victim.connections, sheds },
            });
        }
        if decisions.iter().any(|decision| !decision.orders.is_empty()) {
            self.victims_shed_ms = Some(now_ms.saturating_add(longest_ms));
            self.victims_next_ms = now_ms.saturating_add(longest_ms).saturating_add(self.rules.outcome_ms);
        }
        decisions
    }
}
