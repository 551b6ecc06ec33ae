//! A balancer's view of the servers, and its orders.

pub use platform::target::Traffic;

use crate::Reason;

/// A server that has connections; draining ones are not included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub name: String,
    /// Connections (or sessions) that it holds.
    pub connections: u64,
    /// The number of connections that it is meant for.
    pub capacity: u64,
    pub traffic: Traffic,
    pub ready: bool,
    pub deletion_cost: i32,
}

/// All servers of a service at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fleet {
    pub servers: Vec<Server>,
    /// The desired number of replicas.
    pub replicas: u32,
    /// Sessions whose server is none of these, such as a killed one whose sessions have not expired.
    pub elsewhere: u64,
    /// Clients that were refused for lack of room and will retry.
    pub waiting: u64,
    /// How many replicas the autoscaler will want soon, if a scale-down is foreseen.
    pub foreseen: Option<u32>,
}

impl Fleet {
    /// The sessions of all servers, known or not.
    pub fn connections(&self) -> u64 {
        self.servers.iter().fold(self.elsewhere, |sum, server| sum.saturating_add(server.connections))
    }

    /// Desired replicas that do not exist yet. Each starts as an active one.
    pub(crate) fn to_come(&self) -> u64 {
        u64::from(self.replicas).saturating_sub(self.servers.len() as u64)
    }

    /// How many servers still have to be chosen for removal because fewer are desired.
    pub(crate) fn surplus(&self) -> u64 {
        (self.servers.len() as u64).saturating_sub(u64::from(self.replicas))
    }
}

/// An order. Orders of one tick are carried out in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    SetTraffic {
        server: String,
        traffic: Traffic,
    },
    /// Of several replicas, the one with the lowest cost goes first.
    SetDeletionCost {
        server: String,
        cost: i32,
    },
    Scale {
        from: u32,
        to: u32,
    },
    /// Ask the `count` most idle connections to move, no more than `per_second`.
    Shed {
        server: String,
        count: u64,
        per_second: u64,
    },
}

/// Orders, possibly none, and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub orders: Vec<Order>,
    pub reason: Reason,
}

impl Decision {
    pub(crate) fn nothing(reason: Reason) -> Self {
        Self { orders: Vec::new(), reason }
    }
}

/// The deletion cost of a server that goes before all others.
pub(crate) const GOES_FIRST: i32 = -100;

/// Orders that make a server take connections again and go no earlier than others.
pub(crate) fn activate(server: &Server) -> Vec<Order> {
    let mut orders = Vec::new();
    if server.deletion_cost != 0 {
        orders.push(Order::SetDeletionCost { server: server.name.clone(), cost: 0 });
    }
    if !server.traffic.is_active() {
        orders.push(Order::SetTraffic { server: server.name.clone(), traffic: Traffic::Active });
    }
    orders
}

pub(crate) fn deactivate(server: &Server) -> Option<Order> {
    server
        .traffic
        .is_active()
        .then(|| Order::SetTraffic { server: server.name.clone(), traffic: Traffic::Inactive })
}

pub(crate) fn goes_first(server: &Server) -> Option<Order> {
    (server.deletion_cost != GOES_FIRST)
        .then(|| Order::SetDeletionCost { server: server.name.clone(), cost: GOES_FIRST })
}
