//! The endpoints document: the replicas behind a gateway.
//!
//! The supervisor writes it as JSON (a temporary file, then a rename, so that a reader never sees half of it), and the
//! gateway reads it whenever the file is replaced. The same facts feed Envoy's file-based EDS and HAProxy's runtime
//! socket.

use std::{collections::BTreeSet, net::SocketAddr};

use serde::{Deserialize, Serialize};

/// All clusters of one gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoints {
    /// Grows with every change, so that a reader can say which state it has read.
    pub version: u64,
    pub clusters: Vec<Cluster>,
}

/// The replicas of one service; the word is Envoy's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// The service's name, as in `values.yaml`.
    pub name: String,
    pub endpoints: Vec<Endpoint>,
}

/// One replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// The replica's name, such as `tcp-0`.
    pub name: String,
    /// Where it takes connections.
    pub address: SocketAddr,
    /// Where it answers `GET /readyz`; if absent, the endpoint counts as healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<SocketAddr>,
    /// Gets no new connections; existing ones continue until they end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
}

/// Why a text is not an endpoints document.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    #[error("it is not a document of endpoints: {0}")]
    Parse(#[from] serde_json::Error),
    #[error("cluster {0:?} is in it more than once")]
    ClusterTwice(String),
    #[error("endpoint {name:?} at {address} is in cluster {cluster:?} more than once")]
    EndpointTwice { cluster: String, name: String, address: SocketAddr },
}

impl Endpoints {
    /// Reads a document. Every cluster, and every endpoint of a cluster, must be in it only once.
    pub fn parse(text: &[u8]) -> Result<Self, Invalid> {
        let document: Self = serde_json::from_slice(text)?;
        let mut clusters = BTreeSet::new();
        for cluster in &document.clusters {
            if !clusters.insert(&cluster.name) {
                return Err(Invalid::ClusterTwice(cluster.name.clone()));
            }
            let mut endpoints = BTreeSet::new();
            for Endpoint { name, address, .. } in &cluster.endpoints {
                if !endpoints.insert((name, address)) {
                    let (cluster, name) = (cluster.name.clone(), name.clone());
                    return Err(Invalid::EndpointTwice { cluster, name, address: *address });
                }
            }
        }
        Ok(document)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: &str = r#"{"version":3,"clusters":[
        {"name":"tcp","endpoints":[{"name":"tcp-0","address":"127.77.2.1:40000","health":"127.77.2.1:9100"}]},
        {"name":"udp","endpoints":[]}]}"#;

    #[test]
    fn omitted_fields_have_their_defaults() {
        let document = Endpoints::parse(ONE.as_bytes()).unwrap();
        assert_eq!(document.version, 3);
        let endpoint = &document.clusters[0].endpoints[0];
        assert_eq!(endpoint.address.to_string(), "127.77.2.1:40000");
        assert_eq!(endpoint.health.unwrap().port(), 9100);
        assert!(!endpoint.draining);
    }

    #[test]
    fn invalid_documents_are_refused_with_a_reason() {
        let refused = |text: &str| Endpoints::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(refused("{").contains("not a document"));
        assert!(refused(r#"{"version":1,"clusters":[],"more":1}"#).contains("more"));
        assert!(refused(&ONE.replace("\"udp\"", "\"tcp\"")).contains("\"tcp\" is in it more than once"));
        let entry = r#"{"name":"tcp-0","address":"127.77.2.1:40000"}"#;
        let twice = format!(r#"{{"version":1,"clusters":[{{"name":"tcp","endpoints":[{entry},{entry}]}}]}}"#);
        let reason = "\"tcp-0\" at 127.77.2.1:40000 is in cluster \"tcp\" more than once";
        assert!(refused(&twice).contains(reason));
    }

    proptest! {
        /// A reader that is too early sees the beginning of a document.
        #[test]
        fn a_part_of_a_document_is_refused(bytes in 0..ONE.len()) {
            prop_assert!(Endpoints::parse(&ONE.as_bytes()[..bytes]).is_err());
        }

        #[test]
        fn any_bytes_give_a_document_or_a_reason(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Endpoints::parse(&text);
        }
    }
}
