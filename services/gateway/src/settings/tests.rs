use super::*;

fn env(pairs: &[(&str, &str)]) -> Env {
    [("ENDPOINTS_FILE", "/run/endpoints.json")].iter().chain(pairs).copied().collect()
}

fn cluster(settings: &Settings) -> &str {
    match &settings.source {
        Source::File { cluster, .. } => cluster,
        Source::Dns(dns) => panic!("no file but {dns:?}"),
    }
}

#[test]
fn defaults_are_the_contract() {
    let settings = Settings::from_env(&env(&[])).unwrap();
    assert_eq!(settings.listeners, Listeners::Bind { host: Host::LOOPBACK, port: 10_000 });
    assert_eq!((settings.protocol, cluster(&settings)), (Protocol::Tcp, "tcp"));
    assert_eq!(settings.policy, Policy::LeastRequest);
    let everywhere = Settings::from_env(&env(&[("HOST", "0.0.0.0")])).unwrap();
    assert_eq!(everywhere.admin_host, Host::LOOPBACK, "the admin port is not for clients");
    assert_eq!(settings.circuit_max.get(), 50_000);
    assert_eq!(settings.health.interval, Duration::from_secs(1));
    assert_eq!((settings.health.fall.get(), settings.health.rise.get()), (2, 1));
    assert_eq!(settings.upstream_bind, None);
    assert_eq!(settings.workers.get(), 1);
}

#[test]
fn every_variable_is_documented_once_and_its_default_is_a_value() {
    let mut names: Vec<_> = variables::ALL.iter().map(|variable| variable.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), variables::ALL.len());
    let defaults: Vec<_> =
        variables::ALL.iter().filter_map(|variable| Some((variable.name, variable.default?))).collect();
    assert_eq!(Settings::from_env(&env(&defaults)), Settings::from_env(&env(&[])));
}

#[test]
fn all_bad_values_are_reported_together() {
    let bad = [
        ("HOST", "nowhere"),
        ("PROTOCOL", "SCTP"),
        ("PORT", "65536"),
        ("DNS_REFRESH", "0"),
        ("DNS_SERVER", "localhost"),
        ("HEALTH_PORT", "x"),
        ("LISTENERS", "stdout"),
        ("POLICY", "fastest"),
        ("UPSTREAM_BIND", "tcp-0"),
        ("MAX_CONNECTIONS", "0"),
        ("MAX_SESSIONS", "none"),
        ("IDLE_TIMEOUT", "0"),
        ("HEALTH_INTERVAL", "0"),
        ("HEALTH_FALL", "0"),
        ("WORKERS", "-1"),
    ];
    let invalid = Settings::from_env(&env(&bad)).unwrap_err();
    let named: Vec<_> = invalid.0.iter().map(|problem| problem.variable).collect();
    for (name, _) in bad {
        assert!(named.contains(&name), "{name} is not among {named:?}");
    }
    let text = invalid.to_string();
    assert!(text.contains(r#"POLICY="fastest": expected one of least-request, "#), "{text}");
}

#[test]
fn the_endpoints_come_from_a_file_or_a_name() {
    let of = |pairs: &[(&'static str, &'static str)]| Settings::from_env(&pairs.iter().copied().collect());
    let refused = |pairs: &[(&'static str, &'static str)]| {
        let Invalid(problems) = of(pairs).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems[0].variable
    };
    assert_eq!(refused(&[]), "ENDPOINTS_FILE");
    assert_eq!(refused(&[("ENDPOINTS_FILE", "/f"), ("ENDPOINTS_DNS", "tcp:1")]), "ENDPOINTS_DNS");
    for text in ["tcp", "tcp:0", "tcp:65536", ":1", "10.0.0.1:1", "a..b:1", "[::1]:1", "tcp .svc:1"] {
        assert_eq!(refused(&[("ENDPOINTS_DNS", text)]), "ENDPOINTS_DNS", "{text}");
    }
    let settings =
        of(&[("ENDPOINTS_DNS", "tcp.play.svc.:40000"), ("DNS_SERVER", "[::1]:53"), ("HEALTH_PORT", "0")]);
    let dns = DnsSettings {
        name: "tcp.play.svc.".into(),
        port: 40_000,
        health_port: None,
        refresh: Duration::from_secs(1),
        server: Some("[::1]:53".parse().unwrap()),
    };
    assert_eq!(settings.unwrap().source, Source::Dns(dns));
}

#[test]
fn the_limit_follows_the_open_files_unless_it_is_set() {
    let settings = Settings::from_env(&env(&[])).unwrap();
    assert_eq!(settings.connections_max(20_000), 9_872);
    assert_eq!(settings.connections_max(1_000_000), 50_000);
    assert_eq!(settings.connections_max(u64::MAX), 50_000);
    assert_eq!(settings.connections_max(10), 1);
    let settings = Settings::from_env(&env(&[("MAX_CONNECTIONS", "7")])).unwrap();
    assert_eq!(settings.connections_max(20_000), 7);
}

#[test]
fn a_stall_timeout_of_zero_is_none() {
    let timeout = |pairs: &[(&str, &str)]| Settings::from_env(&env(pairs)).unwrap().stall_timeout;
    assert_eq!(timeout(&[]), Some(Duration::from_secs(30)));
    assert_eq!(timeout(&[("STALL_TIMEOUT", "1500ms")]), Some(Duration::from_millis(1500)));
    for zero in ["0", "0s", "0ms"] {
        assert_eq!(timeout(&[("STALL_TIMEOUT", zero)]), None);
    }
}

#[test]
fn udp_has_defaults_of_its_own() {
    let settings = Settings::from_env(&env(&[("PROTOCOL", "UDP")])).unwrap();
    assert_eq!(settings.listeners, Listeners::Bind { host: Host::LOOPBACK, port: 10_001 });
    assert_eq!(cluster(&settings), "udp");
    assert_eq!(settings.udp.idle_timeout, Duration::from_mins(1));
    assert_eq!(settings.udp.sessions_file, None);
    assert_eq!(settings.sessions_max(20_000), 19_744);
    assert_eq!(settings.sessions_max(10), 1);
    let settings = Settings::from_env(&env(&[("MAX_SESSIONS", "7")])).unwrap();
    assert_eq!(settings.sessions_max(20_000), 7);
}
