use ::platform::{
    endpoints::{Cluster, Endpoint},
    values::ValuesSource,
};

use super::*;

pub(super) fn proxy(kind: &str, set: &[&str]) -> Proxy {
    let set = set.iter().map(|&text| text.to_owned()).chain([format!("gateway.kind={kind}")]).collect();
    let values = Values::load(&ValuesSource { set, ..ValuesSource::default() }).unwrap();
    let programs = [Program::Envoy, Program::Haproxy].map(|program| {
        let executable = PathBuf::from("/usr/bin").join(program.name());
        let home = PathBuf::from("/usr/bin");
        (program, Found { version: "2.6.12".to_owned(), executable, home })
    });
    Proxy::of(&template(&values), &programs.into()).unwrap()
}

fn template(values: &Values) -> GatewayTemplate {
    let listener = values.listeners().next().unwrap().clone();
    let settings = Gateway { listeners: Vec::new(), ..values.gateway.clone() };
    GatewayTemplate { listener, settings, kafka: None, program: Some("as found".to_owned()) }
}

pub(super) fn site(folder: &Path) -> Site {
    Site {
        name: "gateway-node-0".to_owned(),
        ip: "127.77.1.1".parse().unwrap(),
        clients: vec!["127.77.0.1:10000".parse().unwrap(), "127.0.0.1:10000".parse().unwrap()],
        clusters: vec!["tcp".to_owned()],
        folder: folder.to_owned(),
        endpoints: folder.join("endpoints.json"),
    }
}

pub(super) fn endpoint(ordinal: u8, draining: bool) -> Endpoint {
    Endpoint {
        name: format!("tcp-{ordinal}"),
        address: SocketAddr::from(([127, 77, 2, ordinal + 1], 40000)),
        health: Some(SocketAddr::from(([127, 77, 2, ordinal + 1], 9100))),
        draining,
    }
}

fn endpoints() -> Endpoints {
    let other = Cluster { name: "udp".to_owned(), endpoints: vec![endpoint(9, false)] };
    let tcp = Cluster { name: "tcp".to_owned(), endpoints: vec![endpoint(0, false), endpoint(1, true)] };
    Endpoints { version: 7, clusters: vec![other, tcp] }
}

#[test]
fn our_own_gateway_is_not_a_proxy_and_an_old_haproxy_is_refused() {
    let values = Values::builtin();
    assert_eq!(Proxy::of(&template(&values), &Programs::new()), None);
    let set = vec!["gateway.kind=haproxy".to_owned()];
    let values = Values::load(&ValuesSource { set, ..ValuesSource::default() }).unwrap();
    let found = Found {
        version: "2.4.22".to_owned(),
        executable: "/usr/sbin/haproxy".into(),
        home: "/usr/sbin".into(),
    };
    let error = Proxy::check(&values, &[(Program::Haproxy, found)].into()).unwrap_err().to_string();
    assert!(error.contains("2.4.22: expected 2.6 or newer"), "{error}");
}

#[test]
fn the_envoy_configuration_follows_the_values() {
    let most = "gateway.maxConnections=300";
    let proxy = proxy("envoy", &[most, "gateway.health.interval=500ms", "gateway.policy=round-robin"]);
    insta::assert_snapshot!(format!("{:#}", envoy::bootstrap(&proxy, &site(Path::new("/state/gateways/0")))));
}

#[test]
fn envoy_learns_the_replicas_of_its_own_service() {
    let told = envoy::discovery("tcp", &endpoints());
    insta::assert_snapshot!(format!("{told:#}"));
}

#[test]
fn the_haproxy_configuration_follows_the_values() {
    let proxy = proxy("haproxy", &["gateway.maxConnections=300"]);
    insta::assert_snapshot!(haproxy::config(
        &proxy,
        &site(Path::new("/state/gateways/0")),
        &endpoints(),
        haproxy::Secrets { password: "generated", cookies: "of its own" }
    ));
}

/// A listener for HTTP, with `tcp` instead of a service that speaks it.
fn http_proxy(kind: &str) -> (Proxy, Site) {
    let listener = "gateway.listeners[0].name=streams,gateway.listeners[0].protocol=HTTP,gateway.listeners[0].port=8090,\
                    gateway.listeners[0].service=tcp,gateway.listeners[0].stallTimeout=0s";
    let route = "gateway.listeners[0].routes[0].path=/main,gateway.listeners[0].routes[0].service=ws";
    let deeper =
        "gateway.listeners[0].routes[1].path=/main/deeper,gateway.listeners[0].routes[1].service=tcp";
    let site =
        Site { clusters: vec!["tcp".to_owned(), "ws".to_owned()], ..site(Path::new("/state/gateways/0")) };
    (proxy(kind, &[listener, route, deeper, "gateway.maxConnections=300"]), site)
}

#[test]
fn envoy_routes_requests_as_the_values_say() {
    let (proxy, site) = http_proxy("envoy");
    let bootstrap = envoy::bootstrap(&proxy, &site);
    let resources = &bootstrap["static_resources"];
    let filter = &resources["listeners"][0]["filter_chains"][0]["filters"][0];
    let names: Vec<&str> =
        resources["clusters"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["tcp", "ws"]);
    insta::assert_snapshot!(format!("{filter:#}"));
}

#[test]
fn haproxy_routes_requests_as_the_values_say() {
    let (proxy, site) = http_proxy("haproxy");
    let secrets = haproxy::Secrets { password: "generated", cookies: "another" };
    insta::assert_snapshot!(haproxy::config(&proxy, &site, &endpoints(), secrets));
}

#[test]
fn secrets_are_private_and_stay_the_same() {
    use std::os::unix::fs::PermissionsExt as _;

    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("0");
    let proxy = proxy("haproxy", &[]);
    let launch = proxy.prepare(&site(&folder), &endpoints()).unwrap();
    let password = std::fs::read_to_string(haproxy::password_file(&folder)).unwrap();
    assert_eq!(password.trim().len(), 32);
    let words = format!("{launch:?}");
    assert!(!words.contains(password.trim()), "a password in a process list: {words}");
    for file in [haproxy::password_file(&folder), folder.join("haproxy.cfg")] {
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
    proxy.prepare(&site(&folder), &endpoints()).unwrap();
    assert_eq!(std::fs::read_to_string(haproxy::password_file(&folder)).unwrap(), password);
}
