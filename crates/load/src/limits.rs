//! This machine's limits: open files per process, ephemeral ports per pair of addresses.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use scenario::{Protocol, Scenario};

use crate::error::LoadError;

/// Open files reserved for everything except connections.
const FILES_KEPT: u64 = 128;
/// The share of a source's ephemeral ports to plan with. A connect first searches one half of the ports (the even
/// ones), and when they are nearly used up, the search takes most of a ramp's CPU.
const PORTS_USED_PERCENT: u64 = 40;
/// Linux' default range.
const PORTS_DEFAULT: (u16, u16) = (32_768, 60_999);
/// Maximum number of source addresses.
const SOURCES_MAX: u64 = 250;

/// How a plan's connections are distributed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) workers: u32,
    /// Workers are separate processes, each with its own limit on open files.
    pub(crate) processes: bool,
    /// Empty: the kernel's choice.
    pub(crate) sources: Vec<IpAddr>,
}

/// Raises this process's limit on open files as far as it goes. Returns the limit.
pub(crate) fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // If refused, the old limit stays, and is returned.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Distributes a load over source addresses and at least `wanted` workers.
pub(crate) fn lay_out(
    scenario: &Scenario,
    targets: &[SocketAddr],
    wanted: u32,
    files_max: u64,
    processes_possible: bool,
) -> Result<Layout, LoadError> {
    let connections = scenario.users();
    let sources = sources(scenario, targets, ephemeral_ports(), std::process::id())?;
    let open_now = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    if connections + open_now + FILES_KEPT <= files_max {
        // Requested workers are also processes if possible: one way to be several.
        return Ok(Layout { workers: wanted, processes: processes_possible && wanted > 1, sources });
    }
    if !processes_possible || files_max <= 2 * FILES_KEPT {
        return Err(LoadError::OpenFiles {
            connections,
            needed: connections + open_now + FILES_KEPT,
            limit: files_max,
        });
    }
    let needed = connections.div_ceil(files_max - FILES_KEPT);
    let needed = u32::try_from(needed).unwrap_or(u32::MAX);
    Ok(Layout { workers: wanted.max(needed), processes: true, sources })
}

/// The source addresses that a load needs. On loopback, any address of 127/8 can be one; elsewhere, only the machine's
/// own address.
fn sources(
    scenario: &Scenario,
    targets: &[SocketAddr],
    ports: u64,
    process: u32,
) -> Result<Vec<IpAddr>, LoadError> {
    // A port can have one connection per target, but only one UDP socket.
    let sharing = if scenario.protocol == Protocol::Udp { 1 } else { targets.len().max(1) as u64 };
    let per_target = scenario.users().div_ceil(sharing);
    let per_source = (ports * PORTS_USED_PERCENT / 100).max(1);
    if per_target <= per_source {
        return Ok(Vec::new());
    }
    let loopback = targets.iter().all(|target| target.is_ipv4() && target.ip().is_loopback());
    let count = per_target.div_ceil(per_source);
    if loopback && count <= SOURCES_MAX {
        // Each process has its own, above the range of platforms on this machine.
        let (high, low) = ((process >> 8) as u8 & 0x3f, process as u8);
        return Ok((1..=count)
            .map(|host| IpAddr::from(Ipv4Addr::new(127, 192 + high, low, host as u8)))
            .collect());
    }
    if !loopback && per_target <= ports {
        return Ok(Vec::new());
    }
    let available = if loopback { per_source * SOURCES_MAX } else { ports };
    let target = targets.first().map(SocketAddr::to_string).unwrap_or_default();
    Err(LoadError::Ports { target, connections: per_target, available })
}

/// The number of ephemeral ports of a source address.
fn ephemeral_ports() -> u64 {
    let (low, high) = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|text| {
            let mut bounds = text.split_ascii_whitespace().map(str::parse::<u16>);
            Some((bounds.next()?.ok()?, bounds.next()?.ok()?))
        })
        .unwrap_or(PORTS_DEFAULT);
    u64::from(high.saturating_sub(low)) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: u64 = 28_232;

    fn load(connections: u64) -> Scenario {
        let mut scenario = Scenario::default();
        scenario.phases.ramp.connections = connections;
        scenario
    }

    fn sources_of(connections: u64, targets: &[&str], process: u32) -> Result<Vec<IpAddr>, LoadError> {
        let targets: Vec<SocketAddr> = targets.iter().map(|target| target.parse().unwrap()).collect();
        sources(&load(connections), &targets, PORTS, process)
    }

    #[test]
    fn few_connections_leave_the_source_to_the_kernel() {
        assert_eq!(sources_of(10_000, &["127.0.0.1:1"], 1).unwrap(), [] as [IpAddr; 0]);
        let ten: Vec<String> = (1..=10).map(|host| format!("127.0.0.{host}:1")).collect();
        let ten: Vec<&str> = ten.iter().map(String::as_str).collect();
        assert_eq!(sources_of(100_000, &ten, 1).unwrap(), [] as [IpAddr; 0]);
    }

    #[test]
    fn a_hundred_thousand_connections_to_one_address_use_several_sources() {
        let sources = sources_of(100_000, &["127.0.0.1:1"], 0x0102).unwrap();
        assert_eq!(sources.len(), 9);
        assert_eq!(sources[0], IpAddr::from([127, 193, 2, 1]));
    }

    #[test]
    fn for_a_remote_address_the_ports_are_the_limit_and_the_error_says_so() {
        assert!(sources_of(25_000, &["192.0.2.1:1"], 1).unwrap().is_empty());
        let error = sources_of(30_000, &["192.0.2.1:1"], 1).unwrap_err().to_string();
        assert!(
            error.contains("30000") && error.contains("28232") && error.contains("192.0.2.1:1"),
            "{error}"
        );
    }

    #[test]
    fn open_files_decide_on_processes() {
        let targets = ["127.0.0.1:1".parse().unwrap()];
        let layout = |files, processes| lay_out(&load(100_000), &targets, 1, files, processes);
        assert!(layout(20_000, true).unwrap().processes);
        assert_eq!(layout(20_000, true).unwrap().workers, 6);
        let error = layout(20_000, false).unwrap_err().to_string();
        assert!(error.contains("100000 connections") && error.contains("ulimit -n"), "{error}");
        assert!(!layout(1_000_000, false).unwrap().processes);
    }
}
