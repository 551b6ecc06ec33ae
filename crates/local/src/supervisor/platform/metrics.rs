//! The metrics pipeline and the autoscaler's loop, with the cluster's delays.

use std::{collections::BTreeMap, net::SocketAddr, time::Instant};

use ::platform::{EventKind, values::Protocol};

use super::{Platform, prometheus::Answers};
use crate::supervisor::{
    Message,
    autoscaling::{CONNECTIONS, PACKETS, Seen},
    counted,
    sample::{Scrape, Targets},
    service::{Replica, Service},
};

impl Platform {
    /// Looks at all replicas, on a thread beside, since the kernel takes its time to list many connections.
    pub(crate) fn scrape(&mut self) {
        let Some(world) = &mut self.world else { return };
        world.scraping = true;
        world.next_scrape += world.values.metrics.scrape_interval;
        let of = |protocol| {
            world.services.iter().filter(move |service: &&Service| service.template.protocol == protocol)
        };
        let pid = |replica: &Replica| Some(replica.running.as_ref()?.process.pid());
        let targets = Targets {
            ports: of(Protocol::Tcp).map(|service| service.template.port).collect(),
            pids: world.services.iter().flat_map(|service| &service.replicas).filter_map(pid).collect(),
        };
        let counting: Vec<(u32, SocketAddr)> = of(Protocol::Udp)
            .flat_map(|service| {
                let ask = |replica| Some((pid(replica)?, replica.admin_address(&service.template)));
                service.replicas.iter().filter_map(ask)
            })
            .collect();
        let messages = self.starter.messages();
        tokio::task::spawn_local(async move {
            let packets = counted::packets(counting).await;
            if let Ok(scrape) = tokio::task::spawn_blocking(move || Scrape::take(&targets)).await {
                // The actor has ended: nobody scrapes any more.
                let _ = messages.send(Message::Scraped(scrape.with_packets(packets))).await;
            }
        });
    }

    pub(super) fn scraped(&mut self, scrape: &Scrape) {
        let now = Instant::now();
        let Some(world) = &mut self.world else { return };
        world.scraping = false;
        world.counts.scrapes += 1;
        // After a pause of the whole machine scrapes are not made up for.
        world.next_scrape = world.next_scrape.max(now);
        let next_sync_ms = self.recorder.run_ms(world.next_sync);
        for service in &mut world.services {
            let (mut connections, mut packets) = (BTreeMap::new(), BTreeMap::new());
            let (mut cpu, mut memory) = (BTreeMap::new(), BTreeMap::new());
            for replica in &mut service.replicas {
                let address = replica.client_address(&service.template);
                let pid = replica.running.as_ref().map(|running| running.process.pid());
                replica.series.take(scrape, address, pid);
                let keep = |all: &mut BTreeMap<String, i64>, milli: Option<i64>| {
                    all.extend(milli.map(|milli| (replica.name.clone(), milli)));
                };
                let thousand = |value: u64| i64::try_from(value).unwrap_or(i64::MAX).saturating_mul(1000);
                keep(&mut connections, replica.series.connections().map(thousand));
                let per_second = replica.series.packets_per_second();
                keep(&mut packets, per_second.map(|packets| (packets * 1000.0).round() as i64));
                keep(&mut cpu, replica.series.cpu_milli.map(|cpu| cpu.milli));
                keep(&mut memory, replica.series.memory_bytes.map(thousand));
            }
            for (metric, values_milli) in
                [(CONNECTIONS, connections), (PACKETS, packets), ("cpu", cpu), ("memory", memory)]
            {
                if !values_milli.is_empty() {
                    let (service, metric) = (service.name.clone(), metric.to_owned());
                    self.recorder.emit(EventKind::MetricScraped { service, metric, values_milli });
                }
            }
            if let Some(hpa) = &mut service.hpa {
                for event in hpa.crossings(&service.name, &mut service.replicas, now, next_sync_ms) {
                    self.recorder.emit(event);
                }
            }
        }
    }

    /// Lets every autoscaler look once. `answers`: Prometheus', if custom metrics come from there.
    pub(super) fn sync_with(&mut self, answers: Option<&Answers>) {
        let now = Instant::now();
        let Some(world) = &mut self.world else { return };
        world.counts.syncs += 1;
        for service in &mut world.services {
            let Some(hpa) = &mut service.hpa else { continue };
            let seen = Seen {
                replicas: &mut service.replicas,
                desired: service.desired,
                resources: &service.template.resources,
                answers,
            };
            let (events, desired) = hpa.sync(&service.name, seen, &self.recorder, now);
            world.counts.metric_failures += hpa.failures();
            for event in events {
                self.recorder.emit(event);
            }
            if let Some(desired) = desired {
                service.desired = desired;
            }
        }
        self.settle();
    }
}
