//! `playctl` accepts every preset of the chart, and every scenario has one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use platform::values::{Values, ValuesSource, preset_of};

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../helm-chart")
}

fn with_file(file: PathBuf) -> Values {
    let name = file.display().to_string();
    let source = ValuesSource { files: vec![file], ..ValuesSource::default() };
    Values::load(&source).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn every_preset_is_valid() {
    let mut presets = 0;
    for entry in fs::read_dir(chart()).expect("the chart is there") {
        let path = entry.expect("readable").path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with("values-") && path.extension().is_some_and(|kind| kind == "yaml") {
            with_file(path);
            presets += 1;
        }
    }
    assert!(presets > 4, "{presets} presets");
}

#[test]
fn every_scenario_has_a_preset_with_its_settings() {
    // stream-churn runs on the preset streams with its own values, which the command that brings up its platform sets.
    for (name, _) in scenario::names().filter(|(name, _)| *name != "stream-churn") {
        let scenario = scenario::find(name).expect("built in");
        let values = scenario.values.iter().filter(|needed| needed.is_value());
        let set = values.map(ToString::to_string).collect();
        let named = scenario.preset.map(|preset| chart().join(format!("values-{preset}.yaml")));
        // A preset that the scenario names may set more.
        let files = named.iter().cloned().collect();
        let wanted = Values::load(&ValuesSource { files, set, ..ValuesSource::default() }).expect("valid");
        let preset = with_file(named.unwrap_or_else(|| chart().join(format!("values-{name}.yaml"))));
        let services = |values: &Values| values.services().cloned().collect::<Vec<_>>();
        assert_eq!(services(&preset), services(&wanted), "{name}");
        assert_eq!(preset.kafka, wanted.kafka, "{name}");
    }
}

#[test]
fn the_name_of_a_scenario_stands_for_the_preset_that_it_names() {
    for (name, _) in scenario::names() {
        let preset = scenario::find(name).expect("built in").preset.unwrap_or_else(|| name.to_owned());
        assert_eq!(preset_of(name), preset, "{name}");
        let values = chart().join(format!("values-{preset}.yaml"));
        assert_eq!(with_file(name.into()), with_file(values), "{name}");
    }
    assert_eq!(preset_of("minikube"), "minikube");
}
