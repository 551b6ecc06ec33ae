//! Prometheus: its scrape targets, and queries to it.
//!
//! [`config`] writes its configuration into the platform's state folder, and [`targets`] keeps its list of targets there
//! up to date. In the other direction [`adapter`] has the queries that prometheus-adapter serves in a cluster, and
//! [`client`] sends them, so that `metrics.source: prometheus` gives decisions the values a cluster's autoscaler gets.
//! The files of `helm-chart/files` are part of the program.

pub(crate) mod adapter;
pub(crate) mod client;
pub(crate) mod config;
pub(crate) mod targets;

/// The queries.
const ADAPTER: &str = include_str!("../../../helm-chart/files/adapter.yaml");
const RULES: &str = include_str!("../../../helm-chart/files/rules.yaml");
const ALERTS: &str = include_str!("../../../helm-chart/files/alerts.yaml");
