//! `helm-chart/values.schema.json`: what the types refuse, Helm refuses, by the same rules.
//!
//! The schema itself is checked by a validator here; Helm is asked too where there is one (`HELM`, or on PATH).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use jsonschema::Validator;
use platform::values::{self, Values, ValuesSource};
use proptest::prelude::*;
use serde_json::{Value, json};

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../helm-chart")
}

fn validator() -> Validator {
    jsonschema::draft7::new(&values::schema()).unwrap()
}

fn source(set: &[&str]) -> ValuesSource {
    ValuesSource { set: set.iter().map(ToString::to_string).collect(), ..ValuesSource::default() }
}

#[test]
fn the_file_is_what_the_types_say() {
    let wanted = serde_json::to_string_pretty(&values::schema()).unwrap() + "\n";
    let file = chart().join("values.schema.json");
    if env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&file, &wanted).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(found == wanted, "helm-chart/values.schema.json is out of date; rewrite it with UPDATE_SCHEMA=1");
}

#[test]
fn the_charts_values_and_presets_are_accepted() {
    let validator = validator();
    let mut files: Vec<_> = fs::read_dir(chart()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let is_preset = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("values-");
    files.retain(|path| is_preset(path) && path.extension().is_some_and(|ending| ending == "yaml"));
    let sources = files.into_iter().map(|file| ValuesSource { files: vec![file], ..ValuesSource::default() });
    for source in sources.chain([ValuesSource::default()]) {
        Values::load(&source).unwrap_or_else(|error| panic!("{:?}: {error}", source.files));
        let merged = Value::Object(source.merged().unwrap());
        let refused: Vec<_> = validator.iter_errors(&merged).map(|error| error.to_string()).collect();
        assert!(refused.is_empty(), "{:?}: {refused:?}", source.files);
    }
}

/// Each with the table or key that is wrong.
const MISTAKES: &[(&[&str], &str)] = &[
    (&["tcp.port=70000"], "tcp.port"),
    (&["tcp.port=0"], "tcp.port"),
    (&["tcp.port=null"], "tcp"),
    (&["tcp.port=4e1x"], "tcp.port"),
    (&["tcp.enabled=maybe"], "tcp.enabled"),
    (&["tcp.replcas=3"], "tcp"),
    (&["tcp.replicas=2"], "tcp.replicas"),
    (&["tcp.autoscaling=null,tcp.replicas=251"], "tcp.replicas"),
    (&["tcp.autoscaling=null,tcp.replicas=1.5"], "tcp.replicas"),
    (&["tcp=false"], "tcp"),
    (&["tcp.env.2FAST=1"], "tcp.env"),
    (&["tcp.env.DIALECT[0]=a"], "tcp.env.DIALECT"),
    (&["tcp.env=many"], "tcp.env"),
    (&["tcp.resources.requests.cpu=lots"], "tcp.resources.requests.cpu"),
    (&["tcp.resources.requests.cpu=-1"], "tcp.resources.requests.cpu"),
    (&["tcp.resources.requests.gpu=1"], "tcp.resources.requests"),
    (&["tcp.probes.readiness.path=readyz"], "tcp.probes.readiness.path"),
    (&["tcp.probes.readiness.periodSeconds=0"], "tcp.probes.readiness.periodSeconds"),
    (&["tcp.probes.liveness.failureTreshold=3"], "tcp.probes.liveness"),
    (&["tcp.terminationGracePeriodSeconds=3601"], "tcp.terminationGracePeriodSeconds"),
    (&["tcp.autoscaling.maxReplicas=0"], "tcp.autoscaling.maxReplicas"),
    (&["tcp.autoscaling.maxReplicas=251"], "tcp.autoscaling.maxReplicas"),
    (&["tcp.autoscaling.maxReplicas=null"], "tcp.autoscaling"),
    (&["tcp.autoscaling.minReplicas=0"], "tcp.autoscaling.minReplicas"),
    (&["tcp.autoscaling.maxReplica=3"], "tcp.autoscaling"),
    (
        &["tcp.autoscaling.behavior.scaleUp.selectPolicy=Most"],
        "tcp.autoscaling.behavior.scaleUp.selectPolicy",
    ),
    (&["logger.port=1"], "logger"),
    (&["gateway.kind=nginx"], "gateway.kind"),
    (&["gateway.kind=null"], "gateway"),
    (&["gateway.policy=best"], "gateway.policy"),
    (&["gateway.maxConnections=0"], "gateway.maxConnections"),
    (&["gateway.maxConnections=1.5"], "gateway.maxConnections"),
    (&["gateway.health.fall=0"], "gateway.health.fall"),
    (&["gateway.health.interval=0s"], "gateway.health.interval"),
    (&["gateway.stallTimeout=never"], "gateway.stallTimeout"),
    (&["gateway.idleTimeout=60"], "gateway.idleTimeout"),
    (&["gateway.connectTimeout=1s1m"], "gateway.connectTimeout"),
    (&["gateway.connectTimeout=721h"], "gateway.connectTimeout"),
    (&["gateway.listeners[0]=tcp"], "gateway.listeners.0"),
    (&["gateway.listeners=none"], "gateway.listeners"),
    (&["gateway.listeners[0].name=a,gateway.listeners[0].port=1"], "gateway.listeners.0"),
    (&[LISTENER, "gateway.listeners[0].service=tpc"], "gateway.listeners.0.service"),
    (&[LISTENER, "gateway.listeners[0].service=udp"], "gateway.listeners.0.protocol"),
    (&[LISTENER, "gateway.listeners[0].protocol=tcp"], "gateway.listeners.0.protocol"),
    (&[LISTENER, "gateway.listeners[0].healh.fall=1"], "gateway.listeners.0"),
    (&[LISTENER, "gateway.listeners[0].health.fall=0"], "gateway.listeners.0.health.fall"),
    (&["kafka.broadcastTopic=a b"], "kafka.broadcastTopic"),
    (&["kafka.broker=x:9092"], "kafka"),
    (&["kafka.heap=lots"], "kafka.heap"),
    (&["kafka.image=apache/kafka"], "kafka.image"),
    (&["kafka.sasl.user="], "kafka.sasl.user"),
    (&["kafka.storage.size=big"], "kafka.storage.size"),
    (&["memcached.port=x"], "memcached.port"),
    (&["memcached.replicas=0"], "memcached.replicas"),
    (&["elasticsearch.url=localhost:9200"], "elasticsearch.url"),
    (&["elasticsearch.existingSecret=No Secret"], "elasticsearch.existingSecret"),
    (&["elasticsearch.kibana.enabled=1"], "elasticsearch.kibana.enabled"),
    (&["prometheus.operator=true"], "prometheus.url"),
    (&["prometheus.retention=long"], "prometheus.retention"),
    (&["prometheus.operatorLabels.release[0]=1"], "prometheus.operatorLabels.release"),
    (&["metrics.source=graphite"], "metrics.source"),
    (&["metrics.source=prometheus"], "prometheus.enabled"),
    (&["metrics.window=1"], "metrics.window"),
    (&["metrics=fast"], "metrics"),
    (&["image.pullPolicy=Sometimes"], "image.pullPolicy"),
    (&["image.tag=a b"], "image.tag"),
    (&["imagePullSecrets[0]=No Secret"], "imagePullSecrets.0"),
    (&["secrets.generate=perhaps"], "secrets.generate"),
    (&["monitoring.namespace=Monitoring"], "monitoring.namespace"),
    (&["networkPolicy.enable=true"], "networkPolicy"),
    (&["scheduling.tolerations[0].effect=NoWay"], "scheduling.tolerations.0.effect"),
    (&["cadvisor.image=cadvisor:"], "cadvisor.image"),
    (&["envoy.serviceType=Balancer"], "envoy.serviceType"),
    (&["envoy.externalIPs[0]=everywhere"], "envoy.externalIPs.0"),
    (&["frobnicate=1"], ""),
];

const LISTENER: &str = "gateway.listeners[0].name=a,gateway.listeners[0].protocol=TCP,gateway.listeners[0].port=1,\
                        gateway.listeners[0].service=tcp";

/// Rules between values that a schema cannot express; the chart's templates have them.
const BETWEEN: &[(&[&str], &str)] = &[
    (&["tcp.adminPort=40000"], "tcp.adminPort: expected another port than the service's own"),
    (
        &["tcp.autoscaling.minReplicas=6"],
        "tcp.autoscaling.maxReplicas: must be greater than or equal to `minReplicas`",
    ),
    (&["metrics.window=5s"], "metrics.window: expected at least the scrape interval"),
    (
        &[
            LISTENER,
            "gateway.listeners[1].name=b,gateway.listeners[1].protocol=TCP,gateway.listeners[1].port=1,gateway.listeners[1].service=tcp",
        ],
        "gateway.listeners[1].port: expected a TCP port that no other listener has",
    ),
];

/// What is unusual but right.
const RIGHT: &[&[&str]] = &[
    &["tcp.autoscaling=null", "tcp.replicas=0"],
    &["tcp.resources.requests.cpu=2", "tcp.resources.limits=null"],
    &["tcp.resources.requests.memory=1e9"],
    &["tcp.resources=null", "tcp.probes=null", "tcp.env=null"],
    &["tcp.env.BUFF_SIZE=null", "tcp.env.NEW=true", "tcp.podAnnotations.a=1"],
    &["tcp.global.x=2", "global.anything=1", "tags.some=true"],
    &["gateway.stallTimeout=0s", "gateway.idleTimeout=1h30m", "metrics.scrapeInterval=0.5s"],
    &[LISTENER, "gateway.listeners[0].policy=random", "gateway.listeners[0].health.rise=2"],
    &["kafka.brokers=a:9092", "elasticsearch.url=http://es:9200", "memcached.host=cache"],
    &["metrics.source=prometheus", "prometheus.enabled=true", "prometheus.retention=1d12h"],
    &["prometheus.operator=true", "prometheus.url=http://prometheus:9090"],
    &[
        "image.repository=registry.example.org:5000/team/playctl",
        "image.tag=0.1.0",
        "imagePullSecrets[0]=pull",
    ],
    &["kafka.image=registry.example.org:5000/apache/kafka:4.1.0", "kafka.storage.size=", "kafka.heap=2g"],
    &["scheduling.tolerations[0].key=gpu,scheduling.tolerations[0].operator=Exists"],
    &["envoy.externalIPs[0]=192.168.49.2", "envoy.host=::"],
];

/// Where the schema sees mistakes, as paths with dots.
fn refused_at(validator: &Validator, values: &Value) -> Vec<String> {
    let dotted = |error: jsonschema::ValidationError<'_>| {
        error.instance_path().to_string().trim_start_matches('/').replace('/', ".")
    };
    validator.iter_errors(values).map(dotted).collect()
}

#[test]
fn every_mistake_is_refused_by_the_types_and_by_the_schema() {
    let validator = validator();
    for (set, at) in MISTAKES {
        let source = source(set);
        let ours = Values::load(&source).expect_err(&format!("{set:?} is refused")).to_string();
        // The types name the key; the schema, for one that is unknown or missing, the table around it.
        let key = at.replace(".0", "[0]");
        assert!(ours.contains(&key), "{set:?}: {ours}");
        let found = refused_at(&validator, &Value::Object(source.merged().unwrap()));
        assert!(found.iter().any(|path| path == at), "{set:?}: refused at {found:?}");
    }
    for (set, message) in BETWEEN {
        let ours = Values::load(&source(set)).expect_err(&format!("{set:?} is refused")).to_string();
        assert!(ours.contains(message), "{set:?}: {ours}");
    }
    for set in RIGHT {
        let source = source(set);
        Values::load(&source).unwrap_or_else(|error| panic!("{set:?}: {error}"));
        let found = refused_at(&validator, &Value::Object(source.merged().unwrap()));
        assert!(found.is_empty(), "{set:?}: refused at {found:?}");
    }
}

/// The chart with its schema and its rules alone: what else it renders has rules of its own.
fn bare_chart() -> tempfile::TempDir {
    let bare = tempfile::tempdir().unwrap();
    fs::create_dir(bare.path().join("templates")).unwrap();
    fs::write(bare.path().join("Chart.yaml"), "{apiVersion: v2, name: playground, version: 0.1.0}").unwrap();
    fs::write(bare.path().join("values.schema.json"), values::schema().to_string()).unwrap();
    for file in ["values.yaml", "templates/rules.yaml"] {
        fs::copy(chart().join(file), bare.path().join(file)).unwrap();
    }
    bare
}

#[test]
fn helm_refuses_the_same_mistakes() {
    let on_path =
        || env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join("helm")).find(|path| path.is_file());
    let Some(helm) = env::var_os("HELM").map(PathBuf::from).or_else(on_path) else { return };
    let bare = bare_chart();
    let render = |set: &[&str]| {
        let mut command = Command::new(&helm);
        command.args(["template", "release"]).arg(bare.path());
        let output = command.args(set.iter().flat_map(|text| ["--set", text])).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (set, at) in MISTAKES {
        let (accepted, said) = render(set);
        let pointer = format!("'/{}'", at.replace('.', "/"));
        // Helm's validator knows no place for a wrong name in a table.
        let is_named = said.contains(&pointer) || said.contains("invalid propertyName") || at.is_empty();
        assert!(
            !accepted && said.contains("values don't meet the specifications") && is_named,
            "{set:?}: {said}"
        );
    }
    for (set, message) in BETWEEN {
        let (accepted, said) = render(set);
        assert!(!accepted && said.contains(message), "{set:?}: {said}");
    }
    for set in RIGHT {
        let (accepted, said) = render(set);
        assert!(accepted, "{set:?}: {said}");
    }
}

/// Keys with a value of each kind.
const KEYS: &[&str] = &[
    "tcp.port",
    "tcp.enabled",
    "tcp.resources.requests.cpu",
    "tcp.probes.readiness.path",
    "tcp.terminationGracePeriodSeconds",
    "tcp.autoscaling.maxReplicas",
    "tcp.autoscaling.minReplicas",
    "gateway.policy",
    "gateway.idleTimeout",
    "gateway.stallTimeout",
    "gateway.maxConnections",
    "kafka.broadcastTopic",
    "kafka.heap",
    "kafka.image",
    "kafka.storage.size",
    "elasticsearch.url",
    "envoy.host",
    "image.tag",
    "imagePullSecrets",
    "monitoring.namespace",
    "prometheus.retention",
];

fn anything() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[0-9]{0,3}(\\.[0-9]{0,2})?(h|m|s|ms|us|k|Ki|Mi|e3|n|)",
        "([0-9]{1,2}(h|m|s|ms|d)){1,3}",
        "(/|http://|::)?[a-z0-9:.-]{0,8}",
        "(TCP|playctl|random|least-request|true|512m|a/b:c)",
        ".{0,4}",
    ];
    prop_oneof![
        4 => text.prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        2 => (-3_i64..100_000).prop_map(Value::from),
        1 => (-2.0..9.0_f64).prop_map(Value::from),
        1 => Just(json!(60.0)),
        1 => Just(json!([])),
        1 => Just(json!({})),
        1 => Just(json!(["a"])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever stands at a key, both have the same opinion of it.
    #[test]
    fn types_and_schema_agree_about_any_value(key in prop::sample::select(KEYS), value in anything()) {
        thread_local!(static VALIDATOR: Validator = validator());
        let flag = ValuesSource { set_json: vec![format!("{key}={value}")], ..ValuesSource::default() };
        let ours = Values::load(&flag).map(drop).map_err(|error| error.to_string());
        let merged = Value::Object(flag.merged().unwrap());
        let found = VALIDATOR.with(|validator| refused_at(validator, &merged));
        let is_between = ours.as_ref().err().is_some_and(|error| BETWEEN.iter().any(|(_, message)| error.contains(message)));
        prop_assert!(ours.is_ok() == found.is_empty() || is_between, "{key}={value}: {ours:?}, schema at {found:?}");
    }
}
