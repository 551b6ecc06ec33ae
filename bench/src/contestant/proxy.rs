//! A proxy between the load and two minimal servers.
//!
//! Ours, HAProxy and Envoy start as `playctl up` starts them with its default values ([`LoneGateway`]). [`Deployed`]
//! changes only what a row requires and no platform deploys.

use std::{
    fs,
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use local::supervisor::LoneGateway;
use platform::{
    endpoints::Endpoint,
    values::{GatewayKind, Protocol, Values},
};
use serde_json::{Value, json};

use super::{Contestant, Programs};
use crate::{
    loopback,
    process::{Process, Start, scratch},
};

/// The minimal proxy's addresses: for the load, and for its readiness.
const FRONT: SocketAddr = loopback::address(0, 1, 10_000);
const FRONT_HEALTH: SocketAddr = loopback::address(0, 1, 9100);

const REPLICAS: [SocketAddr; 2] = [loopback::address(1, 1, 40_000), loopback::address(1, 2, 40_000)];
/// The port of health checks on every replica.
const HEALTH_PORT: u16 = 9100;

/// With splicing, HAProxy also needs two descriptors for each pipe, and a quarter as many pipes as connections; above the
/// limit, usually 20,000, it does not start.
const SPLICED_CONNECTIONS_MAX: u32 = 4_000;

/// What the replicas do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Echo,
    Sink,
    /// Echoes datagrams.
    Datagrams,
}

/// A row's requirements on a proxy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    /// I/O threads of the proxy, and of the replicas.
    pub(crate) threads: usize,
    pub(crate) backend: Backend,
    /// The connections carry bulk data: HAProxy may splice (`splice-auto`).
    pub(crate) bulk: bool,
}

pub(crate) struct Proxy {
    process: Process,
    address: SocketAddr,
    /// One process with the addresses of all replicas. Ends after the proxy.
    _replicas: Process,
}

impl Proxy {
    pub(crate) fn start(contestant: Contestant, programs: &Programs, setup: Setup) -> Result<Self> {
        let replicas = start_replicas(setup)?;
        let (process, address) = match contestant {
            Contestant::Reference => (relay(setup)?, FRONT),
            _ => deploy(contestant, programs, setup, 1, &REPLICAS)?,
        };
        Ok(Self { process, address, _replicas: replicas })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

/// Several of our gateways, each at its own address, with the same replicas behind them.
pub(crate) fn gateways(
    programs: &Programs,
    count: u8,
    replicas: &[SocketAddr],
) -> Result<Vec<(Process, SocketAddr)>> {
    let setup = Setup { threads: 1, backend: Backend::Echo, bulk: false };
    let start = |number| deploy(Contestant::Playctl, programs, setup, number, replicas);
    (1..=count).map(start).collect()
}

fn start_replicas(setup: Setup) -> Result<Process> {
    let [first, last] = REPLICAS.map(|address| address.to_string());
    let arguments = ["--listen", &first, "--listen", &last, "--health", &HEALTH_PORT.to_string()];
    let start = |program| Ok::<_, anyhow::Error>(Start::reference("replicas", program)?.args(arguments));
    let threads = ["--threads", &setup.threads.to_string()];
    match setup.backend {
        Backend::Echo => start("echo")?.args(threads).serving(REPLICAS[1]),
        Backend::Sink => start("sink")?.args(threads).serving(REPLICAS[1]),
        Backend::Datagrams => start("datagrams")?.answering(health(REPLICAS[1]), "/readyz"),
    }
}

fn health(replica: SocketAddr) -> SocketAddr {
    SocketAddr::new(replica.ip(), HEALTH_PORT)
}

/// The minimal proxy, which does not check the replicas' health.
fn relay(setup: Setup) -> Result<Process> {
    let [first, last] = REPLICAS.map(|address| address.to_string());
    let arguments = ["--listen", &FRONT.to_string(), "--replica", &first, "--replica", &last];
    if setup.backend == Backend::Datagrams {
        let start = Start::reference("relay", "datagram-relay")?.args(arguments);
        return start.args(["--health", &FRONT_HEALTH.to_string()]).answering(FRONT_HEALTH, "/");
    }
    let threads = ["--threads", &setup.threads.to_string()];
    Start::reference("relay", "relay")?.args(arguments).args(threads).serving(FRONT)
}

/// Starts gateway `number`, counted from 1.
fn deploy(
    contestant: Contestant,
    programs: &Programs,
    setup: Setup,
    number: u8,
    replicas: &[SocketAddr],
) -> Result<(Process, SocketAddr)> {
    let executable = match contestant {
        Contestant::HaProxy => programs.haproxy()?,
        Contestant::Envoy => programs.envoy()?,
        _ => programs.playctl()?,
    };
    let ip = loopback::address(0, number, 0).ip();
    let folder = empty_folder(&format!("gateway-{number}"))?;
    Deployed::prepare(contestant, executable, setup, ip, &folder, replicas)?.start(programs)
}

/// A gateway as `playctl up` starts it, except for the row's requirements.
struct Deployed {
    name: &'static str,
    gateway: LoneGateway,
}

impl Deployed {
    fn prepare(
        contestant: Contestant,
        executable: &Path,
        setup: Setup,
        ip: IpAddr,
        folder: &Path,
        replicas: &[SocketAddr],
    ) -> Result<Self> {
        let kind = match contestant {
            Contestant::Playctl => GatewayKind::Playctl,
            Contestant::HaProxy => GatewayKind::Haproxy,
            Contestant::Envoy => GatewayKind::Envoy,
            Contestant::Reference => bail!("the minimal proxy is never deployed"),
        };
        let protocol = match (setup.backend, contestant) {
            (Backend::Datagrams, Contestant::HaProxy) => bail!("HAProxy is not a proxy for datagrams"),
            (Backend::Datagrams, Contestant::Playctl) => Protocol::Udp,
            _ => Protocol::Tcp,
        };
        let mut values = Values::builtin();
        values.gateway.kind = kind;
        if contestant == Contestant::HaProxy && setup.bulk {
            values.gateway.max_connections = SPLICED_CONNECTIONS_MAX;
        }
        let gateway = LoneGateway::prepare(&values, protocol, executable, ip, folder, endpoints(replicas))?;
        let mut deployed = Self { name: kind.as_str(), gateway };
        deployed.adapt(contestant, setup, folder)?;
        Ok(deployed)
    }

    fn adapt(&mut self, contestant: Contestant, setup: Setup, folder: &Path) -> Result<()> {
        let threads = setup.threads.to_string();
        match contestant {
            Contestant::HaProxy => rewrite(&folder.join("haproxy.cfg"), |text| {
                let text = replaced(text, "nbthread 1\n", &format!("nbthread {threads}\n"))?;
                let splicing = "mode tcp\n    option splice-auto\n";
                if setup.bulk { replaced(&text, "mode tcp\n", splicing) } else { Ok(text) }
            }),
            Contestant::Envoy => {
                let mut words = self.gateway.arguments.iter_mut();
                words.find(|word| *word == "--concurrency").context("Envoy: no --concurrency")?;
                *words.next().context("Envoy: no number of threads")? = threads.into();
                if setup.backend == Backend::Datagrams {
                    rewrite(&folder.join("envoy.json"), for_datagrams)?;
                }
                Ok(())
            }
            _ => {
                self.gateway.environment.insert("WORKERS".to_owned(), threads);
                Ok(())
            }
        }
    }

    fn start(self, programs: &Programs) -> Result<(Process, SocketAddr)> {
        let LoneGateway { address, readiness, arguments, environment, stdin, lent } = self.gateway;
        let mut start = Start::program(self.name, programs.playctl()?).args(arguments);
        for (name, value) in environment {
            start = start.env(&name, value);
        }
        if let Some(stdin) = stdin {
            start = start.lent(stdin, lent);
        }
        Ok((start.answering(readiness.0, readiness.1)?, address))
    }
}

fn endpoints(replicas: &[SocketAddr]) -> Vec<Endpoint> {
    let described = |(ordinal, &address)| Endpoint {
        name: format!("replica-{ordinal}"),
        address,
        health: Some(health(address)),
        draining: false,
    };
    replicas.iter().enumerate().map(described).collect()
}

/// A folder without the files of an earlier turn; it does not exist yet.
fn empty_folder(name: &str) -> Result<PathBuf> {
    let folder = scratch()?.join(name);
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context(folder.display().to_string()),
        _ => Ok(folder),
    }
}

fn rewrite(path: &Path, change: impl FnOnce(&str) -> Result<String>) -> Result<()> {
    let changed = fs::read_to_string(path).map_err(anyhow::Error::from).and_then(|text| change(&text));
    changed.and_then(|text| Ok(fs::write(path, text)?)).with_context(|| path.display().to_string())
}

/// `text` with the first `old` replaced. Without one, the row would not measure what it says.
fn replaced(text: &str, old: &str, new: &str) -> Result<String> {
    ensure!(text.contains(old), "there is no {old:?} in it");
    Ok(text.replacen(old, new, 1))
}

/// A platform's Envoy has no listener for datagrams, because our own gateway handles them there. This replaces its
/// listener for connections and keeps everything behind it.
fn for_datagrams(bootstrap: &str) -> Result<String> {
    let mut bootstrap: Value = serde_json::from_str(bootstrap)?;
    let types = "type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3";
    let resources = &mut bootstrap["static_resources"];
    let route = json!({ "@type": format!("{types}.Route"), "cluster": resources["clusters"][0]["name"] });
    let listener = resources["listeners"][0].as_object_mut().context("it has no listener")?;
    listener.retain(|key, _| ["name", "address", "enable_reuse_port"].contains(&key.as_str()));
    listener["address"]["socket_address"]["protocol"] = "UDP".into();
    let filter = json!({
        "name": "envoy.filters.udp_listener.udp_proxy",
        "typed_config": {
            "@type": format!("{types}.UdpProxyConfig"),
            "stat_prefix": "udp",
            "idle_timeout": "60s",
            "matcher": { "on_no_match": { "action": { "name": "route", "typed_config": route } } },
        },
    });
    listener.insert("listener_filters".to_owned(), json!([filter]));
    Ok(bootstrap.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gateway prepared for this address, and one of its files.
    fn prepared(contestant: Contestant, setup: Setup, ip: IpAddr, file: &str) -> (LoneGateway, String) {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("0");
        let executable = Path::new("/usr/bin/proxy");
        let deployed = Deployed::prepare(contestant, executable, setup, ip, &folder, &REPLICAS).unwrap();
        (deployed.gateway, fs::read_to_string(folder.join(file)).unwrap())
    }

    const TWO_IN_BULK: Setup = Setup { threads: 2, backend: Backend::Echo, bulk: true };

    #[test]
    fn haproxy_splices_in_bulk_with_as_many_threads_as_the_row_says() {
        let (_, text) =
            prepared(Contestant::HaProxy, TWO_IN_BULK, loopback::address(2, 1, 0).ip(), "haproxy.cfg");
        for line in ["nbthread 2", "option splice-auto", "maxconn 4000"] {
            assert!(text.contains(&format!("    {line}\n")), "no {line:?} in {text}");
        }
        let setup = Setup { threads: 1, bulk: false, ..TWO_IN_BULK };
        let (_, text) = prepared(Contestant::HaProxy, setup, loopback::address(2, 2, 0).ip(), "haproxy.cfg");
        assert!(text.contains("nbthread 1\n") && !text.contains("splice"), "{text}");
    }

    #[test]
    fn envoy_and_ours_have_as_many_threads_as_the_row_says() {
        let (envoy, _) =
            prepared(Contestant::Envoy, TWO_IN_BULK, loopback::address(2, 3, 0).ip(), "envoy.json");
        let pairs: Vec<_> = envoy.arguments.windows(2).collect();
        assert!(pairs.iter().any(|pair| pair[0] == "--concurrency" && pair[1] == "2"), "{pairs:?}");
        let ip = loopback::address(2, 4, 0).ip();
        let (ours, _) = prepared(Contestant::Playctl, TWO_IN_BULK, ip, "endpoints/endpoints.json");
        assert_eq!(ours.environment["WORKERS"], "2");
    }

    #[test]
    fn envoy_for_datagrams_keeps_its_cluster_and_has_another_listener() {
        let setup = Setup { threads: 1, backend: Backend::Datagrams, bulk: false };
        let file = |setup| {
            let (_, text) = prepared(Contestant::Envoy, setup, loopback::address(2, 5, 0).ip(), "envoy.json");
            let mut resources = serde_json::from_str::<Value>(&text).unwrap()["static_resources"].take();
            // The path of its endpoints differs between calls.
            resources["clusters"][0]["eds_cluster_config"].take();
            resources
        };
        let (deployed, changed) = (file(Setup { backend: Backend::Echo, ..setup }), file(setup));
        assert_eq!(changed["clusters"], deployed["clusters"]);
        let listener = &changed["listeners"][0];
        assert_eq!(listener["address"]["socket_address"]["protocol"], "UDP");
        assert!(listener["filter_chains"].is_null(), "{listener}");
        let matcher = &listener["listener_filters"][0]["typed_config"]["matcher"];
        assert_eq!(
            matcher["on_no_match"]["action"]["typed_config"]["cluster"],
            deployed["clusters"][0]["name"]
        );
    }

    #[test]
    fn a_file_without_the_text_to_replace_is_refused() {
        let error = replaced("global\n", "nbthread 1\n", "nbthread 2\n").unwrap_err().to_string();
        assert!(error.contains("nbthread 1"), "{error}");
    }
}
