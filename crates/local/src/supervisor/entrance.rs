//! Where clients come in: the listeners of one gateway port, on all addresses that the platform answers at.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::BorrowedFd,
};

use ::platform::values::{self, GatewayKind, Protocol};

use crate::{
    kernel::port::Unusable,
    listeners::{Hold, Listeners},
    slot::Addresses,
};

/// The platform of this name is reachable at 127.0.0.1 too.
pub(crate) const DEFAULT_PLATFORM: &str = "playground";

#[derive(Debug)]
pub(crate) struct Entrance {
    pub(crate) listener: values::Listener,
    /// The address that clients are given comes first.
    listeners: Vec<Listeners>,
}

impl Entrance {
    pub(crate) fn open(
        platform: &str,
        addresses: Addresses,
        listener: &values::Listener,
        nodes: u32,
        kind: GatewayKind,
    ) -> Result<Self, Unusable> {
        let mut ips = vec![addresses.clients()];
        if platform == DEFAULT_PLATFORM {
            ips.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        let hold = hold(kind, listener.protocol);
        let bind = |ip| Listeners::bind(SocketAddr::new(ip, listener.port), listener.protocol, nodes, hold);
        Ok(Self {
            listener: listener.clone(),
            listeners: ips.into_iter().map(bind).collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn resize(&mut self, nodes: u32) -> Result<(), Unusable> {
        self.listeners.iter_mut().try_for_each(|listeners| listeners.resize(nodes))
    }

    /// Goes over to another kind of gateway.
    pub(crate) fn serve_by(&mut self, kind: GatewayKind) -> Result<(), Unusable> {
        let hold = hold(kind, self.listener.protocol);
        self.listeners.iter_mut().try_for_each(|listeners| listeners.hold(hold))
    }

    /// All addresses that clients come in at.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.iter().map(Listeners::address)
    }

    /// What clients are told.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.listeners.last().map(Listeners::address)
    }

    /// What a node's gateway is lent.
    pub(crate) fn of_node(&self, node: u32) -> Vec<BorrowedFd<'_>> {
        self.listeners.iter().filter_map(|listeners| listeners.of_node(node)).collect()
    }
}

/// Envoy makes its own listeners. Packets are always taken by our own gateway: HAProxy does not take any, and a port for
/// packets cannot be reserved without getting some.
fn hold(kind: GatewayKind, protocol: Protocol) -> Hold {
    match (kind, protocol) {
        (GatewayKind::Envoy, Protocol::Tcp) => Hold::Reserved,
        _ => Hold::Listening,
    }
}
