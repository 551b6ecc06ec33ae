//! Which of several replicas gets a new connection, and which connections move.
//!
//! The gateway, the simulator and the balancer make the same choices, so they live here, with no clock and no I/O.
//!
//! Long-lived connections stay where they are when replicas come and go. Two policies move them: [`Utilization`] sets
//! the number of servers; [`Excess`] works beside an autoscaler and only rebalances. Each takes the current state
//! ([`Fleet`]) and the time, and returns [`Decision`]s: orders, and why. [`Pace`] spreads an order to shed over
//! time.
//!
//! For a new connection the caller names its candidates by index, says how many connections each one has, and passes in the random
//! number generator: equal seeds and equal loads give equal choices.
//!
//! Least request, the default, is Envoy's: two independent draws *with* replacement; the second wins only if it has
//! strictly fewer connections. An empty second replica therefore gets 75 % of the new connections, not all of them.
//!
//! ```
//! use balance::{Policy, Selector};
//! use rand::SeedableRng;
//!
//! let connections = [5_000, 0];
//! let mut random = rand_pcg::Pcg32::seed_from_u64(1);
//! let mut selector = Selector::new(Policy::LeastRequest);
//! let chosen = selector.pick(&mut random, connections.len(), |index| connections[index]);
//! assert!(chosen.is_some_and(|index| index < 2));
//! ```

mod excess;
mod fleet;
mod moving;
mod pace;
mod reason;
mod utilization;

pub use excess::{Excess, ExcessRules};
pub(crate) use fleet::GOES_FIRST;
pub use fleet::{Decision, Fleet, Order, Server, Traffic};
pub use pace::{Pace, Portion};
pub use platform::values::Policy;
pub use reason::{Reason, Share, Wanted};
pub use utilization::{Rules, Utilization};

use rand::{Rng, RngExt};

/// A policy and its state between two choices.
#[derive(Debug, Clone)]
pub struct Selector {
    policy: Policy,
    /// Where round robin continues, and where a full scan begins.
    turn: usize,
}

impl Selector {
    pub fn new(policy: Policy) -> Self {
        Self { policy, turn: 0 }
    }

    /// The index of the chosen candidate; `None` if there are none. `load` returns a candidate's connections and is
    /// called only for the candidates that the policy compares. A single candidate is chosen without a draw.
    pub fn pick<R: Rng + ?Sized>(
        &mut self,
        random: &mut R,
        candidates: usize,
        load: impl Fn(usize) -> u64,
    ) -> Option<usize> {
        match candidates {
            0 => return None,
            1 => return Some(0),
            _ => {}
        }
        Some(match self.policy {
            Policy::LeastRequest => {
                let first = random.random_range(0..candidates);
                let second = random.random_range(0..candidates);
                if load(second) < load(first) { second } else { first }
            }
            Policy::LeastRequestFullScan => {
                // Each scan begins one place later; otherwise equal candidates would fill up in order.
                let start = self.advance(candidates);
                (0..candidates)
                    .map(|step| (start + step) % candidates)
                    .min_by_key(|&index| load(index))
                    .unwrap_or(start)
            }
            Policy::RoundRobin => self.advance(candidates),
            Policy::Random => random.random_range(0..candidates),
        })
    }

    fn advance(&mut self, candidates: usize) -> usize {
        let index = self.turn % candidates;
        self.turn = index + 1;
        index
    }
}

#[cfg(test)]
mod tests;
