//! Chooses the replica of a session, within the circuit breaker's limit.

use std::net::SocketAddr;
use std::sync::Arc;

use balance::{Policy, Selector};
use rand::SeedableRng;
use rand_pcg::Pcg32;

use crate::cluster::backend::Backend;
use crate::cluster::{Cluster, Routing};
use crate::published::View;
use crate::shortages::Shortage;

/// A worker's choice among the replicas of its cluster.
#[derive(Debug)]
pub(super) struct Router {
    cluster: Arc<Cluster>,
    view: View<Routing>,
    selector: Selector,
    random: Pcg32,
    /// Maximum number of sessions of one replica through this process.
    sessions_max: u64,
    /// The candidates of a choice; kept to reuse its memory.
    usable: Vec<Arc<Backend>>,
}

impl Router {
    pub(super) fn new(cluster: Arc<Cluster>, policy: Policy, sessions_max: u64) -> Self {
        let view = cluster.routing_view();
        let (selector, random) = (Selector::new(policy), Pcg32::seed_from_u64(rand::random()));
        Self { cluster, view, selector, random, sessions_max, usable: Vec::new() }
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// A number that changes whenever the eligible replicas do.
    pub(super) fn generation(&mut self) -> u64 {
        self.view.refresh(self.cluster.routing());
        self.view.generation()
    }

    /// True if `backend` may keep its sessions.
    pub(super) fn serves(&mut self, backend: &Arc<Backend>) -> bool {
        self.view.refresh(self.cluster.routing()).has(backend)
    }

    /// The replica at `address` if it may take a session, which counts as its load immediately. It had the session
    /// before, so the circuit breaker does not apply.
    pub(super) fn resume(&mut self, address: SocketAddr) -> Option<Arc<Backend>> {
        let canonical = |address: SocketAddr| (address.ip().to_canonical(), address.port());
        let eligible = &self.view.refresh(self.cluster.routing()).eligible;
        let found = eligible.iter().find(|backend| canonical(backend.address) == canonical(address))?;
        found.session_opened();
        Some(Arc::clone(found))
    }

    /// The replica for a new session, which counts as its load immediately. A session that cannot stay at its replica
    /// names it (`but`) and goes to another one.
    pub(super) fn choose(&mut self, but: Option<&Arc<Backend>>) -> Result<Arc<Backend>, Shortage> {
        let eligible = &self.view.refresh(self.cluster.routing()).eligible;
        let others = eligible.iter().filter(|backend| but.is_none_or(|but| !Arc::ptr_eq(but, backend)));
        self.usable.clear();
        self.usable.extend(others.clone().filter(|backend| backend.active() < self.sessions_max).cloned());
        let picked =
            self.selector.pick(&mut self.random, self.usable.len(), |index| self.usable[index].active());
        let none = if others.count() == 0 { Shortage::NoEndpoint } else { Shortage::CircuitOpen };
        let chosen = picked.map(|index| self.usable.swap_remove(index)).ok_or(none);
        // Replicas that were not chosen must not be kept alive from here.
        self.usable.clear();
        chosen.inspect(|backend| backend.session_opened())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use platform::endpoints::Endpoint;

    use super::*;
    use crate::cluster::Ejection;
    use crate::cluster::health::Thresholds;

    fn endpoints(count: u16) -> Vec<Endpoint> {
        (0..count)
            .map(|ordinal| Endpoint {
                name: format!("udp-{ordinal}"),
                address: ([127, 0, 0, 1], 1 + ordinal).into(),
                health: None,
                draining: false,
            })
            .collect()
    }

    fn router(backends: u16, sessions_max: u64) -> Router {
        let thresholds = Thresholds { fall: NonZeroU32::MIN, rise: NonZeroU32::MIN };
        let cluster = Cluster::new(thresholds, Ejection { failures: 0, duration: Duration::ZERO });
        cluster.take_over(1, &endpoints(backends));
        Router::new(Arc::new(cluster), Policy::LeastRequest, sessions_max)
    }

    #[test]
    fn the_circuit_breaker_opens_when_all_replicas_are_full_except_for_their_own_clients() {
        let mut router = router(3, 2);
        let mut chosen: Vec<_> = (0..6).map(|_| router.choose(None).unwrap().name.clone()).collect();
        chosen.sort();
        assert_eq!(chosen, ["udp-0", "udp-0", "udp-1", "udp-1", "udp-2", "udp-2"]);
        assert_eq!(router.choose(None).unwrap_err(), Shortage::CircuitOpen);
        let own = router.resume(([127, 0, 0, 1], 2).into()).unwrap();
        assert_eq!((own.name.as_str(), own.active()), ("udp-1", 3));
    }

    #[test]
    fn a_session_that_must_move_goes_to_another_replica_or_none() {
        let mut pair = router(2, 100);
        for _ in 0..20 {
            let first = pair.choose(None).unwrap();
            assert_ne!(first.name, pair.choose(Some(&first)).unwrap().name);
        }
        let mut single = router(1, 100);
        let only = single.choose(None).unwrap();
        assert_eq!(single.choose(Some(&only)).unwrap_err(), Shortage::NoEndpoint);
        assert_eq!(only.active(), 1);
    }

    #[test]
    fn a_draining_replica_stops_serving_and_the_generation_changes() {
        let mut router = router(2, 100);
        let before = router.generation();
        let kept = router.resume(([127, 0, 0, 1], 1).into()).unwrap();
        assert!(router.serves(&kept));
        let mut changed = endpoints(2);
        changed[0].draining = true;
        router.cluster.take_over(2, &changed);
        assert_ne!(router.generation(), before);
        assert!(!router.serves(&kept));
        assert!(router.resume(kept.address).is_none());
    }
}
