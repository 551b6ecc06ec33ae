use std::time::Duration;

use serde_json::json;

use super::*;

fn with(set: &[&str]) -> Result<Values, ValuesError> {
    Values::load(&ValuesSource {
        set: set.iter().map(ToString::to_string).collect(),
        ..ValuesSource::default()
    })
}

fn problems(set: &[&str]) -> String {
    with(set).unwrap_err().to_string()
}

#[test]
fn the_built_in_values_are_those_of_the_contracts() {
    let values = Values::builtin();
    let tcp = values.service("tcp").unwrap();
    assert_eq!((tcp.port, tcp.admin_port, tcp.replicas), (40_000, 9_100, None));
    assert_eq!(tcp.autoscaled(), Some([1, 5]));
    assert_eq!(tcp.termination_grace_period, Duration::from_mins(1));
    assert_eq!(tcp.env["SIGTERM_TIMEOUT"], "40");
    assert_eq!(tcp.resources.requests["cpu"].milli(), 1_024);
    assert_eq!(tcp.resources.requests["memory"].milli(), 128 * 1024 * 1024 * 1000);
    let spec = tcp.autoscaling.as_ref().unwrap();
    let target = &spec.metrics[0].pods.as_ref().unwrap().target;
    assert_eq!(target.average_value.as_ref().unwrap().milli(), 5_000_000);
    let down = spec.behavior.as_ref().unwrap().scale_down.as_ref().unwrap();
    assert_eq!(down.stabilization_window_seconds, Some(45));

    let enabled: Vec<_> = values.enabled_services().map(|service| service.name.as_str()).collect();
    assert_eq!(enabled, ["tcp"]);
    let listeners: Vec<_> =
        values.listeners().map(|listener| (listener.name.as_str(), listener.port)).collect();
    assert_eq!(listeners, [("tcp", 10_000)]);
    let bounds: Vec<_> = values.services().filter_map(Service::autoscaled).collect();
    assert_eq!(bounds, [[1, 5], [1, 5], [1, 10], [1, 5], [1, 3]]);
    assert_eq!(values.metrics.scrape_interval, Duration::from_secs(7));
    assert_eq!(values.metrics.source, MetricsSource::Kernel);
    assert_eq!(values.gateway.rules.policy, Policy::LeastRequest);
    assert_eq!(values.kafka.brokers, None);
}

#[test]
fn a_service_without_clients_has_its_admin_port_alone() {
    let logger = with(&["logger.adminPort=9200"]).unwrap().service("logger").unwrap().clone();
    assert_eq!((logger.port, logger.admin_port, logger.initial_replicas()), (9200, 9200, 1));
    assert!(problems(&["logger.port=1"]).starts_with("logger.port: unknown key"));
}

#[test]
fn services_that_lost_their_listener_are_named() {
    let of = |presets: &[&str]| {
        let files = presets.iter().map(Into::into).collect();
        let values = Values::load(&ValuesSource { files, ..ValuesSource::default() }).unwrap();
        values.unreached(&Values::builtin()).join(" ")
    };
    for alone in ["streams", "page", "ws", "balancer", "socketz", "minikube"] {
        assert_eq!(of(&[alone]), "", "{alone}");
    }
    assert_eq!(of(&["balancer", "page"]), "");
    // The page's list of listeners takes the place of the usual one.
    assert_eq!(of(&["streams", "page"]), "stream directory profiles");
}

#[test]
fn flags_change_what_they_name() {
    let values = with(&["tcp.autoscaling=null,tcp.replicas=3", "udp.enabled=true", "tcp.env.FOO=1"]).unwrap();
    let tcp = values.service("tcp").unwrap();
    assert_eq!((tcp.initial_replicas(), tcp.autoscaled()), (3, None));
    assert_eq!(tcp.env["FOO"], "1");
    assert_eq!(values.listeners().count(), 2);
}

#[test]
fn a_listener_has_rules_of_its_own_and_the_gateways_for_the_rest() {
    let rules = |flags: &[&str]| {
        let values = with(&[&["udp.enabled=true"], flags].concat()).unwrap();
        values.listeners().map(|listener| listener.rules.clone()).collect::<Vec<_>>()
    };
    let [tcp, udp] = rules(&[]).try_into().unwrap();
    assert_eq!(tcp, udp);
    assert_eq!(tcp.stall_timeout, Some(Duration::from_secs(30)));

    // A list is replaced as a whole.
    let listeners = ["tcp", "udp"].iter().enumerate().map(|(index, service)| {
        let listener = format!("gateway.listeners[{index}]");
        let protocol = service.to_uppercase();
        format!("{listener}.name={service},{listener}.service={service},{listener}.port=1,{listener}.protocol={protocol}")
    });
    let listeners = listeners.collect::<Vec<_>>().join(",");
    let own = [
        listeners.as_str(),
        "gateway.stallTimeout=20s,gateway.health.fall=4",
        "gateway.listeners[1].policy=round-robin,gateway.listeners[1].stallTimeout=0s",
        "gateway.listeners[0].tunnelTimeout=2m",
        "gateway.listeners[1].idleTimeout=2m,gateway.listeners[1].health.interval=5s",
    ];
    let [tcp, udp] = rules(&own).try_into().unwrap();
    assert_eq!((tcp.policy, tcp.stall_timeout), (Policy::LeastRequest, Some(Duration::from_secs(20))));
    assert_eq!((udp.policy, udp.stall_timeout), (Policy::RoundRobin, None));
    assert_eq!((tcp.idle_timeout, udp.idle_timeout), (Duration::from_mins(1), Duration::from_mins(2)));
    assert_eq!((tcp.tunnel_timeout, udp.tunnel_timeout), (Some(Duration::from_mins(2)), None));
    assert_eq!((udp.health.interval, udp.health.fall), (Duration::from_secs(5), 4));
    assert_eq!(udp.health.path, tcp.health.path);
    assert!(problems(&[&listeners, "gateway.listeners[0].healh.fall=1"]).contains("did you mean health?"));
    assert!(problems(&["gateway.stallTimeout=never"]).contains("a duration such as 30s, or 0s for never"));
}

#[test]
fn unknown_keys_name_the_nearest_one_and_who_set_them() {
    assert_eq!(
        problems(&["tcp.replcas=3"]),
        "tcp.replcas: unknown key; did you mean replicas? (--set tcp.replcas=3)"
    );
    assert_eq!(
        problems(&["tcp.autoscaling.maxReplica=3"]),
        "tcp.autoscaling.maxReplica: unknown key; did you mean maxReplicas? (--set tcp.autoscaling.maxReplica=3)"
    );
    for (prefix, some) in [("", "tcp, udp, ws"), ("tcp.", "port, ")] {
        let text = problems(&[&format!("{prefix}frobnicate=1")]);
        let known = text.split_once("frobnicate: unknown key; known here: ").expect(&text).1;
        let (known, _) = known.split_once(" (--set").expect(&text);
        assert!(known.contains(some), "{text}");
        let keys: Vec<&str> = known.split(", ").collect();
        assert!(keys.is_sorted_by(|a, b| a < b), "sorted, each once: {keys:?}");
    }
    with(&["global.anything=1", "tcp.global.x=2"]).expect("global belongs to everybody");
}

#[test]
fn every_mistake_is_reported_at_once() {
    let text = problems(&[
        "tcp.port=70000",
        "tcp.enabled=maybe",
        "gateway.policy=best",
        "metrics.window=1",
        "tcp.resources.requests.cpu=lots",
        "gateway.listeners[0].service=tpc",
    ]);
    for part in [
        "gateway.listeners[0].service: expected one of tcp, udp, ws, stream, directory, logger, ws-client, balancer, profiles, page, got \"tpc\"",
        "gateway.policy: expected one of least-request, least-request-full-scan, round-robin, random, got \"best\" (--set gateway.policy=best)",
        "metrics.window: expected a duration above zero, such as 7s or 1m30s, got 1",
        "tcp.enabled: expected true or false, got \"maybe\"",
        "tcp.port: expected a port from 1 to 65535, got 70000 (--set tcp.port=70000)",
        "tcp.resources.requests.cpu: expected a quantity of zero or more, such as 500m or 128Mi, got \"lots\"",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn a_listener_speaks_what_its_service_speaks() {
    for (service, wrong, right) in [("tcp", "UDP", "TCP"), ("udp", "TCP", "UDP")] {
        let listener = |key: &str, value: &str| format!("gateway.listeners[0].{key}={value}");
        let listeners = [
            listener("name", "x"),
            listener("port", "1"),
            listener("service", service),
            listener("protocol", wrong),
        ];
        let text = problems(&[&listeners.join(",")]);
        let expected =
            format!("gateway.listeners[0].protocol: expected {right}, as {service} speaks, got \"{wrong}\"");
        assert!(text.contains(&expected), "{text}");
    }
}

#[test]
fn a_listener_for_http_has_routes_and_a_cookie() {
    let listener = "gateway.listeners[0].name=a,gateway.listeners[0].protocol=HTTP,gateway.listeners[0].port=8090,\
                    gateway.listeners[0].service=ws";
    let of = |more: &[&str]| {
        let set = [&[listener], more].concat().into_iter().map(str::to_owned).collect();
        let values = Values::load(&ValuesSource { set, ..ValuesSource::default() }).unwrap();
        values.gateway.listeners[0].clone()
    };
    let plain = of(&[]);
    assert_eq!((plain.protocol, plain.spoken(), plain.services()), (Protocol::Tcp, "HTTP", vec!["ws"]));
    assert_eq!(plain.http, Some(Http { routes: Vec::new(), sticky_cookie: Some("route".to_owned()) }));

    let routes = "gateway.listeners[0].routes[0].path=/main,gateway.listeners[0].routes[0].service=tcp,\
                  gateway.listeners[0].routes[1].path=/a/b,gateway.listeners[0].routes[1].service=tcp";
    let routed = of(&[routes, "gateway.listeners[0].stickyCookie="]);
    let http = routed.http.as_ref().unwrap();
    let route = |path: &str| Route { path: path.to_owned(), service: "tcp".to_owned() };
    assert_eq!((&http.routes, &http.sticky_cookie), (&vec![route("/main"), route("/a/b")], &None));
    assert_eq!(routed.services(), ["ws", "tcp"]);

    for (wrong, words) in [
        (
            "gateway.listeners[0].routes[1].path=/main",
            "gateway.listeners[0].routes[1].path: expected a path that no other route has",
        ),
        (
            "gateway.listeners[0].routes[1].service=udp",
            "routes[1].service: expected a service over TCP, which udp is not",
        ),
        ("gateway.listeners[0].routes[1].service=tpc", "routes[1].service: expected one of tcp, udp"),
        (
            "gateway.listeners[0].protocol=TCP",
            "gateway.listeners[0].routes: expected protocol HTTP beside it",
        ),
        (
            "gateway.listeners[0].service=udp",
            "gateway.listeners[0].protocol: expected UDP, as udp speaks, got \"HTTP\"",
        ),
    ] {
        let text = problems(&[listener, routes, wrong]);
        assert!(text.contains(words), "{words:?} is not in:\n{text}");
    }
}

#[test]
fn an_autoscaling_spec_is_checked_as_the_api_server_would() {
    let text = problems(&["tcp.autoscaling.minReplicas=9"]);
    assert!(
        text.starts_with("tcp.autoscaling.maxReplicas: must be greater than or equal to `minReplicas`"),
        "{text}"
    );
    let text = problems(&["tcp.replicas=3"]);
    assert!(text.starts_with("tcp.replicas: the autoscaler owns the replicas"), "{text}");
    let text = problems(&["tcp.autoscaling.metrics[0].pods.target.averageValue=lots"]);
    assert!(text.contains("tcp.autoscaling.metrics[0].pods.target.averageValue: "), "{text}");
}

#[test]
fn what_follows_from_a_mistake_is_not_told_beside_it() {
    let alone = |text: &str, at: &str| {
        assert!(text.lines().count() == 1 && text.starts_with(&format!("{at}: ")), "{at}: {text}");
    };
    let metric = "tcp.autoscaling.metrics[0]";
    let target = json!({"type": "AverageValue", "averageValue": 1});
    let right = json!([{"type": "Pods", "pods": {"metric": {"name": "a"}, "target": target}}]);
    for key in ["type", "pods", "pods.target", "pods.target.type", "pods.metric", "pods.metric.name"] {
        let (list, wrong) = (format!("tcp.autoscaling.metrics={right}"), format!("{metric}.{key}=[]"));
        let source = ValuesSource { set_json: vec![list, wrong], ..ValuesSource::default() };
        alone(&Values::load(&source).unwrap_err().to_string(), &format!("{metric}.{key}"));
    }
    for key in ["metrics", "metrics[0]", "maxReplicas", "behavior", "behavior.scaleUp.policies[0]"] {
        alone(&problems(&[&format!("tcp.autoscaling.{key}=x")]), &format!("tcp.autoscaling.{key}"));
    }
    // The name of a label may look like a path.
    let labels = "tcp.autoscaling.metrics[0].pods.metric.selector.matchLabels";
    let text = problems(&[&format!("{labels}.a\\.b/c[0]=1"), "tcp.autoscaling.minReplicas=x"]);
    assert!(text.contains(&format!("{labels}.a.b/c: ")) && text.contains("minReplicas: "), "{text}");
}

#[test]
fn a_required_key_that_is_taken_away_is_missed() {
    assert_eq!(
        problems(&["tcp.port=null"]),
        "tcp.port: is missing; expected a port from 1 to 65535 (--set tcp.port=null)"
    );
    for table in ["metrics", "tcp", "ws-client", "redis", "cadvisor", "image", "networkPolicy", "scheduling"]
    {
        let set = format!("{table}=null");
        assert_eq!(problems(&[&set]), format!("{table}: is missing; expected a table (--set {set})"));
    }
    for part in ["redis", "envoy", "kafka", "elasticsearch.kibana", "prometheus.adapter"] {
        let set = format!("{part}.image=null");
        let text = problems(&[&set]);
        assert!(
            text.starts_with(&format!("{part}.image: is missing; expected an image with its tag")),
            "{text}"
        );
        assert!(text.ends_with(&format!("(--set {set})")), "{text}");
    }
}

#[test]
fn a_flag_that_replaces_a_list_is_named_and_not_the_file_whose_list_is_gone() {
    let flag = "tcp.autoscaling.metrics[0].pods.target.averageValue=7k";
    let text = problems(&[flag]);
    assert!(!text.is_empty());
    for line in text.lines() {
        assert!(
            line.ends_with(&format!(
                "(--set {flag}, which replaces the list tcp.autoscaling.metrics as a whole)"
            )),
            "{line}"
        );
    }
    // Each flag answers for what it wrote itself.
    let text = problems(&[
        "gateway.listeners[0].name=x",
        "gateway.listeners[0].port=0",
        "gateway.listeners[0].service=tcp",
        "gateway.listeners[0].protocol=TCP",
    ]);
    assert_eq!(
        text,
        "gateway.listeners[0].port: expected a port from 1 to 65535, got 0 (--set gateway.listeners[0].port=0, which \
         replaces the list gateway.listeners as a whole)"
    );
}

#[test]
fn a_flag_writes_into_the_list_of_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.yaml");
    std::fs::write(
        &file,
        "gateway:\n  listeners:\n    - {name: a, port: 1, service: tcp, protocol: TCP}\n    - {name: b, port: x, \
         service: tcp, protocol: TCP}\n",
    )
    .unwrap();
    let source = ValuesSource {
        files: vec![file],
        set: vec!["gateway.listeners[0].port=y".to_owned()],
        ..ValuesSource::default()
    };
    let text = Values::load(&source).unwrap_err().to_string();
    let [first, second] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
    assert!(first.ends_with("got \"y\" (--set gateway.listeners[0].port=y)"), "{first}");
    assert!(second.ends_with("mine.yaml:4)"), "{second}");
}

#[test]
fn a_bound_that_the_user_crossed_elsewhere_names_what_the_user_set() {
    let text = problems(&["tcp.autoscaling.minReplicas=9"]);
    assert!(text.contains("(--set tcp.autoscaling.minReplicas=9; built-in values.yaml:"), "{text}");
    let text = problems(&["tcp.autoscaling.maxReplicas=0"]);
    assert!(text.contains("must be greater than 0, got 0 (--set tcp.autoscaling.maxReplicas=0)"), "{text}");
}

#[test]
fn numbers_that_do_not_fit_are_refused_in_words() {
    let json = |text: &str| {
        let source = ValuesSource { set_json: vec![text.to_owned()], ..ValuesSource::default() };
        Values::load(&source).unwrap_err().to_string()
    };
    let mut texts = Vec::new();
    for number in
        ["1e999", "NaN", ".inf", "-1.5", "99999999999999999999", "4294967296", "0x10", "five", "{1}"]
    {
        for key in ["tcp.autoscaling.maxReplicas", "tcp.port", "metrics.window", "tcp.resources.requests.cpu"]
        {
            if key.ends_with("cpu") && number == "4294967296" {
                continue;
            }
            texts.push(problems(&[&format!("{key}={number}")]));
        }
    }
    for number in ["1e300", "-1e-300", "99999999999999999999", "[1]", "{\"a\":1}", "true", "\"\""] {
        for key in
            ["tcp.autoscaling.maxReplicas", "tcp.port", "tcp.replicas", "tcp.autoscaling", "tcp.resources"]
        {
            texts.push(json(&format!("{key}={number}")));
        }
    }
    for text in texts {
        assert!(text.contains("expected ") || text.contains("known here"), "{text}");
        assert!(text.contains("(--set"), "{text}");
        for rust in
            ["struct", "enum", "i32", "u16", "f64", "variant", "invalid", "Option", "sequence", "line 1"]
        {
            assert!(!text.contains(rust), "{rust}: {text}");
        }
    }
    assert!(json("tcp.port=1e999").starts_with("--set-json tcp.port=1e999: not JSON: "));
}

#[test]
fn files_may_hold_anchors_and_are_named_where_they_are_no_yaml() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.yaml");
    let load = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        Values::load(&ValuesSource { files: vec![file.clone()], ..ValuesSource::default() })
    };
    let values = load(b"x-env: &env {A: 010}\ntcp: {env: *env}\nudp: {env: {<<: *env, B: yes}}\n").unwrap();
    assert_eq!(values.service("tcp").unwrap().env["A"], "8");
    assert_eq!(values.service("udp").unwrap().env["B"], "true");
    for (bytes, expected) in [
        (&b"tcp:\n\tport: 1"[..], "mine.yaml:2:1: a tab indents this line"),
        (b"\xff\xfet\0c\0p\0", "mine.yaml: the text is UTF-16; save it as UTF-8"),
        (b"tcp: {} # caf\xe9", "mine.yaml:1:14: the byte 0xe9 is not UTF-8"),
        (b"[1]", "mine.yaml:1:1: expected a mapping of keys to values"),
        (b"tcp: {}\n---\nudp: {}", "mine.yaml:3:1: a second document begins here"),
        (b"tcp: {}\ntcp: {}", "mine.yaml:2:1: the key tcp is given twice"),
    ] {
        let text = load(bytes).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn environments_are_printed_as_templates_print_them() {
    let Value::Object(mut merged) = Value::from(Values::builtin()) else { panic!("a table") };
    merged["tcp"]["env"] = json!({"A": 1, "B": true, "C": 1.5, "D": null, "E": "x", "F": 1_000_000.0});
    let values = Values::from_merged(merged).unwrap();
    let env: Vec<_> = values.service("tcp").unwrap().env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(env, ["A=1", "B=true", "C=1.5", "E=x", "F=1000000"]);
}

#[test]
fn values_survive_the_way_to_another_process() {
    let values = with(&["tcp.env.FOO=bar"]).unwrap();
    let text = serde_json::to_string(&values).unwrap();
    assert_eq!(serde_json::from_str::<Values>(&text).unwrap(), values);
    assert!(serde_json::from_str::<Values>("[]").unwrap_err().to_string().contains("expected the table"));
}

#[test]
fn files_are_named_with_their_lines() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.yaml");
    std::fs::write(&file, "tcp:\n  env:\n    A: 1\n  prot: 3\n").unwrap();
    let load = || Values::load(&ValuesSource { files: vec![file.clone()], ..ValuesSource::default() });
    let text = load().unwrap_err().to_string();
    assert!(text.starts_with("tcp.prot: unknown key; did you mean port? ("), "{text}");
    assert!(text.ends_with("mine.yaml:4)"), "{text}");
    std::fs::write(&file, "tcp: [\n").unwrap();
    assert!(load().unwrap_err().to_string().contains("mine.yaml:"));
    std::fs::remove_file(&file).unwrap();
    assert!(load().unwrap_err().to_string().starts_with("cannot read "));
}

#[test]
fn a_flag_that_is_no_pair_is_named() {
    assert_eq!(problems(&["tcp.port"]), "--set tcp.port: key \"port\" has no value");
    assert_eq!(problems(&["tcp.port.x=1"]).split(':').next(), Some("tcp.port"));
}

#[test]
fn the_trees_of_other_peoples_charts_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let chart = |path: &str, metadata: &str, values: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("Chart.yaml"), metadata).unwrap();
        std::fs::write(path.join("values.yaml"), values).unwrap();
    };
    let builtin = include_str!("../../../../helm-chart/values.yaml");
    chart("", "{apiVersion: v2, name: mine, version: 0.1.0}", builtin);
    chart("charts/mongodb", "{apiVersion: v2, name: mongodb, version: 1.0.0}", "anything: {goes: here}");
    chart("charts/tcp", "{apiVersion: v2, name: tcp, version: 1.0.0}", "env: {FROM_SUBCHART: 1}\nwrong: 1");
    let source = ValuesSource { chart_dir: Some(dir.path().to_owned()), ..ValuesSource::default() };
    let text = Values::load(&source).unwrap_err().to_string();
    assert!(text.starts_with("tcp.wrong: unknown key"), "{text}");
    assert!(text.ends_with("charts/tcp/values.yaml:2)"), "{text}");
    chart("charts/tcp", "{apiVersion: v2, name: tcp, version: 1.0.0}", "env: {FROM_SUBCHART: 1}");
    let values = Values::load(&source).unwrap();
    assert_eq!(values.service("tcp").unwrap().env["FROM_SUBCHART"], "1");
    assert_eq!(values.merged()["mongodb"]["anything"], json!({"goes": "here"}));
}

#[test]
fn ws_brings_its_listener_and_a_redis_wherever_that_is() {
    let off = with(&[]).unwrap();
    assert!(!off.has_redis() && off.listeners().all(|listener| listener.service != "ws"));
    let on = with(&["ws.enabled=true", "redis.address=[::1]:6380"]).unwrap();
    assert_eq!((on.has_redis(), on.redis.address.as_deref()), (true, Some("[::1]:6380")));
    let listener = on.listeners().find(|listener| listener.service == "ws").unwrap();
    assert_eq!((listener.port, listener.rules.policy), (8000, Policy::LeastRequestFullScan));
    assert_eq!(listener.rules.tunnel_timeout, Some(Duration::from_hours(1)));
    for address in ["there", "me:secret@there:1", "there:", "redis://there:1", "a b:1"] {
        let text = problems(&[&format!("redis.address={address}")]);
        assert!(text.contains("redis.address: expected host:port of a Redis"), "{address}: {text}");
    }
}

#[test]
fn metrics_come_from_a_prometheus_that_is_there() {
    let values = with(&["metrics.source=prometheus", "prometheus.enabled=true"]).unwrap();
    assert_eq!(values.metrics.source, MetricsSource::Prometheus);
    let text = problems(&["metrics.source=prometheus"]);
    assert!(text.contains("metrics.source: expected kernel, or prometheus.enabled=true beside it"), "{text}");
    let text = problems(&["metrics.source=graphite"]);
    assert!(text.contains("metrics.source: expected kernel or prometheus, got \"graphite\""), "{text}");
}
