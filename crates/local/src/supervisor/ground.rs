//! The prerequisites of a platform, before anything is started: its slot, the ports for clients, its own metrics, and
//! Prometheus' configuration.

use std::{net::SocketAddr, path::PathBuf};

use ::platform::{
    ServiceKind,
    values::{self, Protocol, Values},
};

use super::{
    entrance::Entrance,
    obstacle::Obstacle,
    page::{self, Page},
    telemetry::{self, Telemetry},
};
use crate::{
    kernel::port::Unusable,
    paths::{Paths, PlatformPaths},
    prometheus::{config, targets::TargetFiles},
    slot::{Addresses, Slot},
};

#[derive(Debug)]
pub(crate) struct Ground {
    platform: String,
    slot: Slot,
    entrances: Vec<Entrance>,
    telemetry: Telemetry,
    pub(crate) page: Page,
    prometheus: PathBuf,
    /// The scrape targets of Prometheus.
    pub(crate) targets: TargetFiles,
}

impl Ground {
    pub(crate) fn take(
        platform: &str,
        paths: &Paths,
        own: &PlatformPaths,
        values: &Values,
        nodes: u32,
    ) -> Result<Self, Obstacle> {
        let slot = Slot::take(&paths.slots(), platform)?;
        let addresses = slot.addresses();
        let open = |listener| Entrance::open(platform, addresses, listener, nodes, values.gateway.kind);
        let entrances = values.listeners().map(open).collect::<Result<_, _>>()?;
        let address = SocketAddr::new(addresses.supervisor(), telemetry::PORT);
        let telemetry = Telemetry::start(address)
            .map_err(|source| Obstacle::Telemetry(Unusable::new(Protocol::Tcp, address, source)))?;
        let page = Page::open(SocketAddr::new(addresses.supervisor(), page::PORT), &own.page())?;
        let prometheus = own.prometheus_directory();
        config::write(&prometheus, values.metrics.scrape_interval).map_err(Obstacle::Prometheus)?;
        let targets = TargetFiles::new(&prometheus);
        Ok(Self { platform: platform.to_owned(), slot, entrances, telemetry, page, prometheus, targets })
    }

    /// Adapts to other values. Returns whether Prometheus' configuration has changed.
    pub(crate) fn change(&mut self, values: &Values, nodes: u32) -> Result<bool, Obstacle> {
        let kind = values.gateway.kind;
        for entrance in &mut self.entrances {
            entrance.resize(nodes)?;
            entrance.serve_by(kind)?;
        }
        // New ones first: if one cannot be opened, all old ones still exist.
        let mut opened = Vec::new();
        for listener in values.listeners() {
            if !self.entrances.iter().any(|entrance| is_same_port(&entrance.listener, listener)) {
                let addresses = self.addresses();
                opened.push(Entrance::open(&self.platform, addresses, listener, nodes, kind)?);
            }
        }
        self.entrances.extend(opened);
        self.entrances.retain_mut(|entrance| {
            let wanted = values.listeners().find(|listener| is_same_port(&entrance.listener, listener));
            if let Some(wanted) = wanted {
                entrance.listener = wanted.clone();
            }
            wanted.is_some()
        });
        config::write(&self.prometheus, values.metrics.scrape_interval).map_err(Obstacle::Prometheus)
    }

    pub(crate) fn addresses(&self) -> Addresses {
        self.slot.addresses()
    }

    pub(crate) fn slot(&self) -> u8 {
        self.slot.number()
    }

    pub(crate) fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// The entrance for clients of a listener.
    pub(crate) fn entrance(&self, listener: &values::Listener) -> Option<&Entrance> {
        self.entrances.iter().find(|entrance| is_same_port(&entrance.listener, listener))
    }

    /// The address for clients of a service.
    pub(crate) fn endpoint(&self, service: ServiceKind) -> Option<SocketAddr> {
        self.entrances.iter().find(|entrance| entrance.listener.service == service.name())?.address()
    }

    /// The port of another service through which clients reach this one, and the path.
    pub(crate) fn route(&self, service: ServiceKind) -> Option<(SocketAddr, &str)> {
        self.entrances.iter().find_map(|entrance| {
            let listener = &entrance.listener;
            let mut routes = listener.http.iter().flat_map(|http| &http.routes);
            let route =
                routes.find(|route| route.service == service.name() && route.service != listener.service)?;
            Some((entrance.address()?, route.path.as_str()))
        })
    }
}

fn is_same_port(a: &values::Listener, b: &values::Listener) -> bool {
    (a.port, a.protocol) == (b.port, b.protocol)
}
