//! The file that says which replicas exist: reading it, and noticing that it was replaced.
//!
//! A file that cannot be read, or says something impossible, changes nothing: the last good state stays in use.

pub(crate) mod watch;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use platform::endpoints::{Endpoint, Endpoints};

/// A file above this size is not one of ours: it would hold some hundred thousand replicas.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What the file says about one cluster.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Replicas {
    pub(crate) version: u64,
    /// None if the file has no such cluster.
    pub(crate) endpoints: Option<Vec<Endpoint>>,
}

/// Why an endpoints file was not taken over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Rejected {
    #[error("cannot read it: {0}")]
    Read(#[from] std::io::Error),
    #[error("it has {0} bytes, more than {BYTES_MAX}")]
    TooLong(u64),
    #[error("it is not a document of endpoints: {0}")]
    Parse(#[from] serde_json::Error),
    #[error("cluster {0:?} is in it more than once")]
    ClusterTwice(String),
    #[error("endpoint {name:?} at {address} is in it more than once")]
    EndpointTwice { name: String, address: std::net::SocketAddr },
}

/// Reads what `path` says about `cluster`.
pub(crate) fn read(path: &Path, cluster: &str) -> Result<Replicas, Rejected> {
    let mut text = Vec::new();
    let file = File::open(path)?;
    let bytes = file.take(BYTES_MAX + 1).read_to_end(&mut text)? as u64;
    if bytes > BYTES_MAX {
        return Err(Rejected::TooLong(bytes));
    }
    parse(&text, cluster)
}

fn parse(text: &[u8], cluster: &str) -> Result<Replicas, Rejected> {
    let document: Endpoints = serde_json::from_slice(text)?;
    let mut named = document.clusters.into_iter().filter(|candidate| candidate.name == cluster);
    let endpoints = named.next().map(|cluster| cluster.endpoints);
    if named.next().is_some() {
        return Err(Rejected::ClusterTwice(cluster.to_owned()));
    }
    let mut seen = BTreeSet::new();
    for endpoint in endpoints.iter().flatten() {
        if !seen.insert((&endpoint.name, endpoint.address)) {
            return Err(Rejected::EndpointTwice { name: endpoint.name.clone(), address: endpoint.address });
        }
    }
    Ok(Replicas { version: document.version, endpoints })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: &str = r#"{"version":3,"clusters":[
        {"name":"tcp","endpoints":[{"name":"tcp-0","address":"127.77.2.1:40000","health":"127.77.2.1:9100"}]},
        {"name":"udp","endpoints":[]}]}"#;

    #[test]
    fn a_cluster_is_found_by_its_name() {
        let replicas = parse(ONE.as_bytes(), "tcp").unwrap();
        assert_eq!(replicas.version, 3);
        let endpoint = &replicas.endpoints.unwrap()[0];
        assert_eq!(endpoint.address.to_string(), "127.77.2.1:40000");
        assert_eq!(endpoint.health.unwrap().port(), 9100);
        assert_eq!(parse(ONE.as_bytes(), "udp").unwrap().endpoints, Some(Vec::new()));
        assert_eq!(parse(ONE.as_bytes(), "ws").unwrap().endpoints, None);
    }

    #[test]
    fn what_makes_no_sense_is_rejected_with_its_reason() {
        let rejected = |text: &str| parse(text.as_bytes(), "tcp").unwrap_err().to_string();
        assert!(rejected("{").contains("not a document"));
        assert!(rejected(r#"{"version":1,"clusters":[],"more":1}"#).contains("more"));
        let twice = ONE.replace("\"udp\"", "\"tcp\"");
        assert!(rejected(&twice).contains("\"tcp\" is in it more than once"));
        let entry = r#"{"name":"tcp-0","address":"127.77.2.1:40000"}"#;
        let twice = format!(r#"{{"version":1,"clusters":[{{"name":"tcp","endpoints":[{entry},{entry}]}}]}}"#);
        assert!(rejected(&twice).contains("\"tcp-0\" at 127.77.2.1:40000 is in it more than once"));
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_state_or_a_reason(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&text, "tcp");
        }
    }
}
