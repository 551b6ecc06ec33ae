//! Replicas from DNS: every address of a name is one, as in a cluster of Envoy's type `STRICT_DNS`.
//!
//! * An answer is the whole truth, regardless of its records' TTL. A name that has no address or does not exist has
//!   no replicas: Envoy, too, takes both for an answer without records.
//! * No answer (a time-out, SERVFAIL, a refusal) changes nothing. IPv4 and IPv6 addresses are queried separately, and
//!   each keeps its last answer.
//! * DNS knows neither names nor drains: a replica is named by its address, and one that vanishes keeps its sessions.
//!
//! It sends its own queries instead of using the C library: that blocks a thread while a server is silent, and its
//! errors, as the standard library reports them, do not distinguish a missing name from a missing server. A DNS message
//! has at most 64 KiB, which bounds the number of replicas.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use platform::endpoints::Endpoint;
use resolv_conf::ScopedIp;

use crate::settings::DnsSettings;

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// How long a server may take to answer, and how often to retry.
const PATIENCE: Duration = Duration::from_secs(1);
const ATTEMPTS: usize = 2;

/// Time limit of a look-up, including all names of the search list and all servers.
const LOOK_UP_MAX: Duration = Duration::from_secs(10);

const FAMILIES: [RecordType; 2] = [RecordType::A, RecordType::AAAA];

/// Why no look-up is possible.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("cannot read {RESOLV_CONF}: {0}; DNS_SERVER=IP:PORT names a server to query")]
    Read(#[source] std::io::Error),
    #[error("{RESOLV_CONF}: {0}; DNS_SERVER=IP:PORT names a server to query")]
    Parse(#[source] resolv_conf::ParseError),
    #[error("cannot look up names: {0}")]
    Resolver(#[source] Box<NetError>),
}

/// The result of a look-up.
#[derive(Debug)]
pub(crate) struct Addresses {
    /// The replicas, including those kept despite a failure.
    pub(crate) endpoints: Vec<Endpoint>,
    /// Why part of it is not current.
    pub(crate) failure: Option<String>,
}

/// A name that is looked up repeatedly.
pub(crate) struct Lookup {
    settings: DnsSettings,
    servers: Vec<SocketAddr>,
    /// In the order in which to try them; all end with a dot.
    candidates: Vec<String>,
    /// Created within the runtime in which it runs.
    resolver: Option<TokioResolver>,
    /// The latest answers, by family.
    known: [BTreeSet<IpAddr>; FAMILIES.len()],
}

impl std::fmt::Debug for Lookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lookup").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Lookup {
    pub(crate) fn new(settings: DnsSettings) -> Result<Self, Unusable> {
        let (servers, candidates) = if let Some(server) = settings.server {
            (vec![server], candidates(&settings.name, &[], 0))
        } else {
            let text = fs::read(RESOLV_CONF).map_err(Unusable::Read)?;
            let system = resolv_conf::Config::parse(text).map_err(Unusable::Parse)?;
            let search: Vec<&str> = system.get_last_search_or_domain().map(String::as_str).collect();
            (servers(&system), candidates(&settings.name, &search, system.ndots))
        };
        Ok(Self { settings, servers, candidates, resolver: None, known: Default::default() })
    }

    pub(crate) fn name(&self) -> &str {
        &self.settings.name
    }

    pub(crate) fn refresh(&self) -> Duration {
        self.settings.refresh
    }

    /// Queries all addresses of the name.
    pub(crate) async fn look_up(&mut self) -> Addresses {
        let resolver = match &self.resolver {
            Some(resolver) => resolver,
            None => match resolver(&self.servers) {
                Ok(resolver) => self.resolver.insert(resolver),
                Err(error) => return self.addresses(Some(error.to_string())),
            },
        };
        let ask = |family| find(resolver, &self.candidates, family);
        let both = async { tokio::join!(ask(FAMILIES[0]), ask(FAMILIES[1])) };
        let Ok((v4, v6)) = tokio::time::timeout(LOOK_UP_MAX, both).await else {
            let words = format!("{}: no answer within {} s", self.name(), LOOK_UP_MAX.as_secs());
            return self.addresses(Some(words));
        };
        let mut failures = Vec::new();
        for ((known, answer), family) in self.known.iter_mut().zip([v4, v6]).zip(FAMILIES) {
            match answer {
                Ok(addresses) => *known = addresses,
                Err(error) => failures.push((!known.is_empty(), format!("{family}: {error}"))),
            }
        }
        // A server that fails for one family does not matter while the other one is enough.
        let lacks_all = self.known.iter().all(BTreeSet::is_empty);
        let worst = failures.into_iter().find(|(keeps_something, _)| *keeps_something || lacks_all);
        let failure = worst.map(|(_, words)| format!("{}: {words}", self.name()));
        self.addresses(failure)
    }

    fn addresses(&self, failure: Option<String>) -> Addresses {
        let DnsSettings { port, health_port, .. } = self.settings;
        let endpoint = |address: &IpAddr| Endpoint {
            name: address.to_string(),
            address: SocketAddr::new(*address, port),
            health: health_port.map(|port| SocketAddr::new(*address, port)),
            draining: false,
        };
        Addresses { endpoints: self.known.iter().flatten().map(endpoint).collect(), failure }
    }
}

/// The names to try, as the C library does: a name with few dots first within each domain of the search list.
fn candidates(name: &str, search: &[&str], ndots: u32) -> Vec<String> {
    if name.ends_with('.') {
        return vec![name.to_owned()];
    }
    let within = search.iter().map(|domain| match domain.trim_matches('.') {
        "" => format!("{name}."),
        domain => format!("{name}.{domain}."),
    });
    let mut candidates: Vec<String> = within.collect();
    let itself = format!("{name}.");
    let has_dots = name.matches('.').count() >= ndots as usize;
    candidates.insert(if has_dots { 0 } else { candidates.len() }, itself);
    candidates
}

fn servers(system: &resolv_conf::Config) -> Vec<SocketAddr> {
    let address = |server: &ScopedIp| SocketAddr::new(server.clone().into(), 53);
    let named: Vec<SocketAddr> = system.nameservers.iter().map(address).collect();
    // As the C library does.
    if named.is_empty() { vec![([127, 0, 0, 1], 53).into()] } else { named }
}

fn resolver(servers: &[SocketAddr]) -> Result<TokioResolver, Unusable> {
    let server = |address: &SocketAddr| {
        let mut server = NameServerConfig::udp_and_tcp(address.ip());
        server.connections.iter_mut().for_each(|connection| connection.port = address.port());
        server
    };
    let config = ResolverConfig::from_parts(None, Vec::new(), servers.iter().map(server).collect());
    let mut options = ResolverOpts::default();
    options.timeout = PATIENCE;
    options.attempts = ATTEMPTS;
    // Every look-up sends queries.
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options)
        .build()
        .map_err(|error| Unusable::Resolver(Box::new(error)))
}

/// The addresses of the first of these names that has any. Stops at a name that cannot be looked up: a later name would
/// answer another question.
async fn find(
    resolver: &TokioResolver,
    candidates: &[String],
    family: RecordType,
) -> Result<BTreeSet<IpAddr>, NetError> {
    for name in candidates {
        match resolver.lookup(name.as_str(), family).await {
            Ok(answer) => {
                let addresses = answer.answers().iter().filter_map(|record| match &record.data {
                    RData::A(address) => Some(IpAddr::V4(address.0)),
                    RData::AAAA(address) => Some(IpAddr::V6(address.0)),
                    _ => None,
                });
                let addresses: BTreeSet<IpAddr> = addresses.collect();
                if !addresses.is_empty() {
                    return Ok(addresses);
                }
            }
            Err(error) if error.is_no_records_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(BTreeSet::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tried_as_the_c_library_tries_them() {
        let search = ["play.svc.cluster.local", "svc.cluster.local", "cluster.local."];
        let tried = |name| candidates(name, &search, 5);
        assert_eq!(
            tried("tcp.play.svc"),
            [
                "tcp.play.svc.play.svc.cluster.local.",
                "tcp.play.svc.svc.cluster.local.",
                "tcp.play.svc.cluster.local.",
                "tcp.play.svc."
            ]
        );
        assert_eq!(tried("tcp.play.svc."), ["tcp.play.svc."]);
        assert_eq!(candidates("tcp.play", &["svc"], 1), ["tcp.play.", "tcp.play.svc."]);
        assert_eq!(candidates("tcp", &[], 1), ["tcp."]);
        assert_eq!(candidates("tcp", &["."], 1), ["tcp.", "tcp."]);
    }

    #[test]
    fn the_system_names_its_servers() {
        let of = |text: &str| servers(&resolv_conf::Config::parse(text).unwrap());
        assert_eq!(of("nameserver 10.96.0.10\n"), ["10.96.0.10:53".parse().unwrap()]);
        assert_eq!(of("nameserver fd00::a\n"), ["[fd00::a]:53".parse().unwrap()]);
        assert_eq!(of("search x\n"), ["127.0.0.1:53".parse().unwrap()]);
    }
}
