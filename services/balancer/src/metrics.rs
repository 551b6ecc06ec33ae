//! The metrics and their names.
//!
//! | metric | meaning |
//! |---|---|
//! | `balancer_servers{traffic}` | servers at the last look, `active` and `inactive` |
//! | `balancer_sessions` | sessions, or connections, at the last look |
//! | `balancer_sessions_left_out{key}` | values in Redis under `WsSession#` and `SseSession#` that were not sessions at
//! the last look |
//! | `balancer_decisions_total` | decisions with orders |
//! | `balancer_orders_total{order}` | orders carried out: `activate`, `deactivate`, `deletion_cost`, `scale`, `shed` |
//! | `balancer_acts` | 1: this balancer acts; 0: another one does |
//! | `balancer_scale_downs_total{foreseen}` | scale-downs by the autoscaler, by whether they were foreseen: `yes`, `no` |
//! | `balancer_victims_total` | replicas removed by foreseen scale-downs |
//! | `balancer_victim_writes_total` | writes for foreseen scale-downs: traffic and deletion costs, including undone
//! ones |
//! | `balancer_moved_total` | sessions asked to move |
//! | `balancer_failures_total{part}` | failed looks and orders, by `redis` and `platform` |
//! | `balancer_log_lines_total`, `balancer_log_lines_shipped_total`, `balancer_log_lines_dropped_total`, `balancer_log_lines_unwritten_total` | as for every service |

use std::sync::Arc;

use balance::{Fleet, Order, Traffic};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use service::metrics::{by_label, counter};
use service::sessions::listed::Noticed;

use crate::sessions::Kind;

/// See the module.
#[derive(Debug)]
pub(crate) struct Metrics {
    active: Gauge,
    inactive: Gauge,
    sessions: Gauge,
    pub(crate) decisions: Counter,
    orders: [Counter; 5],
    pub(crate) acts: Gauge,
    pub(crate) foreseen: Counter,
    pub(crate) unforeseen: Counter,
    pub(crate) victims: Counter,
    pub(crate) victim_writes: Counter,
    pub(crate) moved: Counter,
    pub(crate) redis_failures: Counter,
    pub(crate) platform_failures: Counter,
}

impl Metrics {
    /// The metrics, and the counters of values that are not sessions.
    pub(crate) fn register(registry: &mut Registry) -> (Arc<Self>, [Noticed; 2]) {
        let registry = registry.sub_registry_with_prefix("balancer");
        service::logs::register(registry);
        let servers: Family<[(&'static str, &'static str); 1], Gauge> = Family::default();
        registry.register("servers", "Servers at the last look", servers.clone());
        let sessions = Gauge::default();
        registry.register("sessions", "Sessions or connections at the last look", sessions.clone());
        let kinds = ["activate", "deactivate", "deletion_cost", "scale", "shed"];
        let parts = ["redis", "platform"];
        let [redis_failures, platform_failures] =
            by_label(registry, "failures", "Failed looks and orders", "part", parts);
        let acts = Gauge::default();
        registry.register("acts", "Whether this balancer acts", acts.clone());
        let [foreseen, unforeseen] = by_label(
            registry,
            "scale_downs",
            "Scale-downs by the autoscaler, by whether they were foreseen",
            "foreseen",
            ["yes", "no"],
        );
        let noticed = Noticed::register(registry, Kind::ALL.map(Kind::prefix));
        let metrics = Arc::new(Self {
            active: servers.get_or_create_owned(&[("traffic", "active")]),
            inactive: servers.get_or_create_owned(&[("traffic", "inactive")]),
            sessions,
            decisions: counter(registry, "decisions", "Decisions with orders"),
            orders: by_label(registry, "orders", "Orders carried out", "order", kinds),
            acts,
            foreseen,
            unforeseen,
            victims: counter(registry, "victims", "Replicas removed by foreseen scale-downs"),
            victim_writes: counter(registry, "victim_writes", "Writes for foreseen scale-downs"),
            moved: counter(registry, "moved", "Sessions asked to move"),
            redis_failures,
            platform_failures,
        });
        (metrics, noticed)
    }

    pub(crate) fn seen(&self, fleet: &Fleet) {
        let active = fleet.servers.iter().filter(|server| server.traffic.is_active()).count();
        self.active.set(active as i64);
        self.inactive.set((fleet.servers.len() - active) as i64);
        self.sessions.set(i64::try_from(fleet.connections()).unwrap_or(i64::MAX));
    }

    pub(crate) fn carried_out(&self, order: &Order) {
        let index = match order {
            Order::SetTraffic { traffic: Traffic::Active, .. } => 0,
            Order::SetTraffic { traffic: Traffic::Inactive, .. } => 1,
            Order::SetDeletionCost { .. } => 2,
            Order::Scale { .. } => 3,
            Order::Shed { .. } => 4,
        };
        self.orders[index].inc();
    }
}
