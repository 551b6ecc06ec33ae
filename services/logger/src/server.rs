//! Starts and runs a logger.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use service::admin::{Admin, Pages};
use service::kafka::{Producer, Watch};
use service::{Phase, Readiness, Shutdown, listen, logs};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::dead_letters::DeadLetters;
use crate::deliver::{self, Delivery};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::pump::Pump;
use crate::settings::Settings;
use crate::sink::{self, Sink};
use crate::source::Source;
use crate::stuck::Stuck;

/// Time limit for committing and leaving the group, and for shipping the last log lines.
const FAREWELL: Duration = Duration::from_secs(5);
const LAST_LINES: Duration = Duration::from_secs(1);

/// A bound logger, ready for [`Server::run`].
pub struct Server {
    admin: Admin,
    readiness: Readiness,
    runtime: Runtime,
    settings: Settings,
    pump: Pump,
    own_lines: Producer,
    shutdown: Shutdown,
}

impl Server {
    /// Binds the admin port and creates the clients. Neither Kafka nor Elasticsearch needs to be reachable.
    ///
    /// # Errors
    /// What is unavailable: see [`Error`].
    pub fn bind(settings: Settings, shutdown: Shutdown) -> Result<Self, Error> {
        let listener = listen::admin(settings.host, settings.admin_port).map_err(Error::Listen)?;
        let readiness = Readiness::new();
        let mut registry = Registry::default();
        let metrics = Arc::new(Metrics::register(&mut registry));
        let pod = logs::pod_name(settings.pod_name.as_deref());
        let info = serde_json::json!({
            "service": "logger", "pod": pod, "version": env!("CARGO_PKG_VERSION"),
        })
        .to_string();
        let pages = Pages::new(readiness.clone(), registry).with_json("/info", move || info.clone());
        let admin = Admin::start(listener, pages).map_err(Error::Admin)?;

        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Start)?;
        // Clients start their own tasks.
        let inside = runtime.enter();
        let watch = Watch::default();
        let dead_letters = DeadLetters::new(
            &settings.kafka,
            settings.dead_letter_topic.clone(),
            watch.clone(),
            readiness.clone(),
        )?;
        let own_lines = Producer::new(&settings.kafka, watch.clone())?;
        let client = sink::client(&settings.elasticsearch).map_err(Error::Elasticsearch)?;
        let delivery = Arc::new(Delivery {
            sink: Sink::new(client, settings.elasticsearch.index_prefix.clone()),
            dead_letters,
            metrics: Arc::clone(&metrics),
            stuck: Stuck::new(deliver::PART, readiness.clone()),
        });
        let source = Source::new(&settings, Arc::clone(&metrics), readiness.clone(), watch)?;
        let pump = Pump::new(&settings, source, delivery, metrics);
        info!(%pod, admin = %admin.address(), topic = settings.kafka.logging_topic, group = settings.group, "started");
        drop(inside);
        Ok(Self { admin, readiness, runtime, settings, pump, own_lines, shutdown })
    }

    /// The address of the admin port, with the real port.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// The state that `/readyz` reports.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Consumes and delivers until the shutdown is complete.
    ///
    /// # Errors
    /// None so far: failures at run time are retried.
    pub fn run(self) -> Result<(), Error> {
        let Self { admin, readiness, runtime, settings, pump, own_lines, shutdown } = self;
        runtime.block_on(async {
            let pod = logs::pod_name(settings.pod_name.as_deref());
            let stop = {
                let shutdown = shutdown.clone();
                async move { shutdown.reached(Phase::Draining).await }
            };
            let lines = tokio::spawn(logs::ship(own_lines, settings.kafka.logging_topic.clone(), pod, stop));
            // It has no clients: it is ready while it works, even if it has to wait.
            readiness.ready();
            info!("ready");
            let source = pump.run(&shutdown).await;
            readiness.draining();
            let left = tokio::task::spawn_blocking(move || source.leave());
            if timeout(FAREWELL, left).await.is_ok() {
                info!("ended");
            } else {
                warn!("ended without having left the group: no broker answers");
            }
            // Late lines are lost: shutdown does not wait for a broker.
            let _ = timeout(LAST_LINES, lines).await;
        });
        // Do not wait for a group that cannot be left.
        runtime.shutdown_background();
        drop(admin);
        Ok(())
    }
}
