//! The fleet as the policies see it.

use std::collections::BTreeMap;

use balance::{Fleet, Server, Traffic};
use platform::target::{ReplicaPhase, ReplicaSnapshot, ServiceSnapshot};

use crate::Settings;
use crate::sessions::{Listed, Session};

/// Number of sessions per host, of both kinds.
fn by_host(listed: &Listed) -> BTreeMap<&str, (u64, u64)> {
    let mut hosts: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for Session { host, .. } in &listed.ws {
        hosts.entry(host).or_default().0 += 1;
    }
    for Session { host, .. } in &listed.sse {
        hosts.entry(host).or_default().1 += 1;
    }
    hosts
}

/// A server's capacity depends on what it serves.
fn capacity((_, sse): (u64, u64), ws_only: bool, settings: &Settings) -> u64 {
    if sse > 0 || !ws_only { settings.sse_capacity } else { settings.ws_capacity }
}

/// The name under which a server lists its sessions: its IP address.
pub(crate) fn host_id(replica: &ReplicaSnapshot) -> Option<String> {
    Some(replica.socket()?.ip().to_string())
}

/// Replicas that were not told to end.
fn staying(service: &ServiceSnapshot) -> impl Iterator<Item = &ReplicaSnapshot> {
    service.replicas.iter().filter(|replica| replica.phase != ReplicaPhase::Draining)
}

/// A replica that takes connections but whose number of connections is unknown. Treating it as empty would be wrong
/// either way.
pub(crate) fn uncounted(service: &ServiceSnapshot) -> Option<&str> {
    let mut ready = staying(service).filter(|replica| replica.phase == ReplicaPhase::Ready);
    ready.find(|replica| replica.connections.is_none()).map(|replica| replica.name.as_str())
}

/// The replicas of the platform, with their sessions in `listed`, or, without it, the connections that the platform
/// counts.
pub(crate) fn of_platform(service: &ServiceSnapshot, listed: Option<&Listed>, settings: &Settings) -> Fleet {
    let mut hosts = listed.map(by_host).unwrap_or_default();
    let ws_only = settings.service != "stream";
    let servers = staying(service).map(|replica| {
        let of_host = host_id(replica).and_then(|host| hosts.remove(host.as_str())).unwrap_or_default();
        let sessions = of_host.0 + of_host.1;
        Server {
            name: replica.name.clone(),
            connections: if listed.is_some() { sessions } else { replica.connections.unwrap_or(0) },
            capacity: capacity(of_host, ws_only, settings),
            traffic: replica.traffic,
            ready: replica.phase == ReplicaPhase::Ready,
            deletion_cost: replica.deletion_cost,
        }
    });
    let servers = servers.collect();
    Fleet {
        servers,
        replicas: service.desired,
        elsewhere: hosts.into_values().map(|(ws, sse)| ws + sse).sum(),
        waiting: listed.map_or(0, |listed| listed.waiting),
        foreseen: None,
    }
}

/// Without a platform: the hosts that have sessions.
pub(crate) fn of_redis(listed: &Listed, settings: &Settings) -> Fleet {
    let hosts = by_host(listed).into_iter().map(|(host, sessions)| Server {
        name: host.to_owned(),
        connections: sessions.0 + sessions.1,
        capacity: capacity(sessions, sessions.1 == 0, settings),
        traffic: Traffic::Active,
        ready: true,
        deletion_cost: 0,
    });
    let servers: Vec<_> = hosts.collect();
    Fleet { replicas: servers.len() as u32, servers, waiting: listed.waiting, ..Fleet::default() }
}
