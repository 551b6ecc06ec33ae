//! The chart's presets, by name: `-f minikube` is its `values-minikube.yaml`.

use std::path::Path;

use super::helm::chart::{ChartError, read};

/// The built-in chart's presets.
const PRESETS: [(&str, &str); 16] = [
    ("balancer", include_str!("../../../../helm-chart/values-balancer.yaml")),
    ("broadcast", include_str!("../../../../helm-chart/values-broadcast.yaml")),
    ("broker-down", include_str!("../../../../helm-chart/values-broker-down.yaml")),
    ("compat", include_str!("../../../../helm-chart/values-compat.yaml")),
    ("drain", include_str!("../../../../helm-chart/values-drain.yaml")),
    ("minikube", include_str!("../../../../helm-chart/values-minikube.yaml")),
    ("node-add", include_str!("../../../../helm-chart/values-node-add.yaml")),
    ("page", include_str!("../../../../helm-chart/values-page.yaml")),
    ("production", include_str!("../../../../helm-chart/values-production.yaml")),
    ("rebalance-10k", include_str!("../../../../helm-chart/values-rebalance-10k.yaml")),
    ("socketz", include_str!("../../../../helm-chart/values-socketz.yaml")),
    ("streams", include_str!("../../../../helm-chart/values-streams.yaml")),
    ("tcp-10k", include_str!("../../../../helm-chart/values-tcp-10k.yaml")),
    ("udp-burst", include_str!("../../../../helm-chart/values-udp-burst.yaml")),
    ("ws", include_str!("../../../../helm-chart/values-ws.yaml")),
    ("ws-storm", include_str!("../../../../helm-chart/values-ws-storm.yaml")),
];

/// Scenarios whose files name a preset that is called otherwise, and that preset. `tests/presets.rs` of the crate scenario
/// compares them with the files.
const SCENARIOS: [(&str, &str); 7] = [
    ("kill-server", "socketz"),
    ("stream-6", "streams"),
    ("stream-churn", "streams"),
    ("ws-hard-limit", "balancer"),
    ("ws-scale-in", "balancer"),
    ("ws-scale-out", "balancer"),
    ("ws-swiss-cheese", "balancer"),
];

/// The name of the preset that a scenario of this name runs on; any other name stays as it is.
pub fn preset_of(name: &str) -> &str {
    SCENARIOS.iter().find(|(scenario, _)| *scenario == name).map_or(name, |(_, preset)| preset)
}

/// The names of the built-in chart's presets.
pub fn presets() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|(name, _)| *name)
}

/// The name for messages and the text of a values file. A file that exists comes before a preset of its name.
pub(super) fn text(file: &Path, chart: Option<&Path>) -> Result<(String, String), ChartError> {
    let from_file = |file: &Path| Ok((file.display().to_string(), read(file)?));
    let Some(name) = file.to_str().filter(|_| is_name(file) && !file.exists()) else {
        return from_file(file);
    };
    if let Some(chart) = chart {
        // Another chart may have a preset of the scenario's own name.
        let preset = |name: &str| chart.join(format!("values-{name}.yaml"));
        let mut presets = [preset(name), preset(preset_of(name))].into_iter();
        return from_file(&presets.find(|preset| preset.exists()).unwrap_or_else(|| file.to_owned()));
    }
    match PRESETS.iter().find(|(preset, _)| *preset == preset_of(name)) {
        Some((preset, text)) => Ok((format!("preset {preset}"), (*text).to_owned())),
        None => from_file(file).map_err(|source| unknown(name, source)),
    }
}

/// It has neither a folder nor an extension.
fn is_name(file: &Path) -> bool {
    file.components().count() == 1 && file.extension().is_none()
}

fn unknown(name: &str, error: ChartError) -> ChartError {
    let ChartError::Read { path, source } = error else { return error };
    let all = || presets().collect::<Vec<_>>().join(", ");
    let known = presets().chain(SCENARIOS.iter().map(|(scenario, _)| *scenario));
    let hint = yaml::nearest(name, known).map_or_else(all, |nearest| format!("did you mean {nearest}?"));
    let message = format!("{source}, and the chart has no preset of that name ({hint})");
    ChartError::Read { path, source: std::io::Error::new(source.kind(), message) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::values::{Values, ValuesSource};

    fn load(file: &str) -> Result<Values, String> {
        let source = ValuesSource { files: vec![file.into()], ..ValuesSource::default() };
        Values::load(&source).map_err(|error| error.to_string())
    }

    #[test]
    fn every_preset_of_the_chart_is_known_by_its_name() {
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../helm-chart");
        let mut names: Vec<String> = fs::read_dir(&chart)
            .unwrap()
            .filter_map(|entry| {
                let name = entry.unwrap().file_name().into_string().unwrap();
                Some(name.strip_prefix("values-")?.strip_suffix(".yaml")?.to_owned())
            })
            .collect();
        names.sort();
        assert_eq!(names, PRESETS.map(|(name, _)| name));
        for name in names {
            let by_file = load(chart.join(format!("values-{name}.yaml")).to_str().unwrap()).unwrap();
            assert_eq!(load(&name).unwrap(), by_file, "{name}");
        }
    }

    #[test]
    fn a_scenario_without_a_preset_of_its_name_has_the_one_that_it_names() {
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../helm-chart");
        for (scenario, preset) in SCENARIOS {
            assert!(!presets().any(|known| known == scenario), "{scenario} has a preset of its own");
            assert!(load(scenario).unwrap() == load(preset).unwrap(), "{scenario}");
            let in_folder = |name: &str| {
                let (chart_dir, files) = (Some(chart.clone()), vec![name.into()]);
                Values::load(&ValuesSource { chart_dir, files, ..ValuesSource::default() }).unwrap()
            };
            assert!(in_folder(scenario) == in_folder(preset), "{scenario} of a chart's folder");
        }
        assert!(load("kill-server").unwrap() != load("stream-6").unwrap(), "presets differ");
        let error = load("ws-swis-cheese").unwrap_err();
        assert!(error.contains("did you mean ws-swiss-cheese?"), "{error}");
    }

    #[test]
    fn an_unknown_preset_gets_the_nearest_name() {
        let error = load("minikub").unwrap_err();
        assert!(error.contains("minikub") && error.contains("did you mean minikube?"), "{error}");
        assert!(!load("no/such/minikub").unwrap_err().contains("preset"), "a path is a path");
    }
}
