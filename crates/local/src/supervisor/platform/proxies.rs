//! Gateways that are not ours, in the places where ours would be.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
};

use ::platform::values::Protocol;
use service::handover;

use super::{GATEWAY, Platform, World};
use crate::{
    listeners,
    supervisor::{
        gateway::Gateway,
        proxy::{Proxied, Site},
        service::Running,
    },
};

impl World {
    /// What a gateway is started from if it is not ours. Packets are always taken by ours.
    pub(super) fn proxied(&self, gateway: &Gateway, folders: &std::path::Path) -> Option<Proxied> {
        let entrance = self.entrances.get(gateway.entrance)?;
        let proxy = self.proxy.as_ref().filter(|_| entrance.listener.protocol == Protocol::Tcp)?;
        let site = Site {
            name: gateway.name.clone(),
            ip: gateway.ip,
            clients: entrance.addresses().collect(),
            cluster: entrance.listener.service.clone(),
            folder: folders.join(gateway.ordinal.to_string()),
            endpoints: self.endpoints.path().to_owned(),
        };
        let mut proxy = proxy.clone();
        proxy.settings.rules = entrance.listener.rules.clone();
        Some(Proxied { proxy, site })
    }

    /// Our end of a gateway's standard input, and its end, on which its listeners are waiting.
    pub(super) fn lend_listeners(&self, gateway: &Gateway) -> io::Result<(UnixStream, OwnedFd)> {
        let entrance = &self.entrances[gateway.entrance];
        let (ours, theirs) = listeners::line()?;
        handover::send(&ours, entrance.listener.protocol, &entrance.of_node(gateway.node))?;
        Ok((ours, theirs))
    }
}

impl Platform {
    pub(super) fn start_proxied(
        &mut self,
        ordinal: u16,
        proxied: &Proxied,
    ) -> io::Result<(Option<UnixStream>, Running)> {
        let gone = || io::Error::other("the gateway is gone");
        let world = self.world.as_ref().ok_or_else(gone)?;
        let launch = proxied.proxy.prepare(&proxied.site, world.endpoints.current())?;
        let (line, stdin) = if proxied.proxy.takes_listeners() {
            let gateway = world.gateways.all.iter().find(|gateway| gateway.ordinal == ordinal);
            let (ours, theirs) = world.lend_listeners(gateway.ok_or_else(gone)?)?;
            (Some(ours), Some(theirs))
        } else {
            (None, None)
        };
        let (messages, versions) = (self.starter.messages(), world.endpoints_version.subscribe());
        let watch = |key| proxied.clone().follow(key, messages, versions);
        let running = self.starter.wrapped(GATEWAY, &proxied.site.name, launch, stdin, watch)?;
        Ok((line, running))
    }
}
