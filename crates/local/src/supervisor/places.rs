//! Addresses and problems of the controller's instances, for snapshots.

use std::net::SocketAddr;

use ::platform::{
    HostPort, PartKind, ServiceKind,
    target::{PartOrigin, PartSnapshot},
    values::Protocol,
};
use controller::{
    GatewayTemplate, PartPlace, PartTemplate, Places, ReplicaPlace, RunId, ServiceTemplate, Source,
};

use super::{
    embedded::{self, OWN_VERSION},
    ground::Ground,
    host::Host,
    runs::{Run, What},
    servers,
};
use crate::{
    programs::Programs,
    prometheus::targets::{Target, Targets},
};

impl Places for Host {
    fn target(&self) -> &'static str {
        "local"
    }

    fn endpoint(&self, service: ServiceKind) -> Option<HostPort> {
        self.ground.as_ref()?.endpoint(service).map(HostPort::from)
    }

    fn route(&self, service: ServiceKind) -> Option<(HostPort, String)> {
        let (at, path) = self.ground.as_ref()?.route(service)?;
        Some((at.into(), path.to_owned()))
    }

    fn replica(&self, template: &ServiceTemplate, ordinal: u16, run: Option<RunId>) -> ReplicaPlace {
        let ip = self.ground.as_ref().map(|ground| ground.addresses().replica(template.kind, ordinal));
        let address = ip.map(|ip| SocketAddr::new(ip, template.port).into());
        ReplicaPlace { address, pid: self.pid(run) }
    }

    fn gateway(&self, template: &GatewayTemplate, ordinal: u16, run: Option<RunId>) -> PartPlace {
        let entrance = self.ground.as_ref().and_then(|ground| ground.entrance(&template.listener));
        let version = match run.and_then(|run| self.runs.get(&run)).map(|run| &run.what) {
            Some(What::Gateway { proxied: Some(proxied), .. }) => proxied.version().to_owned(),
            _ => OWN_VERSION.to_owned(),
        };
        PartPlace {
            version: Some(version),
            address: entrance.and_then(|entrance| Some(entrance.address()?.to_string())),
            pid: self.pid(run),
            connects_from: (self.ground.as_ref())
                .filter(|_| template.listener.protocol == Protocol::Tcp)
                .map(|ground| ground.addresses().gateway(ordinal.into())),
        }
    }

    fn part(&self, template: &PartTemplate, run: Option<RunId>) -> PartPlace {
        let version = match template.source {
            Source::Embedded => Some(embedded::version(template.kind)),
            Source::Server { .. } => version(template.kind, &self.programs),
        };
        PartPlace { version, address: None, pid: self.pid(run), connects_from: None }
    }

    fn others(&self) -> Vec<PartSnapshot> {
        let telemetry = self.ground.as_ref().map(Ground::telemetry);
        vec![PartSnapshot {
            name: "supervisor".to_owned(),
            origin: PartOrigin::Embedded,
            version: Some(OWN_VERSION.to_owned()),
            address: telemetry.map(|telemetry| telemetry.address().to_string()),
            detail: "/metrics of the platform itself".to_owned(),
            healthy: true,
            restarts: 0,
            pid: Some(std::process::id()),
            connects_from: None,
            connections: None,
        }]
    }

    fn problems(&self) -> Vec<String> {
        let unwritten = self.unwritten_targets.as_ref();
        let unwritten = unwritten.map(|why| format!("Prometheus does not know what to scrape: {why}"));
        self.losses().into_iter().chain(unwritten).collect()
    }
}

/// The version of a real part.
fn version(kind: PartKind, programs: &Programs) -> Option<String> {
    programs.get(&servers::program(kind)).map(|found| found.version.clone())
}

impl Host {
    /// What could not be recorded.
    fn losses(&self) -> Vec<String> {
        let (events, no_events) = self.recorder.lost();
        let (lines, no_lines) = self.output.lost();
        let losing =
            |what, count, why: Option<&str>| why.map(|why| format!("{count} {what} lost so far: {why}"));
        let losses =
            [losing("events", events, no_events), losing("lines of output", lines, no_lines.as_deref())];
        losses.into_iter().flatten().collect()
    }

    fn pid(&self, run: Option<RunId>) -> Option<u32> {
        run.and_then(|run| self.runs.get(&run)).and_then(Run::pid)
    }

    /// The scrape targets of Prometheus: everything of ours that runs.
    pub(super) fn scrape_targets(&self) -> Targets {
        let mut targets = Targets::default();
        let namespace = self.name();
        for run in self.runs.values() {
            match &run.what {
                What::Replica { service, admin, .. } => targets.services.push(Target::new(
                    *admin,
                    [
                        ("namespace", namespace),
                        ("service", service.name()),
                        ("pod", &run.name),
                        ("node", &run.node),
                    ],
                )),
                What::Gateway { admin, proxied } => {
                    let labels = [("namespace", namespace), ("pod", run.name.as_str()), ("node", &run.node)];
                    let target = Target::new(*admin, labels);
                    let path = proxied.as_ref().and_then(|proxied| proxied.metrics_path());
                    targets.gateways.push(match path {
                        Some(path) => target.at_path(path),
                        None => target,
                    });
                }
                What::Server(_) | What::Embedded => {}
            }
        }
        if let Some(ground) = &self.ground {
            let address = ground.telemetry().address();
            targets.supervisor.push(Target::new(address, [("namespace", namespace)]));
        }
        targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::{Found, Program};

    #[test]
    fn every_real_part_has_the_version_of_its_program() {
        let found = |program: Program| {
            (program, Found { version: format!("{} 1.2", program.name()), ..Found::default() })
        };
        let programs = Program::ALL.map(found).into();
        for kind in PartKind::ALL {
            assert_eq!(version(kind, &programs), Some(format!("{} 1.2", kind.program())), "{}", kind.name());
        }
        assert_eq!(version(PartKind::Etcd01, &Programs::new()), None);
    }
}
