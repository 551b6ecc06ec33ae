//! The values that histories apply, read once.

use std::{collections::BTreeMap, sync::Arc};

use platform::values::{Values, ValuesSource};

/// Values that differ in every setting that an `apply` can change.
pub(crate) struct Plans {
    values: Vec<Arc<Values>>,
}

/// Short periods, so that a history has many scrapes, syncs and ends of grace periods.
const COMMON: &[&str] = &[
    "metrics.scrapeInterval=2s,metrics.window=6s,metrics.syncPeriod=3s",
    "udp.enabled=true,udp.autoscaling=null,udp.replicas=2",
    "tcp.autoscaling.minReplicas=2,tcp.autoscaling.behavior.scaleDown.stabilizationWindowSeconds=4",
    "tcp.probes.readiness.periodSeconds=4,udp.probes.readiness.periodSeconds=6",
    "tcp.terminationGracePeriodSeconds=8,udp.terminationGracePeriodSeconds=3",
    "ws.env.SIGTERM_TIMEOUT=2,ws.env.DRAIN_SPREAD=1,ws.terminationGracePeriodSeconds=10",
    "stream.env.SIGTERM_TIMEOUT=1,stream.env.DRAIN_SPREAD=1,stream.terminationGracePeriodSeconds=9",
    "profiles.env.SIGTERM_TIMEOUT=1,profiles.terminationGracePeriodSeconds=7",
];

const PLANS: &[&[&str]] = &[
    &[],
    &["tcp.env.BUFF_SIZE=1024"],
    &["udp.env.SIGTERM_TIMEOUT=1", "udp.replicas=3"],
    &["gateway.policy=random"],
    &["gateway.kind=envoy"],
    &["logger.enabled=true,logger.replicas=2,logger.probes.readiness.periodSeconds=5"],
    &["kafka.real=true,memcached.real=true"],
    &["kafka.brokers=kafka:9092,memcached.enabled=false"],
    &["udp.enabled=false,logger.enabled=true"],
    &["metrics.source=prometheus,prometheus.enabled=true"],
    &["metrics.source=prometheus,prometheus.enabled=true,prometheus.url=http://given:9090"],
    &["tcp.autoscaling.maxReplicas=3,tcp.probes.readiness.failureThreshold=1"],
    &["tcp.autoscaling=null,tcp.replicas=4,tcp.probes.readiness.successThreshold=2"],
    &[
        "gateway.listeners[0].name=tcp,gateway.listeners[0].protocol=TCP,gateway.listeners[0].port=10005",
        "gateway.listeners[0].service=tcp",
    ],
    &["ws.enabled=true,ws.autoscaling=null,ws.replicas=3,balancer.enabled=true"],
    &["ws.enabled=true,ws.autoscaling.minReplicas=2,redis.real=true"],
    &["redis.enabled=true,redis.address=given:6379,etcd.enabled=true"],
    &["etcd.enabled=true,etcd.endpoints=http://given:2379"],
    &["stream.enabled=true,stream.autoscaling=null,stream.replicas=2,profiles.enabled=true"],
    &["stream.enabled=true,profiles.enabled=true,profiles.replicas=2,cassandra.enabled=true"],
    &["profiles.enabled=true,profiles.replicas=3,cassandra.enabled=true,cassandra.contactPoints=given:9042"],
];

impl Plans {
    pub(crate) fn new() -> Self {
        let read = |plan: &&[&str]| {
            let set = COMMON.iter().chain(*plan).map(|text| (*text).to_owned()).collect();
            let source = ValuesSource { set, ..ValuesSource::default() };
            Arc::new(Values::load(&source).expect("the plans of histories are valid"))
        };
        Self { values: PLANS.iter().map(read).collect() }
    }

    pub(crate) fn count(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn values(&self, number: usize) -> Arc<Values> {
        Arc::clone(&self.values[number])
    }
}

/// The found programs, in one of two versions.
pub(crate) fn programs(version: u32) -> BTreeMap<String, String> {
    let names = [
        "kafka",
        "memcached",
        "elasticsearch",
        "prometheus",
        "envoy",
        "haproxy",
        "redis",
        "etcd",
        "cassandra",
    ];
    names.map(|name| (name.to_owned(), format!("/usr/bin/{name}, version {version}"))).into()
}
