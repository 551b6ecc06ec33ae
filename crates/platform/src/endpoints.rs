//! What a gateway is told about the replicas behind it.
//!
//! The supervisor writes this document as JSON (a temporary file, then a rename, so that a reader never sees
//! half of it) and the gateway takes it over whenever the file is replaced. The same facts feed Envoy's
//! file-based EDS and HAProxy's runtime socket.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// All clusters of one gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoints {
    /// Grows with every change, so that a reader can say which state it has taken over.
    pub version: u64,
    pub clusters: Vec<Cluster>,
}

/// The replicas of one service, as Envoy's word for it.
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
    /// Where it answers `GET /readyz`; without it the endpoint is taken to be healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<SocketAddr>,
    /// Gets no new connection; those it has go on until they end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
}
