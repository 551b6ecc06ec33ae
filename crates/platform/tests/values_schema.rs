//! `helm-chart/values.schema.json`: the types and Helm refuse the same values, by the same rules.
//!
//! A validator checks the schema here; `values_helm.rs` asks Helm.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "values/mistakes.rs"]
mod mistakes;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use jsonschema::Validator;
use platform::values::{self, Values, ValuesSource};
use proptest::prelude::*;
use serde_json::{Value, json};

use mistakes::{BETWEEN, MISTAKES, RIGHT, SEVERAL};

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
fn the_schema_file_matches_the_types() {
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

/// The locations of the schema's errors, as paths with dots.
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
        // The types name the key; for an unknown or missing one, the schema names the surrounding table.
        let key = at.replace(".0", "[0]");
        assert!(ours.contains(&key), "{set:?}: {ours}");
        let found = refused_at(&validator, &Value::Object(source.merged().unwrap()));
        assert!(found.iter().any(|path| path == at), "{set:?}: refused at {found:?}");
    }
    for (set, all) in SEVERAL {
        let source = source(set);
        let ours = Values::load(&source).expect_err(&format!("{set:?} is refused")).to_string();
        let found = refused_at(&validator, &Value::Object(source.merged().unwrap()));
        for at in *all {
            let key = at.replace(".0", "[0]").replace(".1", "[1]");
            let is_told = |line: &str| line.starts_with(&format!("{key}: "));
            assert!(ours.lines().any(is_told), "{set:?}: {key} is missing in: {ours}");
            assert!(found.iter().any(|path| path == at), "{set:?}: {at} is missing in {found:?}");
        }
        assert_eq!(ours.lines().count(), all.len(), "{set:?}: nothing is made up: {ours}");
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

    /// The types and the schema agree about any value of any key.
    #[test]
    fn types_and_schema_agree_about_any_value(key in prop::sample::select(KEYS), value in anything()) {
        thread_local!(static VALIDATOR: Validator = validator());
        let flag = ValuesSource { set_json: vec![format!("{key}={value}")], ..ValuesSource::default() };
        let ours = Values::load(&flag).map(drop).map_err(|error| error.to_string());
        let merged = Value::Object(flag.merged().unwrap());
        let found = VALIDATOR.with(|validator| refused_at(validator, &merged));
        // A limit below its request is refused only by the API server, not by the schema.
        let between = || BETWEEN.iter().map(|(_, message)| *message).chain(["expected at least the request"]);
        let is_between = ours.as_ref().err().is_some_and(|error| between().any(|message| error.contains(message)));
        prop_assert!(ours.is_ok() == found.is_empty() || is_between, "{key}={value}: {ours:?}, schema at {found:?}");
    }
}
