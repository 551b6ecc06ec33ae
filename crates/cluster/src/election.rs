//! Leader election by a Lease. The algorithm is client-go's (`tools/leaderelection`).
//!
//! A leader renews the Lease every [`Terms::retry`] and considers itself the leader for [`Terms::sure`] from the moment
//! when it *sent* the last successful renewal. A candidate takes the Lease when it has not changed for [`Terms::lasts`]
//! by the candidate's own clock; clocks of two machines are never compared. So the terms of two leaders are at least
//! `lasts - sure` apart, even if the first one was suspended in between or cannot reach the API server; what it starts
//! during its term must end within that time ([`crate::balance::ACT`]).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};
use parking_lot::Mutex;
use rand::RngExt as _;
use tokio::task::AbortHandle;

use crate::{ClusterTarget, act::MANAGER, balance::ACT, connect::Cluster, error::Call};

/// The durations of a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// A Lease that has not changed for this long is free. In whole seconds.
    pub lasts: Duration,
    /// How long the leader is certain of the Lease after a renewal.
    pub sure: Duration,
    /// The interval of renewals, and of the candidates' checks, which wait up to a fifth longer.
    pub retry: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        let terms = Self {
            lasts: Duration::from_secs(15),
            sure: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        };
        debug_assert!(terms.lasts > terms.sure + ACT && terms.sure > 3 * terms.retry);
        terms
    }
}

/// A candidate for a Lease until it is dropped.
#[derive(Debug)]
pub struct Election {
    candidate: Arc<Candidate>,
    task: AbortHandle,
    /// The candidate runs on the target's threads.
    target: Arc<ClusterTarget>,
}

#[derive(Debug)]
struct Candidate {
    /// The Lease's name.
    name: String,
    identity: String,
    terms: Terms,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// It leads until then.
    until: Option<Instant>,
    /// The holder of the Lease at the last check.
    holder: String,
    /// The Lease, and since when it has been unchanged.
    seen: Option<(LeaseSpec, Instant)>,
}

/// What to do after a check of the Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Renew,
    Take,
    Wait,
}

impl Election {
    /// Becomes a candidate for the Lease `name` in the target's namespace. `identity` must be unique.
    pub fn begin(target: &Arc<ClusterTarget>, name: &str, identity: &str, terms: Terms) -> Self {
        let (name, identity) = (name.to_owned(), identity.to_owned());
        let candidate = Arc::new(Candidate { name, identity, terms, state: Mutex::default() });
        let (running, cluster) = (Arc::clone(&candidate), target.cluster().clone());
        let task =
            target.run(async { tokio::spawn(async move { running.run(&cluster).await }).abort_handle() });
        Self { candidate, task, target: Arc::clone(target) }
    }

    /// Whether it leads at this moment.
    pub fn leads(&self) -> bool {
        self.candidate.leads(clock::now())
    }

    /// The holder of the Lease at the last check.
    pub fn holder(&self) -> String {
        self.candidate.state.lock().holder.clone()
    }

    /// Ends the candidacy and releases the Lease if it holds it, so that the next leader need not wait. Blocks.
    pub fn give_back(&self) {
        self.task.abort();
        let held = self.candidate.state.lock().until.take().is_some();
        if held {
            let returned = self.candidate.give_back(self.target.cluster());
            // If the API server cannot be reached, the next leader waits until the Lease expires.
            let _ = self.target.run(async { tokio::time::timeout(ACT, returned).await });
        }
    }
}

impl Drop for Election {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Candidate {
    fn leads(&self, now: Instant) -> bool {
        self.state.lock().until.is_some_and(|until| now < until)
    }

    async fn run(&self, cluster: &Cluster) {
        let patience = self.terms.lasts.saturating_sub(self.terms.sure);
        loop {
            // An API server that does not answer is asked again; meanwhile the term runs out.
            let _ = tokio::time::timeout(patience, self.stand(cluster)).await;
            let fifths = rand::rng().random_range(0.0..0.2);
            tokio::time::sleep(self.terms.retry.mul_f64(1.0 + fifths)).await;
        }
    }

    fn api(cluster: &Cluster) -> Api<Lease> {
        Api::namespaced(cluster.client.clone(), &cluster.namespace)
    }

    /// Checks the Lease once, and takes or renews it if it is free or held already.
    async fn stand(&self, cluster: &Cluster) -> Result<(), Call> {
        let (api, asked) = (Self::api(cluster), clock::now());
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let written = match cluster.try_ask(api.get(&self.name)).await {
            Ok(lease) => {
                let spec = lease.spec.clone().unwrap_or_default();
                let step = self.look(clock::now(), &spec);
                if step == Step::Wait {
                    self.state.lock().until = None;
                    return Ok(());
                }
                // With the version that was read: if two candidates take it at once, only one succeeds.
                let lease = Lease { spec: Some(self.mine(&spec, step)), ..lease };
                cluster.try_ask(api.replace(&self.name, &params, &lease)).await
            }
            Err(call) if call.status() == Some(404) => {
                let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
                let lease = Lease { metadata, spec: Some(self.mine(&LeaseSpec::default(), Step::Take)) };
                cluster.try_ask(api.create(&params, &lease)).await
            }
            Err(call) => return Err(call),
        };
        match written {
            Ok(lease) => {
                let mut state = self.state.lock();
                state.until = Some(asked + self.terms.sure);
                state.holder.clone_from(&self.identity);
                state.seen = lease.spec.map(|spec| (spec, clock::now()));
                Ok(())
            }
            Err(call) => {
                // Another candidate was faster.
                if call.status() == Some(409) {
                    self.state.lock().until = None;
                }
                Err(call)
            }
        }
    }

    fn look(&self, now: Instant, spec: &LeaseSpec) -> Step {
        let mut state = self.state.lock();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        state.holder.clone_from(&holder);
        let since = match &state.seen {
            Some((seen, since)) if seen == spec => *since,
            _ => now,
        };
        state.seen = Some((spec.clone(), since));
        if holder == self.identity {
            return Step::Renew;
        }
        let said = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0);
        let lasts = self.terms.lasts.max(Duration::from_secs(said));
        if holder.is_empty() || now.duration_since(since) >= lasts { Step::Take } else { Step::Wait }
    }

    /// The Lease as held by this candidate.
    fn mine(&self, before: &LeaseSpec, step: Step) -> LeaseSpec {
        let now = MicroTime(clock::wall());
        let took = step == Step::Take;
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.terms.lasts.as_secs()).ok(),
            acquire_time: if took { Some(now.clone()) } else { before.acquire_time.clone() },
            lease_transitions: Some(before.lease_transitions.unwrap_or(0).saturating_add(i32::from(took))),
            renew_time: Some(now),
            ..before.clone()
        }
    }

    async fn give_back(&self, cluster: &Cluster) -> Result<(), Call> {
        let api = Self::api(cluster);
        let lease = cluster.try_ask(api.get(&self.name)).await?;
        let spec = lease.spec.clone().unwrap_or_default();
        if spec.holder_identity.as_ref() == Some(&self.identity) {
            let lease = Lease { spec: Some(LeaseSpec { holder_identity: None, ..spec }), ..lease };
            cluster.try_ask(api.replace(&self.name, &PostParams::default(), &lease)).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(identity: &str) -> Candidate {
        let (name, identity) = ("balancer-ws".to_owned(), identity.to_owned());
        Candidate { name, identity, terms: Terms::default(), state: Mutex::default() }
    }

    /// The Lease as `by` writes it the `number`th time.
    fn lease(by: &str, number: i64) -> LeaseSpec {
        let at = |second| Some(MicroTime(jiff::Timestamp::from_second(second).unwrap()));
        LeaseSpec {
            renew_time: at(number),
            acquire_time: at(0),
            ..candidate(by).mine(&LeaseSpec::default(), Step::Take)
        }
    }

    #[test]
    fn a_lease_is_taken_when_it_has_not_changed_for_its_time() {
        let (me, began) = (candidate("me"), clock::now());
        let at = |seconds: u64| began + Duration::from_secs(seconds);
        assert_eq!(me.look(at(0), &lease("you", 1)), Step::Wait);
        assert_eq!(me.look(at(14), &lease("you", 1)), Step::Wait);
        // Whatever the holder's clock says, it was renewed.
        assert_eq!(me.look(at(14), &lease("you", -7)), Step::Wait);
        assert_eq!(me.look(at(28), &lease("you", -7)), Step::Wait);
        assert_eq!(me.look(at(29), &lease("you", -7)), Step::Take);
        assert_eq!(me.look(at(29), &lease("me", 2)), Step::Renew);
        // A holder of another version may have longer terms.
        let longer = LeaseSpec { lease_duration_seconds: Some(60), ..lease("you", 3) };
        assert_eq!(me.look(at(30), &longer), Step::Wait);
        assert_eq!(me.look(at(89), &longer), Step::Wait);
        assert_eq!(me.look(at(90), &longer), Step::Take);
        let free = LeaseSpec { holder_identity: None, ..lease("you", 4) };
        assert_eq!(me.look(at(90), &free), Step::Take);
    }

    #[test]
    fn a_turn_ends_by_itself_before_another_can_begin() {
        let (me, you, began) = (candidate("me"), candidate("you"), clock::now());
        // Requested at the start, and written at that very moment.
        me.state.lock().until = Some(began + me.terms.sure);
        assert_eq!(you.look(began, &lease("me", 1)), Step::Wait);
        let mut free_at = began;
        while you.look(free_at, &lease("me", 1)) == Step::Wait {
            assert!(free_at < began + me.terms.lasts, "it is free in the end");
            free_at += Duration::from_millis(100);
        }
        assert!(!me.leads(free_at.checked_sub(ACT).unwrap()), "what it began has ended");
    }

    #[test]
    fn taking_over_is_counted_and_renewing_is_not() {
        let taken = candidate("me").mine(&lease("you", 1), Step::Take);
        assert_eq!(taken.lease_transitions, Some(2));
        let renewed = candidate("me").mine(&taken, Step::Renew);
        assert_eq!((renewed.lease_transitions, &renewed.acquire_time), (Some(2), &taken.acquire_time));
    }
}
