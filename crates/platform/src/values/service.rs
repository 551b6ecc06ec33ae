//! What `values.yaml` says about one service.

use std::{collections::BTreeMap, time::Duration};

use autoscale::spec::HpaSpec;

use super::{
    autoscaling, chart,
    reader::Reader,
    resources::Resources,
    rule::{self, REPLICAS_MAX, Rule},
};
use crate::{protocol::Protocol, services::ServiceKind};

/// Longest grace period, in seconds.
const GRACE_SECONDS_MAX: u32 = 3_600;

/// One service: a top-level key of `values.yaml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    pub kind: ServiceKind,
    /// The key: `tcp`, `udp`….
    pub name: String,
    pub enabled: bool,
    /// A fixed number of replicas; absent when an autoscaler owns it.
    pub replicas: Option<u32>,
    /// Where clients connect, on every replica; the admin port of a service that has no clients.
    pub port: u16,
    /// Where a replica answers `/healthz`, `/readyz` and `/metrics`.
    pub admin_port: u16,
    /// Environment of the replicas. Addresses of other parts and the ports are added by the target.
    pub env: BTreeMap<String, String>,
    pub resources: Resources,
    /// Decides when a replica gets connections.
    pub readiness: Probe,
    /// From SIGTERM to SIGKILL.
    pub termination_grace_period: Duration,
    /// `autoscaling/v2`, as written; [`HpaSpec::defaulted`] fills in the rest.
    pub autoscaling: Option<HpaSpec>,
    pub pod_annotations: BTreeMap<String, String>,
}

/// An HTTP probe on the admin port, with Kubernetes' names and defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    pub path: String,
    pub period: Duration,
    pub timeout: Duration,
    pub failure_threshold: u32,
    pub success_threshold: u32,
}

impl Service {
    /// How many replicas it starts with: the fixed number, or the autoscaler's minimum.
    pub fn initial_replicas(&self) -> u32 {
        match (&self.autoscaling, self.replicas) {
            (Some(spec), _) => spec.min_replicas.and_then(|min| u32::try_from(min).ok()).unwrap_or(1),
            (None, replicas) => replicas.unwrap_or(1),
        }
    }

    /// What its clients speak.
    pub fn protocol(&self) -> Protocol {
        self.kind.row().transport
    }

    /// The autoscaler's bounds.
    pub fn autoscaled(&self) -> Option<[u32; 2]> {
        let spec = self.autoscaling.as_ref()?;
        Some([self.initial_replicas(), u32::try_from(spec.max_replicas).ok()?])
    }

    pub(super) fn read(kind: ServiceKind, mut values: Reader<'_>) -> Self {
        let name = kind.name();
        let has_clients = kind.row().has_clients;
        let enabled = values.bool("enabled", true);
        let replicas = values.integer("replicas", 0..=REPLICAS_MAX);
        let is_autoscaled = values.get("autoscaling").is_some();
        let autoscaling = autoscaling::read(&mut values);
        let problems = values.problems();
        if is_autoscaled && replicas.is_some() {
            let message = format!(
                "the autoscaler owns the replicas; for a fixed number set {name}.autoscaling=null too"
            );
            problems.message(values.path_of("replicas"), replicas.map(Into::into).as_ref(), message);
        }
        if kind == ServiceKind::Balancer {
            chart::existing_secret(&mut values);
        }
        let admin_port = values.port("adminPort");
        let port = if has_clients { values.port("port") } else { admin_port };
        if port == admin_port && port != 0 && has_clients {
            problems.add(
                values.path_of("adminPort"),
                Some(&admin_port.into()),
                "another port than the service's own",
            );
        }
        let service = Self {
            kind,
            name: name.to_owned(),
            enabled,
            replicas,
            port,
            admin_port,
            env: values.texts("env", &variable()),
            resources: Resources::read(values.table("resources")),
            readiness: Probe::read(values.table("probes")),
            termination_grace_period: seconds(
                values.integer("terminationGracePeriodSeconds", 0..=GRACE_SECONDS_MAX),
                30,
            ),
            autoscaling,
            pod_annotations: values.texts("podAnnotations", &rule::name("a name")),
        };
        values.finish();
        service
    }
}

impl Probe {
    fn read(probes: Option<Reader<'_>>) -> Self {
        let Some(mut probes) = probes else { return Self::read_one(None, "/readyz") };
        let readiness = Self::read_one(probes.table("readiness"), "/readyz");
        // In a cluster, the kubelet's.
        for chart_only in ["startup", "liveness"] {
            Self::read_one(probes.table(chart_only), "/healthz");
        }
        probes.finish();
        readiness
    }

    fn read_one(values: Option<Reader<'_>>, path: &str) -> Self {
        let mut read = Self {
            path: path.to_owned(),
            period: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
            failure_threshold: 3,
            success_threshold: 1,
        };
        let Some(mut values) = values else { return read };
        read = Self {
            path: values.optional("path", rule::path()).unwrap_or(read.path),
            period: seconds(values.integer("periodSeconds", 1..=GRACE_SECONDS_MAX), 10),
            timeout: seconds(values.integer("timeoutSeconds", 1..=GRACE_SECONDS_MAX), 1),
            failure_threshold: values.integer("failureThreshold", 1..=1_000).unwrap_or(3),
            success_threshold: values.integer("successThreshold", 1..=1_000).unwrap_or(1),
        };
        values.finish();
        read
    }
}

fn seconds(read: Option<u32>, absent: u32) -> Duration {
    Duration::from_secs(u64::from(read.unwrap_or(absent)))
}

/// The name of a variable of the environment.
pub(super) fn variable() -> Rule<String> {
    rule::matching("a variable's name (letters, digits and _, not a digit first)", "^[A-Za-z_][A-Za-z0-9_]*$")
}
