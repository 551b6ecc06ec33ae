//! Carries out orders on a platform. Calls of a target block, so they run on their own threads.

use std::sync::Arc;

use autoscale::explain::Case;
use balance::Order;
use platform::target::{Balanced, ServiceSnapshot, Shed};
use platform::{Target, TargetError};
use uuid::Uuid;

use crate::Turn;
use crate::fleet::host_id;

/// One service of a platform.
#[derive(Clone)]
pub(crate) struct Actor {
    target: Arc<dyn Target>,
    pub(crate) turn: Arc<dyn Turn>,
    service: String,
    /// Prefix of the IDs of this balancer's orders.
    run: Uuid,
}

impl Actor {
    pub(crate) fn new(target: Arc<dyn Target>, turn: Arc<dyn Turn>, service: String) -> Self {
        Self { target, turn, service, run: Uuid::new_v4() }
    }

    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Target, &str) -> Result<T, TargetError> + Send + 'static,
    ) -> Result<T, TargetError> {
        let (target, service) = (Arc::clone(&self.target), self.service.clone());
        let work = tokio::task::spawn_blocking(move || work(&*target, &service));
        work.await.map_err(TargetError::other)?
    }

    /// The current state of the service.
    pub(crate) async fn look(&self) -> Result<Seen, TargetError> {
        self.call(|target, service| {
            let snapshot = target.snapshot()?;
            let known = snapshot.services.iter().map(|one| one.name.clone()).collect();
            let found = snapshot.services.into_iter().find(|one| one.name == service);
            let service =
                found.ok_or_else(|| TargetError::UnknownService { service: service.to_owned(), known })?;
            Ok(Seen { service, problems: snapshot.problems })
        })
        .await
    }

    /// Its autoscaler; `None` if it cannot be read, which is not a failure: it may not have synced yet.
    pub(crate) async fn autoscaler(&self) -> Option<Case> {
        self.call(|target, service| target.autoscaler(service)).await.ok()
    }

    /// Carries out any order except shedding, which takes longer ([`Self::shed`]).
    pub(crate) async fn carry_out(&self, order: Order) -> Result<(), TargetError> {
        self.call(move |target, service| match order {
            Order::SetTraffic { server, traffic } => target.set_traffic(service, &server, traffic),
            Order::SetDeletionCost { server, cost } => target.set_deletion_cost(service, &server, cost),
            Order::Scale { to, .. } => target.scale(service, to).map(drop),
            Order::Shed { .. } => Ok(()),
        })
        .await
    }

    /// Asks sessions of a server to move; returns how many were asked.
    pub(crate) async fn shed(&self, server: &str, number: u64, count: u64) -> Result<u64, TargetError> {
        let (server, order) = (server.to_owned(), Shed { id: format!("{}-{number}", self.run), count });
        self.call(move |target, service| target.shed(service, &server, &order)).await
    }

    /// The replica that lists its sessions under this host ID.
    pub(crate) async fn replica_of(&self, host: &str) -> Result<Option<String>, TargetError> {
        let mut replicas = self.look().await?.service.replicas.into_iter();
        Ok(replicas.find(|one| one.name == host || host_id(one).as_deref() == Some(host)).map(|one| one.name))
    }

    pub(crate) async fn tell(&self, balanced: Balanced) -> Result<(), TargetError> {
        self.call(move |target, service| target.tell_balanced(service, &balanced)).await
    }
}

/// The service, and what is wrong with the platform.
pub(crate) struct Seen {
    pub(crate) service: ServiceSnapshot,
    pub(crate) problems: Vec<String>,
}

/// An order in words.
pub(crate) fn words(order: &Order) -> String {
    match order {
        Order::SetTraffic { server, traffic } => format!("{server} becomes {traffic}"),
        Order::SetDeletionCost { server, cost } => format!("{server} gets the deletion cost {cost}"),
        Order::Scale { from, to } => format!("{from} → {to}"),
        Order::Shed { server, count, .. } => format!("{server} sheds {count}"),
    }
}
