//! Whether the chart's gateways lead to the replicas that are ready.
//!
//! A gateway finds replicas by DNS, and the cluster's DNS may answer from its cache for half a minute that there is none.
//! Meanwhile all pods are ready, but the gateway closes each client's connection.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use http::{Request, StatusCode};
use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Service};
use kube::{Api, api::ListParams};
use platform::TargetError;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    connect::Cluster,
    facts::{Facts as _, Object, Selector},
    pod_http,
};

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Gateways that are asked at the same time.
const AT_ONCE: usize = 8;
/// After this many that could not be asked, the others are not tried: each may cost seconds, and the reason is mostly the
/// same for all.
const SILENT_MAX: usize = 3;
/// How long a gateway may know only some of a service's replicas: kubeadm's `CoreDNS` caches for 30 s.
const SOME: Duration = Duration::from_secs(35);
/// The labels of the chart's gateways.
const GATEWAYS: &str = "app.kubernetes.io/part-of=playground,app.kubernetes.io/name=gateway";
/// The key of Envoy's bootstrap in its `ConfigMap`.
const BOOTSTRAP: &str = "envoy.yaml";
const UNKNOWN: &str = "whether the gateways know the replicas is not known, so connections may be closed in the first half \
                       minute, until the cluster's DNS has told them";
/// The end of a Service's name in DNS, as the chart writes it.
const SVC: &str = ".svc";

/// A program in a gateway's pod that chooses replicas.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Program {
    pod: String,
    kind: Kind,
    admin_port: u16,
    /// The names in DNS whose addresses it uses, such as `tcp.playground.svc`.
    names: BTreeSet<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Envoy,
    Playctl,
}

/// Ready pods by the name in DNS: each pod's name and addresses.
type Ready = BTreeMap<String, Vec<(String, Vec<IpAddr>)>>;

/// What a gateway does not know of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lack {
    gateway: String,
    name: String,
    known: usize,
    ready: usize,
}

/// Waits until each gateway knows the ready replicas of all its services. Returns a note if that could not be asked, which is
/// no reason to fail. `kubectl`: how the user calls it for this namespace.
///
/// # Errors
/// A gateway knows no replica of a service at the end of `limit`, although some are ready.
pub(crate) async fn wait(
    cluster: &Cluster,
    kubectl: &str,
    limit: Duration,
    on_wait: &mut dyn FnMut(String),
) -> Result<Option<String>, TargetError> {
    let began = clock::now();
    let mut look = Look::default();
    loop {
        let lacks = match look.again(cluster).await {
            Ok(lacks) => lacks,
            Err(error) => return Ok(Some(format!("{UNKNOWN}: {error}"))),
        };
        let waited = began.elapsed();
        let knows_none = lacks.iter().find(|lack| lack.known == 0);
        let Some(lack) = knows_none.or(lacks.first()) else { break };
        if knows_none.is_some() && waited >= limit {
            return Err(too_late(lack, kubectl, waited));
        }
        if knows_none.is_none() && waited >= SOME.min(limit) {
            break;
        }
        on_wait(format!(
            "waiting for gateway {} to find {} in DNS: it knows {} of {} ready replicas; at most {} s",
            lack.gateway,
            lack.name,
            lack.known,
            lack.ready,
            limit.saturating_sub(waited).as_secs()
        ));
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(look.note())
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Look {
    /// Those that knew all replicas.
    done: BTreeSet<Program>,
    /// Why gateways could not be asked, by pod.
    silent: BTreeMap<String, String>,
}

impl Look {
    /// Asks those that did not know all replicas yet.
    async fn again(&mut self, cluster: &Cluster) -> Result<Vec<Lack>, TargetError> {
        if self.silent.len() >= SILENT_MAX {
            return Ok(Vec::new());
        }
        let mut programs = programs(cluster).await?;
        programs.retain(|program| !self.done.contains(program) && !self.silent.contains_key(&program.pod));
        let ready = ready(cluster, programs.iter().flat_map(|program| &program.names)).await?;
        let mut asked = stream::iter(programs)
            .map(|program| async move {
                let known = known(cluster, &program).await;
                (program, known)
            })
            .buffered(AT_ONCE);
        let mut lacks = Vec::new();
        while let Some((program, known)) = asked.next().await {
            match known.map(|known| lacking(&program, &ready, &known)) {
                Ok(lacking) if lacking.is_empty() => drop(self.done.insert(program)),
                Ok(lacking) => lacks.extend(lacking),
                Err(why) => drop(self.silent.insert(program.pod.clone(), why)),
            }
            if self.silent.len() >= SILENT_MAX {
                return Ok(Vec::new());
            }
        }
        Ok(lacks)
    }

    fn note(&self) -> Option<String> {
        let (pod, why) = self.silent.first_key_value()?;
        let others = match self.silent.len() - 1 {
            0 => String::new(),
            others => format!(" (and {others} more)"),
        };
        Some(format!("{UNKNOWN}: {pod}{others} could not be asked: {why}"))
    }
}

fn too_late(lack: &Lack, kubectl: &str, waited: Duration) -> TargetError {
    let Lack { gateway, name, ready, .. } = lack;
    let message = format!(
        "all pods are ready, but after {} s gateway {gateway} knows none of the {ready} ready replicas of {name}, so it closes \
         connections to them\nDoes the cluster's DNS answer, and may the gateway reach /readyz at the replicas' admin port? \
         Its log: {kubectl} logs {gateway}\nthe installation stays: playctl up waits again, playctl down removes it",
        waited.as_secs()
    );
    TargetError::BringUp { message }
}

/// The programs in all gateways that are ready. The others are not asked: a workload's readiness is checked elsewhere.
async fn programs(cluster: &Cluster) -> Result<Vec<Program>, TargetError> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let pods = cluster.ask("the gateways", pods.list(&ListParams::default().labels(GATEWAYS))).await?.items;
    let mut programs = Vec::new();
    let mut bootstraps: BTreeMap<String, Option<Value>> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| takes_clients(pod)) {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let Some(spec) = &pod.spec else { continue };
        programs.extend(spec.containers.iter().filter_map(|container| ours(&name, container)));
        for map in spec.volumes.iter().flatten().filter_map(|volume| volume.config_map.as_ref()) {
            if !bootstraps.contains_key(&map.name) {
                bootstraps.insert(map.name.clone(), bootstrap(cluster, &map.name).await?);
            }
            let bootstrap = bootstraps.get(&map.name).and_then(Option::as_ref);
            programs.extend(bootstrap.and_then(|bootstrap| envoy(&name, bootstrap)));
        }
    }
    Ok(programs)
}

fn takes_clients(pod: &Pod) -> bool {
    match pod.facts() {
        Object::Pod(facts) => facts.is_ready() && facts.deleting.is_none(),
        _ => false,
    }
}

/// Envoy's configuration from a `ConfigMap`; `None`: it has none that can be read.
async fn bootstrap(cluster: &Cluster, map: &str) -> Result<Option<Value>, TargetError> {
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let found = cluster.ask(format!("ConfigMap {map}"), maps.get_opt(map)).await?;
    let text = found.and_then(|found| found.data?.remove(BOOTSTRAP));
    Ok(text.and_then(|text| Some(yaml::read_all(map, &text).ok()?.pop()?.value)))
}

fn envoy(pod: &str, bootstrap: &Value) -> Option<Program> {
    let admin_port = bootstrap.pointer("/admin/address/socket_address/port_value")?.as_u64()?;
    let mut names = BTreeSet::new();
    for cluster in bootstrap.pointer("/static_resources/clusters")?.as_array()? {
        let localities = cluster.pointer("/load_assignment/endpoints").and_then(Value::as_array);
        let endpoints = localities
            .into_iter()
            .flatten()
            .flat_map(|locality| locality["lb_endpoints"].as_array().into_iter().flatten());
        let addresses =
            endpoints.filter_map(|one| one.pointer("/endpoint/address/socket_address/address")?.as_str());
        names.extend(addresses.filter(|address| address.ends_with(SVC)).map(str::to_owned));
    }
    let admin_port = admin_port.try_into().ok()?;
    Some(Program { pod: pod.to_owned(), kind: Kind::Envoy, admin_port, names })
}

/// Our own gateway, from the variables of its container.
fn ours(pod: &str, container: &Container) -> Option<Program> {
    let value = |name: &str| {
        let mut variables = container.env.iter().flatten();
        variables.find(|variable| variable.name == name)?.value.as_deref()
    };
    // NAME:PORT, or SERVICE=NAME:PORT,… for HTTP.
    let names = value("ENDPOINTS_DNS")?.split(',').filter_map(|one| {
        let address = one.split_once('=').map_or(one, |(_, address)| address);
        Some(address.rsplit_once(':')?.0.to_owned())
    });
    let admin_port = value("ADMIN_PORT")?.parse().ok()?;
    Some(Program { pod: pod.to_owned(), kind: Kind::Playctl, admin_port, names: names.collect() })
}

/// The pods that DNS has, or will have, under these names.
async fn ready(cluster: &Cluster, names: impl Iterator<Item = &String>) -> Result<Ready, TargetError> {
    let mut ready = Ready::new();
    for name in names {
        if ready.contains_key(name) {
            continue;
        }
        let mut labels = name.strip_suffix(SVC).unwrap_or(name).split('.');
        let (service, namespace) = (labels.next().unwrap_or_default(), labels.next());
        let namespace = namespace.unwrap_or(&cluster.namespace);
        let services: Api<Service> = Api::namespaced(cluster.client.clone(), namespace);
        let found = cluster.ask(format!("Service {service}"), services.get_opt(service)).await?;
        let selector = found.and_then(|found| found.spec?.selector).filter(|labels| !labels.is_empty());
        let mut pods = Vec::new();
        if let Some(selector) = selector {
            let selected = ListParams::default().labels(&Selector::of_labels(selector).to_string());
            let api: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
            let listed = cluster.ask(format!("the pods of Service {service}"), api.list(&selected)).await?;
            pods = listed.items.iter().filter(|pod| takes_clients(pod)).map(addresses).collect();
        }
        ready.insert(name.clone(), pods);
    }
    Ok(ready)
}

fn addresses(pod: &Pod) -> (String, Vec<IpAddr>) {
    let ips = pod.status.iter().flat_map(|status| status.pod_ips.iter().flatten());
    let ips = ips.filter_map(|ip| ip.ip.parse().ok()).collect();
    (pod.metadata.name.clone().unwrap_or_default(), ips)
}

fn lacking(program: &Program, ready: &Ready, known: &BTreeSet<IpAddr>) -> Vec<Lack> {
    let lacks = program.names.iter().filter_map(|name| {
        let pods = ready.get(name)?;
        let is_known = |(_, ips): &&(String, Vec<IpAddr>)| ips.iter().any(|ip| known.contains(ip));
        let count = pods.iter().filter(is_known).count();
        (count < pods.len()).then(|| Lack {
            gateway: program.pod.clone(),
            name: name.clone(),
            known: count,
            ready: pods.len(),
        })
    });
    lacks.collect()
}

/// The addresses to which a gateway sends new connections.
async fn known(cluster: &Cluster, program: &Program) -> Result<BTreeSet<IpAddr>, String> {
    let page = match program.kind {
        Kind::Envoy => "/clusters?format=json",
        Kind::Playctl => "/endpoints",
    };
    let request = Request::get(page);
    let (status, body) =
        pod_http::forwarded(cluster, &program.pod, program.admin_port, request, String::new()).await?;
    if status != StatusCode::OK {
        return Err(format!("{page} is answered with {status}"));
    }
    let read = match program.kind {
        Kind::Envoy => serde_json::from_slice(&body).map(EnvoyClusters::healthy),
        Kind::Playctl => serde_json::from_slice(&body).map(Endpoints::healthy),
    };
    read.map_err(|error| format!("cannot parse {page}: {error}"))
}

/// Envoy's `/clusters?format=json`; what is false or empty is left out.
#[derive(Debug, Deserialize)]
struct EnvoyClusters {
    #[serde(default)]
    cluster_statuses: Vec<EnvoyCluster>,
}

#[derive(Debug, Deserialize)]
struct EnvoyCluster {
    #[serde(default)]
    host_statuses: Vec<EnvoyHost>,
}

#[derive(Debug, Deserialize)]
struct EnvoyHost {
    address: Value,
    #[serde(default)]
    health_status: EnvoyHealth,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EnvoyHealth {
    failed_active_health_check: bool,
    pending_active_hc: bool,
    pending_dynamic_removal: bool,
}

impl EnvoyClusters {
    fn healthy(self) -> BTreeSet<IpAddr> {
        let hosts = self.cluster_statuses.into_iter().flat_map(|cluster| cluster.host_statuses);
        let healthy = hosts.filter(|host| {
            let health = &host.health_status;
            !(health.failed_active_health_check || health.pending_active_hc || health.pending_dynamic_removal)
        });
        let address =
            |host: EnvoyHost| host.address.pointer("/socket_address/address")?.as_str()?.parse().ok();
        healthy.filter_map(address).collect()
    }
}

/// The page `/endpoints` of our own gateway.
#[derive(Debug, Deserialize)]
struct Endpoints {
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    address: SocketAddr,
    health: String,
    draining: bool,
    removed: bool,
    ejected: bool,
}

impl Endpoints {
    fn healthy(self) -> BTreeSet<IpAddr> {
        // A replica that has not been checked yet gets connections while no other is known to be healthy.
        let healthy = self
            .endpoints
            .into_iter()
            .filter(|one| one.health != "unhealthy" && !one.draining && !one.removed && !one.ejected);
        healthy.map(|one| one.address.ip()).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ips(text: &str) -> BTreeSet<IpAddr> {
        text.split_whitespace().map(|ip| ip.parse().unwrap()).collect()
    }

    #[test]
    fn envoys_names_and_port_are_those_of_its_bootstrap() {
        let cluster = |address: &str| {
            json!({"name": "x", "load_assignment": {"endpoints": [{"lb_endpoints":
            [{"endpoint": {"address": {"socket_address": {"address": address, "port_value": 1}}}}]}]}})
        };
        let bootstrap = json!({
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 20_000}}},
            "static_resources": {"clusters": [cluster("127.0.0.1"), cluster("tcp.p.svc"), cluster("udp.p.svc"), {"name": "y"}]},
        });
        let program = envoy("a", &bootstrap).unwrap();
        assert_eq!((program.pod.as_str(), program.admin_port), ("a", 20_000));
        assert_eq!(program.names, ["tcp.p.svc", "udp.p.svc"].map(str::to_owned).into());
        assert_eq!(envoy("a", &json!({"static_resources": {"clusters": []}})), None, "without an admin port");
        assert_eq!(envoy("a", &json!("text")), None);
    }

    #[test]
    fn our_gateways_names_and_port_are_those_of_its_variables() {
        let of = |names: Value| {
            let container = json!({"name": "g", "env": [{"name": "ADMIN_PORT", "value": "20001"},
                {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "ENDPOINTS_DNS", "value": names}]});
            ours("a", &serde_json::from_value(container).unwrap())
        };
        let one = of(json!("tcp.p.svc:40000")).unwrap();
        assert_eq!((one.admin_port, one.names), (20_001, ["tcp.p.svc".to_owned()].into()));
        let several = of(json!("ws=ws.p.svc:8088,ws-client=ws-client.p.svc:8089")).unwrap();
        assert_eq!(several.names, ["ws.p.svc", "ws-client.p.svc"].map(str::to_owned).into());
        assert_eq!(of(Value::Null), None);
    }

    #[test]
    fn envoy_knows_what_its_checks_have_passed() {
        // As Envoy 1.40 prints it.
        let host = |ip: &str, health: Value| json!({"address": {"socket_address": {"address": ip, "port_value": 40_000}}, "health_status": health, "stats": []});
        let page = json!({"cluster_statuses": [
            {"name": "admin"},
            {"name": "tcp", "host_statuses": [
                host("10.0.0.1", json!({"eds_health_status": "HEALTHY"})),
                host("10.0.0.2", json!({"eds_health_status": "HEALTHY", "failed_active_health_check": true})),
                host("10.0.0.3", json!({"failed_active_health_check": true, "pending_active_hc": true})),
                host("10.0.0.4", json!({"pending_dynamic_removal": true})),
                {"address": {"pipe": {"path": "/x"}}},
            ]},
            {"name": "udp", "host_statuses": [host("fd00::1", json!({}))]},
        ]});
        let page: EnvoyClusters = serde_json::from_value(page).unwrap();
        assert_eq!(page.healthy(), ips("10.0.0.1 fd00::1"));
        let empty: EnvoyClusters = serde_json::from_str("{}").unwrap();
        assert_eq!(empty.healthy(), ips(""));
    }

    #[test]
    fn our_gateway_knows_what_gets_its_connections() {
        let one = |ip: &str, health: &str, key: &str| {
            let mut one = json!({"name": ip, "address": format!("{ip}:40000"), "health": health, "last_failure": null,
                "draining": false, "removed": false, "ejected": false, "counts": {}});
            one[key] = json!(true);
            one
        };
        let page = json!({"version": 3, "endpoints": [
            one("10.0.0.1", "healthy", "x"), one("10.0.0.2", "unknown", "x"), one("10.0.0.3", "unhealthy", "x"),
            one("10.0.0.4", "healthy", "draining"), one("10.0.0.5", "healthy", "removed"), one("10.0.0.6", "healthy", "ejected"),
        ]});
        let page: Endpoints = serde_json::from_value(page).unwrap();
        assert_eq!(page.healthy(), ips("10.0.0.1 10.0.0.2"));
    }

    #[test]
    fn a_gateway_lacks_ready_pods_that_it_does_not_know_under_any_address() {
        let program = Program {
            pod: "gateway-a".to_owned(),
            kind: Kind::Envoy,
            admin_port: 1,
            names: ["tcp.p.svc", "udp.p.svc", "ws.p.svc"].map(str::to_owned).into(),
        };
        let pod = |name: &str, text: &str| (name.to_owned(), ips(text).into_iter().collect::<Vec<_>>());
        let ready = Ready::from([
            ("tcp.p.svc".to_owned(), vec![pod("tcp-a", "10.0.0.1 fd00::1"), pod("tcp-b", "10.0.0.2")]),
            ("udp.p.svc".to_owned(), Vec::new()),
        ]);
        let counts = |known: &str| {
            let lacks = lacking(&program, &ready, &ips(known));
            lacks.into_iter().map(|lack| (lack.name, lack.known, lack.ready)).collect::<Vec<_>>()
        };
        assert_eq!(counts(""), [("tcp.p.svc".to_owned(), 0, 2)]);
        assert_eq!(counts("fd00::1"), [("tcp.p.svc".to_owned(), 1, 2)]);
        assert_eq!(counts("10.0.0.1 10.0.0.2 10.0.0.9"), []);
    }
}
