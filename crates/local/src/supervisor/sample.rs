//! Counts from the kernel: connections by address, CPU and memory by process.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
};

use controller::Usage;

use crate::kernel::{proc, sockets};

/// What to sample.
#[derive(Debug, Clone, Default)]
pub(crate) struct Targets {
    pub(crate) ports: HashSet<u16>,
    pub(crate) pids: Vec<u32>,
}

/// A sample at one moment.
#[derive(Debug)]
pub(crate) struct Scrape {
    /// The ports whose connections were counted.
    ports: HashSet<u16>,
    /// Established connections by the server's address; missing: none.
    connections: HashMap<SocketAddr, u64>,
    /// The same connections by the client's address.
    from: HashMap<IpAddr, u64>,
    usage: HashMap<u32, Usage>,
}

impl Scrape {
    /// Blocks while the kernel lists the connections (some milliseconds for ten thousand).
    pub(crate) fn take(targets: &Targets) -> Self {
        let (mut connections, mut from) = (HashMap::new(), HashMap::new());
        for port in &targets.ports {
            let counted = sockets::established(*port, &mut |found| {
                *connections.entry(found.local).or_default() += 1;
                *from.entry(found.remote).or_default() += 1;
            });
            if let Err(error) = counted {
                tracing::error!(port, %error, "cannot count connections");
            }
        }
        // A process that ended in the meantime has no usage.
        let usage = targets.pids.iter().filter_map(|pid| Some((*pid, proc::usage(*pid).ok()?))).collect();
        Self { ports: targets.ports.clone(), connections, from, usage }
    }

    /// The current connections of only one port.
    pub(crate) fn of_port(port: u16) -> Self {
        Self::take(&Targets { ports: HashSet::from([port]), pids: Vec::new() })
    }

    /// `None`: not counted, since nothing connects to that port.
    pub(crate) fn connections(&self, address: SocketAddr) -> Option<u64> {
        let counted = self.ports.contains(&address.port());
        counted.then(|| self.connections.get(&address).copied().unwrap_or(0))
    }

    /// How many of all counted connections come from this address.
    pub(crate) fn connections_from(&self, address: IpAddr) -> u64 {
        self.from.get(&address).copied().unwrap_or(0)
    }

    /// `None`: the process no longer exists.
    pub(crate) fn usage(&self, pid: u32) -> Option<Usage> {
        self.usage.get(&pid).copied()
    }
}
