//! A gateway without a platform around it, so that benchmarks measure exactly what `playctl up` starts.

use std::{
    any::Any,
    collections::BTreeMap,
    ffi::OsString,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
    path::Path,
};

use ::platform::{
    endpoints::{Cluster, Endpoint, Endpoints},
    target::GATEWAY,
    values::{Gateway, Protocol, Values},
};
use controller::GatewayTemplate;
use service::handover;

use super::{
    endpoints::EndpointsFile,
    environment::{self, Site},
    proxy::{self, Proxied, Proxy},
    runs::GATEWAY_READY,
};
use crate::{
    listeners::{self, Hold, Listeners},
    paths::{PlatformPaths, private_directory},
    programs::{Found, Program},
};

/// Everything needed to start one gateway process as a platform does.
#[derive(Debug)]
pub struct LoneGateway {
    /// The address for clients.
    pub address: SocketAddr,
    /// This path at this address answers `GET` with 200 once it serves.
    pub readiness: (SocketAddr, &'static str),
    /// The arguments of `playctl`.
    pub arguments: Vec<OsString>,
    pub environment: BTreeMap<String, String>,
    /// Its standard input, if it is lent listeners.
    pub stdin: Option<OwnedFd>,
    /// Those listeners; keep this as long as the process runs.
    pub lent: Box<dyn Any>,
}

impl LoneGateway {
    /// Writes the files of the gateway that `values` select into `folder`. It serves the first listener of `protocol`, on
    /// `ip`. `executable` is the path of Envoy or HAProxy; our own gateway ignores it.
    ///
    /// # Errors
    /// If the values have no such listener, or a file or the port cannot be used.
    pub fn prepare(
        values: &Values,
        protocol: Protocol,
        executable: &Path,
        ip: IpAddr,
        folder: &Path,
        replicas: Vec<Endpoint>,
    ) -> io::Result<Self> {
        let mut listeners = values.gateway.listeners.iter();
        let listener =
            listeners.find(|listener| listener.protocol == protocol && listener.http.is_none()).ok_or_else(
                || io::Error::new(io::ErrorKind::NotFound, format!("gateway.listeners: none for {protocol}")),
            )?;
        let own = PlatformPaths {
            state: folder.to_owned(),
            socket: folder.join("control.sock"),
            lock: folder.join("lock"),
        };
        private_directory(folder)?;
        private_directory(&own.endpoints_directory())?;
        let cluster = Cluster { name: listener.service.clone(), endpoints: replicas };
        let mut endpoints = EndpointsFile::new(own.endpoints());
        endpoints.write(Endpoints { version: 1, clusters: vec![cluster] })?;

        let template = GatewayTemplate {
            listener: listener.clone(),
            settings: Gateway { listeners: Vec::new(), ..values.gateway.clone() },
            kafka: None,
            program: (protocol == Protocol::Tcp).then(String::new),
        };
        // Only the path is used.
        let found = Found { executable: executable.to_owned(), ..Found::default() };
        let programs = [Program::Envoy, Program::Haproxy].map(|program| (program, found.clone()));
        let address = SocketAddr::new(ip, listener.port);
        let admin = SocketAddr::new(ip, values.gateway.admin_port);
        let name = format!("{GATEWAY}-0");
        let proxy = Proxy::of(&template, &programs.into());
        let lends = proxy.as_ref().is_none_or(Proxy::takes_listeners);
        let (stdin, lent) = if lends { lend(address, protocol)? } else { (None, Box::new(()) as _) };
        let (path, arguments, environment) = if let Some(proxy) = proxy {
            let site = proxy::Site {
                name,
                ip,
                clients: vec![address],
                clusters: vec![listener.service.clone()],
                folder: folder.to_owned(),
                endpoints: own.endpoints(),
            };
            let launch = proxy.prepare(&site, endpoints.current())?;
            let environment = launch.environment.iter().cloned().collect();
            (Proxied { proxy, site }.readiness_path(), launch.wrapped(lends), environment)
        } else {
            let site = Site { name: &name, node: "node-0", clients: address, admin_port: admin.port() };
            let environment = environment::of_gateway(&template, &own, ip, site);
            (GATEWAY_READY, vec!["serve".into(), GATEWAY.into()], environment)
        };
        Ok(Self { address, readiness: (admin, path), arguments, environment, stdin, lent })
    }
}

/// Binds a listener and sends it to the process whose standard input this becomes; keep the rest while that runs.
fn lend(address: SocketAddr, protocol: Protocol) -> io::Result<(Option<OwnedFd>, Box<dyn Any>)> {
    let listeners = Listeners::bind(address, protocol, 1, Hold::Listening).map_err(io::Error::other)?;
    let (ours, theirs) = listeners::line()?;
    handover::send(&ours, protocol, &listeners.of_node(0).into_iter().collect::<Vec<_>>())?;
    Ok((Some(theirs), Box::new((listeners, ours))))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ::platform::values::GatewayKind;

    use super::*;

    fn prepared(kind: GatewayKind, protocol: Protocol, ip: [u8; 4], folder: &Path) -> LoneGateway {
        let mut values = Values::builtin();
        values.gateway.kind = kind;
        let replica = Endpoint {
            name: "tcp-0".to_owned(),
            address: "127.76.8.9:40000".parse().unwrap(),
            health: None,
            draining: false,
        };
        let executable = Path::new("/usr/bin/proxy");
        LoneGateway::prepare(&values, protocol, executable, ip.into(), folder, vec![replica]).unwrap()
    }

    #[test]
    fn our_own_gateway_gets_its_settings_and_a_listener() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("0");
        for (protocol, port) in [(Protocol::Tcp, 10_000), (Protocol::Udp, 10_001)] {
            let gateway = prepared(GatewayKind::Playctl, protocol, [127, 76, 8, 1], &folder);
            assert_eq!(gateway.arguments, ["serve", "gateway"]);
            assert_eq!(gateway.environment["STALL_TIMEOUT"], "30000ms");
            assert_eq!(gateway.environment["PROTOCOL"].to_lowercase(), protocol.name());
            let endpoints = fs::read(&gateway.environment["ENDPOINTS_FILE"]).unwrap();
            assert_eq!(Endpoints::parse(&endpoints).unwrap().clusters[0].endpoints.len(), 1);
            let lent = handover::receive(gateway.stdin.unwrap(), protocol).unwrap();
            assert_eq!((lent.len(), gateway.address.port()), (1, port));
        }
    }

    #[test]
    fn proxies_get_their_files_and_haproxy_a_listener() {
        for (kind, ip, file, lends) in [
            (GatewayKind::Envoy, [127, 76, 8, 2], "envoy.json", false),
            (GatewayKind::Haproxy, [127, 76, 8, 3], "haproxy.cfg", true),
        ] {
            let base = tempfile::tempdir().unwrap();
            let folder = base.path().join("0");
            let gateway = prepared(kind, Protocol::Tcp, ip, &folder);
            assert_eq!(gateway.arguments[0], "run-child");
            assert!(gateway.arguments.iter().any(|word| word == "/usr/bin/proxy"), "{:?}", gateway.arguments);
            let takes = gateway.arguments.iter().any(|word| word == "--listeners");
            assert_eq!((takes, gateway.stdin.is_some()), (lends, lends));
            let text = fs::read_to_string(folder.join(file)).unwrap();
            assert!(text.contains(&gateway.readiness.0.port().to_string()), "{text}");
        }
    }
}
