//! Chooses a backend for a session, within the circuit breaker's limit.

use std::sync::Arc;

use balance::{Policy, Selector};
use rand::SeedableRng;
use rand_pcg::Pcg32;

use crate::cluster::Cluster;
use crate::cluster::Routing;
use crate::cluster::backend::Backend;
use crate::published::View;
use crate::shortages::Shortage;

/// A choice among the backends of its cluster.
#[derive(Debug)]
pub(crate) struct Router {
    cluster: Arc<Cluster>,
    view: View<Routing>,
    selector: Selector,
    random: Pcg32,
    /// Maximum number of sessions of one backend through this process.
    sessions_max: u64,
}

impl Router {
    pub(crate) fn new(cluster: Arc<Cluster>, policy: Policy, sessions_max: u64) -> Self {
        let view = cluster.routing_view();
        let (selector, random) = (Selector::new(policy), Pcg32::seed_from_u64(rand::random()));
        Self { cluster, view, selector, random, sessions_max }
    }

    /// One of `keys` that may take a session, for a client that had it before; the session counts as its load
    /// immediately.
    pub(crate) fn choose_known(&mut self, keys: &[&str]) -> Option<Arc<Backend>> {
        let routing = self.view.refresh(self.cluster.routing());
        let backend = routing.known(keys).find(|backend| backend.active() < self.sessions_max)?;
        backend.session_opened();
        Some(Arc::clone(backend))
    }

    /// Whether one of its backends has this key and may take sessions.
    pub(crate) fn knows(&mut self, key: &str) -> bool {
        self.view.refresh(self.cluster.routing()).known(&[key]).next().is_some()
    }

    /// The backend for a new session, which counts as its load immediately. A retry names the failed backend (`but`):
    /// it goes to another one and does not use up a turn of round robin.
    pub(crate) fn choose(&mut self, but: Option<&Arc<Backend>>) -> Result<Arc<Backend>, Shortage> {
        let eligible = &self.view.refresh(self.cluster.routing()).eligible;
        let load = |index: usize| eligible[index].active();
        let failed = |index: usize| but.is_some_and(|but| Arc::ptr_eq(but, &eligible[index]));
        let full = |index: usize| load(index) >= self.sessions_max;

        if eligible.is_empty() {
            return Err(Shortage::NoEndpoint);
        }
        let drawn =
            if but.is_none() { self.selector.pick(&mut self.random, eligible.len(), load) } else { None };
        let index = if let Some(drawn) = drawn.filter(|&drawn| !full(drawn)) {
            drawn
        } else {
            // Rare, so a full scan is fine: the least loaded usable one.
            let others = (0..eligible.len()).filter(|&index| !failed(index));
            let usable = others.clone().filter(|&index| !full(index)).min_by_key(|&index| load(index));
            let none = if others.count() == 0 { Shortage::ConnectFailed } else { Shortage::CircuitOpen };
            usable.ok_or(none)?
        };
        let backend = Arc::clone(&eligible[index]);
        backend.session_opened();
        Ok(backend)
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

    fn router(backends: u16, sessions_max: u64) -> Router {
        let thresholds = Thresholds { fall: NonZeroU32::MIN, rise: NonZeroU32::MIN };
        let cluster = Cluster::new(thresholds, Ejection { failures: 0, duration: Duration::ZERO });
        let endpoints: Vec<_> = (0..backends)
            .map(|ordinal| Endpoint {
                name: format!("tcp-{ordinal}"),
                address: ([127, 0, 0, 1], 1 + ordinal).into(),
                health: None,
                draining: false,
            })
            .collect();
        cluster.take_over(1, &endpoints);
        Router::new(Arc::new(cluster), Policy::LeastRequest, sessions_max)
    }

    #[test]
    fn the_circuit_breaker_fills_all_backends_and_then_opens() {
        let mut router = router(3, 2);
        let mut chosen: Vec<_> = (0..6).map(|_| router.choose(None).unwrap().name.clone()).collect();
        chosen.sort();
        assert_eq!(chosen, ["tcp-0", "tcp-0", "tcp-1", "tcp-1", "tcp-2", "tcp-2"]);
        assert_eq!(router.choose(None).unwrap_err(), Shortage::CircuitOpen);
    }

    #[test]
    fn a_second_attempt_never_uses_the_same_backend() {
        let mut pair = router(2, 100);
        for _ in 0..20 {
            let first = pair.choose(None).unwrap();
            let second = pair.choose(Some(&first)).unwrap();
            assert_ne!(first.name, second.name);
        }
        let mut single = router(1, 100);
        let only = single.choose(None).unwrap();
        assert_eq!(single.choose(Some(&only)).unwrap_err(), Shortage::ConnectFailed);
    }

    #[test]
    fn clients_return_to_their_backend_unless_it_is_full_or_gone() {
        let mut router = router(3, 2);
        let key = router.choose(None).unwrap().key.clone();
        assert!(router.knows(&key));
        assert_eq!(router.choose_known(&["0123456789abcdef", &key]).unwrap().key, key);
        assert!(router.choose_known(&[&key]).is_none(), "it is full");
        router.cluster.take_over(2, &[]);
        assert!(router.choose_known(&[&key]).is_none());
        assert!(!router.knows(&key));
    }

    #[test]
    fn no_backend_is_no_choice() {
        assert_eq!(router(0, 100).choose(None).unwrap_err(), Shortage::NoEndpoint);
    }
}
