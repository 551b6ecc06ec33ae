//! What the supervisor's metrics are made of, as the actor saw it last.

use std::net::SocketAddr;

use platform::{event::MetricProposal, target::ReplicaPhase};

/// Everything but what the kernel counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    /// The platform's name, which stands for a cluster's namespace.
    pub(crate) namespace: String,
    pub(crate) services: Vec<ServiceView>,
    pub(crate) gateways: Vec<GatewayView>,
    pub(crate) counts: Counts,
}

/// What happened since the platform came up.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) scrapes: u64,
    pub(crate) syncs: u64,
    /// Metrics of autoscalers that could not be read at a sync.
    pub(crate) metric_failures: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct ServiceView {
    pub(crate) name: String,
    pub(crate) desired: u32,
    pub(crate) replicas: Vec<ReplicaView>,
    pub(crate) autoscaler: Option<AutoscalerView>,
}

#[derive(Debug, Clone)]
pub(crate) struct ReplicaView {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) phase: ReplicaPhase,
    pub(crate) restarts: u32,
    pub(crate) process: Option<ProcessView>,
    /// By its own count.
    pub(crate) packets_received: Option<u64>,
}

/// The process that a replica is at present.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProcessView {
    pub(crate) pid: u32,
    /// Seconds since 1970.
    pub(crate) started: f64,
}

#[derive(Debug, Clone)]
pub(crate) struct AutoscalerView {
    pub(crate) min: u32,
    pub(crate) max: u32,
    /// What it saw last.
    pub(crate) current: u32,
    pub(crate) desired: u32,
    pub(crate) metrics: Vec<MetricProposal>,
}

#[derive(Debug, Clone)]
pub(crate) struct GatewayView {
    pub(crate) name: String,
    pub(crate) ready: bool,
    pub(crate) restarts: u32,
}
