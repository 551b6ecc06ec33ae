//! The chart and the table of services agree: a service that is missing somewhere is named with the place.

use std::{
    fs,
    path::{Path, PathBuf},
};

use platform::{ServiceKind, services::PodsMetric};

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../helm-chart")
}

fn text(file: &str) -> String {
    fs::read_to_string(chart().join(file)).unwrap_or_else(|error| panic!("helm-chart/{file}: {error}"))
}

#[test]
fn every_service_has_its_place_everywhere() {
    let (dependencies, values, adapter, rules) =
        (text("Chart.yaml"), text("values.yaml"), text("files/adapter.yaml"), text("files/rules.yaml"));
    for kind in ServiceKind::ALL {
        let name = kind.name();
        let dependency = format!("name: {name}, version: 0.1.0, condition: {name}.enabled");
        assert!(dependencies.contains(&dependency), "Chart.yaml has no `{dependency}`");
        assert!(values.contains(&format!("\n{name}:\n")), "values.yaml has no table {name}");
        let templates = text(&format!("charts/{name}/templates/_{name}.tpl"));
        for definition in ["objects", "needs"] {
            let definition = format!("define \"{name}.{definition}\"");
            assert!(templates.contains(&definition), "charts/{name} has no `{definition}`");
        }
        if let Some(metric) = kind.row().metric {
            let metric = metric.name();
            assert!(
                adapter.contains(&format!("as: {metric}\n")),
                "files/adapter.yaml does not serve {metric}"
            );
            let is_series = kind.row().metric.and_then(PodsMetric::series) == Some(metric);
            assert!(
                is_series || rules.contains(&format!("record: {metric}\n")),
                "files/rules.yaml does not record {metric}"
            );
            assert!(values.contains(&format!("name: {metric}\n")), "values.yaml does not scale by {metric}");
        }
    }
}
