//! Values as Helm computes them: recorded cases always, and random ones if a `helm` is available.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    cell::Cell,
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use platform::values::{ValuesSource, helm};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/helm")
}

/// Normalises numbers, which are all floating-point to Helm.
fn normal(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(list) => list.iter().map(normal).collect(),
        Value::Object(table) => table.iter().map(|(key, value)| (key.clone(), normal(value))).collect(),
        other => other.clone(),
    }
}

/// The values, or null where they are refused.
fn ours(source: &ValuesSource) -> (Value, String) {
    match source.merged() {
        Ok(values) => (normal(&Value::Object(values)), String::new()),
        Err(error) => (Value::Null, error.to_string()),
    }
}

fn helm_binary() -> Option<PathBuf> {
    let named = env::var_os("HELM").map(PathBuf::from);
    let on_path =
        || env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join("helm")).find(|path| path.is_file());
    named.or_else(on_path)
}

/// The values that a template of the chart sees; null where Helm refuses them.
fn helms(binary: &Path, source: &ValuesSource) -> (Value, String) {
    let copy = tempfile::tempdir().unwrap();
    let chart = copy.path().join("chart");
    copy_dir(source.chart_dir.as_deref().unwrap(), &chart);
    // Only the values matter here, and the chart's own templates and schema would reject more of them.
    let _ = fs::remove_dir_all(chart.join("templates"));
    let _ = fs::remove_file(chart.join("values.schema.json"));
    fs::create_dir_all(chart.join("templates")).unwrap();
    fs::write(chart.join("templates/values.yaml"), "kind: Values\nvalues: {{ toJson .Values }}\n").unwrap();
    let mut command = Command::new(binary);
    command
        .args(["template", "release", "--kube-version", "1.34"])
        .arg(&chart)
        .current_dir(here().join("files"));
    for file in &source.files {
        command.arg("-f").arg(file);
    }
    for (flag, texts) in [
        ("--set", &source.set),
        ("--set-string", &source.set_string),
        ("--set-json", &source.set_json),
        ("--set-file", &source.set_file),
        ("--set-literal", &source.set_literal),
    ] {
        for text in texts {
            command.arg(flag).arg(text);
        }
    }
    let output = command.output().expect("helm runs");
    if !output.status.success() {
        return (Value::Null, String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let json = text.lines().find_map(|line| line.strip_prefix("values: ")).expect("the template's line");
    (normal(&serde_json::from_str(json).unwrap()), String::new())
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn cases() -> BTreeMap<String, ValuesSource> {
    let text = fs::read_to_string(here().join("cases.yaml")).unwrap();
    let cases = helm::chart::parse("cases.yaml", &text).unwrap().values;
    cases.into_iter().map(|(name, case)| (name, case_source(&case))).collect()
}

fn case_source(case: &Value) -> ValuesSource {
    let texts = |key: &str| -> Vec<String> {
        let list = case.get(key).map(|list| list.as_array().unwrap().as_slice()).unwrap_or_default();
        list.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let files = here().join("files");
    let chart = match case.get("chart").and_then(Value::as_str) {
        Some("ours") => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../helm-chart"),
        _ => here().join("charts/umbrella"),
    };
    ValuesSource {
        chart_dir: Some(chart),
        files: texts("files").iter().map(|file| files.join(file)).collect(),
        set: texts("set"),
        set_string: texts("set_string"),
        set_json: texts("set_json"),
        set_file: texts("set_file")
            .iter()
            .map(|text| text.replace('=', &format!("={}/", files.display())))
            .collect(),
        set_literal: texts("set_literal"),
    }
}

/// Compares with `golden.json`; with `RECORD_HELM` set, records it again from the `helm` named by `HELM`.
#[test]
fn golden() {
    let golden = here().join("golden.json");
    let cases = cases();
    if env::var_os("RECORD_HELM").is_some() {
        let binary = helm_binary().expect("HELM names a helm");
        let recorded: Map<_, _> = cases
            .iter()
            .map(|(name, source)| match helms(&binary, source) {
                (Value::Null, refusal) => (name.clone(), json!({"refused": refusal.trim()})),
                (values, _) => (name.clone(), json!({"values": values})),
            })
            .collect();
        fs::write(&golden, serde_json::to_string_pretty(&recorded).unwrap() + "\n").unwrap();
    }
    let recorded: BTreeMap<String, Value> =
        serde_json::from_str(&fs::read_to_string(&golden).unwrap()).unwrap();
    assert_eq!(
        cases.keys().collect::<Vec<_>>(),
        recorded.keys().collect::<Vec<_>>(),
        "run tests/helm/record.sh after a change of cases.yaml"
    );
    for (name, source) in &cases {
        let (ours, error) = ours(source);
        let helms = recorded[name].get("values").unwrap_or(&Value::Null);
        assert_eq!(&ours, helms, "case {name}; ours: {error}; Helm's: {}", recorded[name]["refused"]);
    }
}

/// A value of a chart or of a file. Few names, so that they collide.
fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        3 => Just(Value::Null),
        2 => (0..3_i64).prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        2 => "[xyz]{1,2}".prop_map(Value::from),
    ];
    scalar.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            4 => prop::collection::btree_map(name(), inner.clone(), 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
            1 => prop::collection::vec(inner, 0..3).prop_map(Value::Array),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("a"),
        Just("b"),
        Just("sub"),
        Just("deep"),
        Just("global"),
        Just("enabled"),
        Just("tags")
    ]
    .prop_map(str::to_owned)
}

fn table() -> impl Strategy<Value = Value> {
    prop::collection::btree_map(name(), value(), 0..5)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

fn pair() -> impl Strategy<Value = String> {
    let step = prop_oneof![
        6 => name().prop_map(|name| format!(".{name}")),
        1 => (0..3_u8).prop_map(|index| format!("[{index}]")),
    ];
    let value =
        prop_oneof![Just("null"), Just("1"), Just("x"), Just("{1,x}"), Just(""), Just("true"), Just(r"a\,b")];
    (name(), prop::collection::vec(step, 0..4), value)
        .prop_map(|(name, steps, value)| format!("{name}{}={value}", steps.concat()))
}

/// A chart with a subchart in a subchart, two files, and flags.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "switches of a generator, each on its own")]
struct Random {
    charts: [Value; 3],
    declared: bool,
    condition: bool,
    alias: bool,
    tags: bool,
    imports: bool,
    files: Vec<Value>,
    set: Vec<String>,
    set_string: Vec<String>,
}

fn random() -> impl Strategy<Value = Random> {
    let chart = ([table(), table(), table()], prop::array::uniform5(any::<bool>()));
    let user = (
        prop::collection::vec(table(), 0..3),
        prop::collection::vec(pair(), 0..3),
        prop::collection::vec(pair(), 0..2),
    );
    (chart, user).prop_map(|((charts, switches), (files, set, set_string))| {
        let [declared, condition, alias, tags, imports] = switches;
        Random { charts, declared, condition, alias, tags, imports, files, set, set_string }
    })
}

impl Random {
    fn write(&self, dir: &Path) -> ValuesSource {
        for (path, name, below, values) in [
            ("chart", "top", Some("sub"), &self.charts[0]),
            ("chart/charts/sub", "sub", Some("deep"), &self.charts[1]),
            ("chart/charts/sub/charts/deep", "deep", None, &self.charts[2]),
        ] {
            let path = dir.join(path);
            fs::create_dir_all(&path).unwrap();
            let mut metadata = json!({"apiVersion": "v2", "name": name, "version": "1.0.0"});
            if let Some(below) = below.filter(|_| self.declared) {
                let mut dependency = json!({"name": below, "version": "*"});
                if self.condition {
                    dependency["condition"] = json!(format!("{below}.enabled"));
                }
                if self.alias && below == "sub" {
                    dependency["alias"] = json!("b");
                }
                if self.tags {
                    dependency["tags"] = json!(["a", "enabled"]);
                }
                if self.imports {
                    dependency["import-values"] = json!([{"child": "a", "parent": "b.a"}, "x"]);
                }
                metadata["dependencies"] = json!([dependency]);
            }
            fs::write(path.join("Chart.yaml"), metadata.to_string()).unwrap();
            fs::write(path.join("values.yaml"), values.to_string()).unwrap();
        }
        let file = |(index, values): (usize, &Value)| {
            let path = dir.join(format!("{index}.yaml"));
            fs::write(&path, values.to_string()).unwrap();
            path
        };
        ValuesSource {
            chart_dir: Some(dir.join("chart")),
            files: self.files.iter().enumerate().map(file).collect(),
            set: self.set.clone(),
            set_string: self.set_string.clone(),
            ..ValuesSource::default()
        }
    }
}

#[test]
fn random_charts_agree_with_helm() {
    let Some(binary) = helm_binary() else {
        eprintln!("SKIPPED: no helm on the path and HELM is not set; only the recorded cases were compared");
        return;
    };
    let cases = env::var("HELM_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(48);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let accepted = Cell::new(0);
    proptest!(config, |(random in random())| {
        let dir = tempfile::tempdir().unwrap();
        let source = random.write(dir.path());
        let (ours, error) = ours(&source);
        let (helms, refusal) = helms(&binary, &source);
        accepted.set(accepted.get() + u32::from(!helms.is_null()));
        prop_assert_eq!(ours, helms, "{} / {}", error, refusal);
    });
    assert!(accepted.get() > cases / 4, "Helm refused nearly everything: the cases say nothing");
}
