//! The entrance for clients: the listeners of one gateway port, on all addresses of the platform.

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

/// The platform with this name is also reachable at 127.0.0.1.
pub(crate) const DEFAULT_PLATFORM: &str = "playground";

#[derive(Debug)]
pub(crate) struct Entrance {
    pub(crate) listener: values::Listener,
    /// The address shown to clients comes first.
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

    /// Switches to another kind of gateway.
    pub(crate) fn serve_by(&mut self, kind: GatewayKind) -> Result<(), Unusable> {
        let hold = hold(kind, self.listener.protocol);
        self.listeners.iter_mut().try_for_each(|listeners| listeners.hold(hold))
    }

    /// All addresses for clients.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.iter().map(Listeners::address)
    }

    /// The address shown to clients.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.listeners.last().map(Listeners::address)
    }

    /// The listeners lent to a node's gateway.
    pub(crate) fn of_node(&self, node: u32) -> Vec<BorrowedFd<'_>> {
        self.listeners.iter().filter_map(|listeners| listeners.of_node(node)).collect()
    }
}

/// Envoy creates its own listeners. Our own gateway always handles packets: HAProxy does not support them, and a port
/// for packets cannot be reserved without receiving some.
fn hold(kind: GatewayKind, protocol: Protocol) -> Hold {
    match (kind, protocol) {
        (GatewayKind::Envoy, Protocol::Tcp) => Hold::Reserved,
        _ => Hold::Listening,
    }
}
