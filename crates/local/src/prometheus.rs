//! Prometheus: what it is told to scrape, and what is asked of it.
//!
//! [`config`] writes its configuration into the platform's state folder, [`targets`] keeps the list of what it scrapes
//! there up to date. In the other direction [`adapter`] has the queries that prometheus-adapter serves in a cluster, and
//! [`client`] asks them, so that `metrics.source: prometheus` decides by what a cluster's autoscaler would be shown.
//! The files of `helm-chart/files` are part of the program.

pub(crate) mod adapter;
pub(crate) mod client;
pub(crate) mod config;
pub(crate) mod targets;

/// The queries.
const ADAPTER: &str = include_str!("../../../helm-chart/files/adapter.yaml");
const RULES: &str = include_str!("../../../helm-chart/files/rules.yaml");
const ALERTS: &str = include_str!("../../../helm-chart/files/alerts.yaml");
