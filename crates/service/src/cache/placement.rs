//! The servers, and which of them has a key.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Settings;

/// How long a lookup may take before the known addresses are used.
const LOOKUP_TIMEOUT: Duration = Duration::from_millis(500);
/// More servers than this are a mistake in the name service.
const SERVERS_MAX: usize = 256;

/// The place of `key` among `servers` (at least one): its CRC-32 (IEEE) modulo their number, as in other clients.
pub(super) fn place(key: &[u8], servers: usize) -> usize {
    crc32fast::hash(key) as usize % servers
}

/// Addresses of one family each, sorted; never empty.
type Families = Vec<Vec<SocketAddr>>;

/// Resolves the servers, one lookup at a time.
#[derive(Default)]
pub(super) struct Resolver {
    pending: Option<JoinHandle<Result<Families, String>>>,
}

impl Resolver {
    /// The servers' addresses by family, the preferred one first. If a name has both, they count as the same servers: a
    /// pod of a dual-stack cluster has an address of each family, and so has `localhost`.
    pub(super) async fn resolve(&mut self, settings: &Settings) -> Result<Families, String> {
        let lookup = self.pending.get_or_insert_with(|| tokio::spawn(look_up(settings.clone())));
        let Ok(outcome) = timeout(LOOKUP_TIMEOUT, lookup).await else {
            return Err("the name service does not answer in time".into());
        };
        self.pending = None;
        outcome.unwrap_or_else(|error| Err(error.to_string()))
    }
}

async fn look_up(settings: Settings) -> Result<Families, String> {
    let mut addresses = Vec::new();
    for host in settings.hosts() {
        let found = tokio::net::lookup_host((host, settings.port)).await;
        addresses.extend(found.map_err(|error| format!("{host}: {error}"))?);
    }
    families(addresses)
}

fn families(addresses: Vec<SocketAddr>) -> Result<Families, String> {
    let sorted = BTreeSet::from_iter(addresses);
    let (v4, v6): (Vec<_>, Vec<_>) = sorted.into_iter().partition(SocketAddr::is_ipv4);
    let families: Families = [v4, v6].into_iter().filter(|family| !family.is_empty()).collect();
    match families.iter().map(Vec::len).max() {
        None => Err("its name has no address".into()),
        Some(servers) if servers > SERVERS_MAX => {
            Err(format!("its name has {servers} addresses, more than {SERVERS_MAX}"))
        }
        Some(_) => Ok(families),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lie_where_other_clients_look_for_them() {
        // CRC-32 (IEEE) as in RFC 1952: "123456789" gives 0xCBF43926.
        assert_eq!(place(b"123456789", 1 << 20), 0x0004_3926);
        assert_eq!(place(b"123456789", 3), 0xCBF4_3926_usize % 3);
        assert_eq!(place(b"", 7), 0);
        assert_eq!(place(b"anything", 1), 0);
    }

    #[test]
    fn the_order_of_the_answer_does_not_matter() {
        let parse = |addresses: &[&str]| addresses.iter().map(|address| address.parse().unwrap()).collect();
        let sorted: Vec<SocketAddr> = parse(&["9.0.0.1:1", "10.0.0.1:1", "10.0.0.2:1"]);
        for answer in [["10.0.0.2:1", "9.0.0.1:1", "10.0.0.1:1"], ["10.0.0.1:1", "10.0.0.2:1", "9.0.0.1:1"]] {
            assert_eq!(families(parse(&answer)), Ok(vec![sorted.clone()]));
        }
        let both = parse(&["[::1]:1", "127.0.0.1:1", "127.0.0.1:1"]);
        assert_eq!(families(both), Ok(vec![parse(&["127.0.0.1:1"]), parse(&["[::1]:1"])]));
        assert!(families(Vec::new()).is_err());
    }
}
