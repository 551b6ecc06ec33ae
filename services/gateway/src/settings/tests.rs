use super::*;

fn env(pairs: &[(&str, &str)]) -> Env {
    [("ENDPOINTS_FILE", "/run/endpoints.json")].iter().chain(pairs).copied().collect()
}

fn cluster(settings: &Settings) -> &str {
    match &settings.services[..] {
        [Service { name, source: Source::File(_) }] => name,
        other => panic!("no file but {other:?}"),
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
    let service = Service { name: "tcp".into(), source: Source::Dns(dns) };
    assert_eq!(settings.unwrap().services, [service]);
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
fn a_stall_timeout_of_zero_disables_it() {
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

#[test]
fn http_has_routes_and_a_cookie() {
    let of = |pairs: &[(&str, &str)]| {
        let file = [("ENDPOINTS_FILE", "/f"), ("PROTOCOL", "http")];
        Settings::from_env(&file.iter().chain(pairs).copied().collect())
    };
    let settings = of(&[("ROUTES", "/main=directory, /=stream,/a/b=directory")]).unwrap();
    assert_eq!(settings.listeners, Listeners::Bind { host: Host::LOOPBACK, port: 8_090 });
    let names: Vec<_> = settings.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["directory", "stream"], "each is followed once");
    assert_eq!(settings.http.routes[1], Route { path: "/".into(), service: "stream".into() });
    assert_eq!(settings.http.cookie.as_deref(), Some("route"));
    assert_eq!(of(&[("ROUTES", "/=a"), ("STICKY_COOKIE", "none")]).unwrap().http.cookie, None);

    let refused = |pairs: &[(&str, &str)]| {
        let Invalid(problems) = of(pairs).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        (problems[0].variable, problems[0].expected.clone())
    };
    assert_eq!(refused(&[]).0, "ROUTES");
    for text in ["stream", "main=a", "/main/=a", "//=a", "/a b=a", "/a?b=a", "/=A", "/=", "/=a,", "/=a,/=b"] {
        assert_eq!(refused(&[("ROUTES", text)]).0, "ROUTES", "{text}");
    }
    assert!(refused(&[("ROUTES", "/x=a,/x=b")]).1.contains("/x is there more than once"));
    for text in ["a b", "a;b", "a=b"] {
        assert_eq!(refused(&[("ROUTES", "/=a"), ("STICKY_COOKIE", text)]).0, "STICKY_COOKIE", "{text}");
    }
}

#[test]
fn with_http_each_service_has_a_name_of_its_own() {
    let of = |names: &str| {
        let pairs = [("PROTOCOL", "HTTP"), ("ROUTES", "/main=directory,/=stream"), ("ENDPOINTS_DNS", names)];
        Settings::from_env(&pairs.into_iter().collect())
    };
    let settings = of("stream=stream.play:8080,directory=base.play:8081").unwrap();
    let found: Vec<_> = settings
        .services
        .iter()
        .map(|service| match &service.source {
            Source::Dns(dns) => (service.name.as_str(), dns.name.as_str(), dns.port),
            Source::File(path) => panic!("{}", path.display()),
        })
        .collect();
    assert_eq!(found, [("directory", "base.play", 8081), ("stream", "stream.play", 8080)]);
    for names in [
        "stream.play:8080",
        "stream=stream.play:8080",
        "stream=stream.play:8080,directory=d:1,other=o:1",
        "stream=stream.play:8080,stream=d:1",
        "stream=stream.play,directory=d:1",
    ] {
        let Invalid(problems) = of(names).unwrap_err();
        assert!(problems.iter().all(|problem| problem.variable == "ENDPOINTS_DNS"), "{names}: {problems:?}");
    }
}
