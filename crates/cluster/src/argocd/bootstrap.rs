//! The app of apps and its project, from `argocd/bootstrap/`, and Argo CD's health checks, from `argocd/health.yaml`.
//! The files are compiled into this program: no checkout is needed, because Argo CD takes everything else from the
//! repository that it clones.

use std::collections::BTreeMap;

use platform::TargetError;
use serde_json::{Map, Value, json};

use super::application::Parameter;

const PROJECT: &str = include_str!("../../../../argocd/bootstrap/project.yaml");
const ROOT: &str = include_str!("../../../../argocd/bootstrap/root.yaml");
const VALUES: &str = include_str!("../../../../argocd/values.yaml");
const HEALTH: &str = include_str!("../../../../argocd/health.yaml");

/// The values to fill in.
#[derive(Debug, Clone)]
pub(super) struct Open<'a> {
    pub(super) repo: &'a str,
    pub(super) revision: &'a str,
    /// The namespace in which Argo CD runs.
    pub(super) namespace: &'a str,
}

/// A given parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) value: String,
    /// A string, even if it looks like a number.
    pub(super) is_text: bool,
}

/// The project of the app of apps.
pub(super) fn project(open: &Open<'_>) -> Result<Value, TargetError> {
    let mut project = read("argocd/bootstrap/project.yaml", PROJECT)?;
    fill(&mut project, open);
    Ok(project)
}

/// The app of apps. `present` parameters that are not `given` stay unchanged.
pub(super) fn root(
    open: &Open<'_>,
    present: &[Parameter],
    given: &BTreeMap<String, Given>,
) -> Result<Value, TargetError> {
    let mut root = read("argocd/bootstrap/root.yaml", ROOT)?;
    fill(&mut root, open);
    let Some(Value::Array(parameters)) = root.pointer_mut("/spec/source/helm/parameters") else {
        return Err(TargetError::other("argocd/bootstrap/root.yaml has no list spec.source.helm.parameters"));
    };
    let own = |name: &str| matches!(name, "repoURL" | "revision");
    let kept = present.iter().filter(|one| !own(&one.name) && !given.contains_key(&one.name));
    let kept = kept.map(|one| parameter(&one.name, &one.value, one.force_string));
    let given = given.iter().map(|(name, given)| parameter(name, &given.value, given.is_text));
    let mut all: Vec<Value> = kept.chain(given).collect();
    // Sorted, because the same parameters in another order would be a change.
    all.sort_by(|one, other| one["name"].as_str().cmp(&other["name"].as_str()));
    parameters.extend(all);
    Ok(root)
}

/// The prefix of the root application's parameters that are passed on to the platform's chart.
const OF_CHART: &str = "parameters.";

/// What the app of apps passes to the chart.
#[derive(Debug)]
pub(super) struct Told {
    /// Values files.
    pub(super) presets: Vec<String>,
    /// Override those of the files.
    pub(super) values: Vec<(String, Given)>,
}

/// Reads what the app of apps passes to the chart.
pub(super) fn told(root: &Value) -> Result<Told, TargetError> {
    let parameters = root.pointer("/spec/source/helm/parameters").cloned().unwrap_or_default();
    let parameters: Vec<Parameter> = serde_json::from_value(parameters).map_err(TargetError::other)?;
    let presets = parameters.iter().find(|one| one.name == "presets").map(|one| one.value.clone());
    let usual = read("argocd/values.yaml", VALUES)?["presets"].as_str().unwrap_or_default().to_owned();
    let presets = presets.unwrap_or(usual).split(',').map(|preset| preset.trim().to_owned()).collect();
    let values = parameters.into_iter().filter_map(|one| {
        let key = one.name.strip_prefix(OF_CHART)?.replace("\\.", ".");
        Some((key, Given { value: one.value, is_text: one.force_string }))
    });
    Ok(Told { presets, values: values.collect() })
}

/// The root application's parameter for a value of the platform's chart.
pub(super) fn of_chart(key: &str) -> String {
    format!("{OF_CHART}{}", key.replace('.', "\\."))
}

fn parameter(name: &str, value: &str, force_string: bool) -> Value {
    let mut parameter = json!({"name": name, "value": value});
    if force_string {
        parameter["forceString"] = Value::Bool(true);
    }
    parameter
}

/// The keys that Argo CD's configuration needs.
pub(super) fn health() -> Result<Map<String, Value>, TargetError> {
    match read("argocd/health.yaml", HEALTH)?.get_mut("data").map(Value::take) {
        Some(Value::Object(data)) => Ok(data),
        _ => Err(TargetError::other("argocd/health.yaml has no data")),
    }
}

fn read(name: &str, text: &str) -> Result<Value, TargetError> {
    Ok(yaml::read(name, text).map_err(TargetError::other)?.value)
}

/// Fills in values rather than text, so that no address can become part of the syntax.
fn fill(value: &mut Value, open: &Open<'_>) {
    match value {
        Value::String(text) => match text.as_str() {
            "REPO_URL" => open.repo.clone_into(text),
            "REVISION" => open.revision.clone_into(text),
            _ => {}
        },
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, open)),
        Value::Object(table) => {
            for (key, value) in table {
                match value {
                    Value::String(namespace) if key == "namespace" => open.namespace.clone_into(namespace),
                    value => fill(value, open),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Open<'_> = Open { repo: "https://h.example/x: {y}", revision: "main", namespace: "gitops" };

    fn parameters(root: &Value) -> Vec<(String, String)> {
        let list = root["spec"]["source"]["helm"]["parameters"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        list.iter().map(|one| (text(&one["name"]), text(&one["value"]))).collect()
    }

    #[test]
    fn nothing_is_left_open() {
        let root = root(&OPEN, &[], &BTreeMap::new()).unwrap();
        let project = project(&OPEN).unwrap();
        for value in [&root, &project] {
            let text = value.to_string();
            assert!(!text.contains("REPO_URL") && !text.contains("REVISION"), "{text}");
            assert_eq!(value["metadata"]["namespace"], "gitops");
        }
        assert_eq!(root["spec"]["source"]["repoURL"], OPEN.repo);
        assert_eq!(root["spec"]["source"]["targetRevision"], "main");
        assert_eq!(root["spec"]["destination"]["namespace"], "gitops");
        assert_eq!(project["spec"]["sourceRepos"], json!([OPEN.repo]));
        assert_eq!(project["spec"]["destinations"][0]["namespace"], "gitops");
        let expected = [("repoURL", OPEN.repo), ("revision", "main")];
        assert_eq!(parameters(&root), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn what_is_not_given_again_stays_and_the_order_does_not_depend_on_when_it_was_given() {
        let given = |pairs: &[(&str, &str)]| -> BTreeMap<String, Given> {
            let given =
                |name: &str, value: &str| Given { value: value.to_owned(), is_text: name.contains("tag") };
            pairs.iter().map(|(name, value)| ((*name).to_owned(), given(name, value))).collect()
        };
        let tag = of_chart("image.tag");
        assert_eq!(tag, "parameters.image\\.tag");
        let first = root(&OPEN, &[], &given(&[("sync.prune", "true"), (&tag, "1")])).unwrap();
        let present: Vec<Parameter> =
            serde_json::from_value(first["spec"]["source"]["helm"]["parameters"].clone()).unwrap();
        assert!(present.iter().any(|one| one.name == tag && one.force_string), "{present:?}");
        let second = root(&OPEN, &present, &given(&[(&tag, "2"), ("presets", "a,b")])).unwrap();
        let names: Vec<(String, String)> = parameters(&second).split_off(2);
        let expected = [(tag.as_str(), "2"), ("presets", "a,b"), ("sync.prune", "true")];
        assert_eq!(names, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let Told { presets, values } = told(&second).unwrap();
        assert_eq!(presets, ["a", "b"]);
        assert_eq!(values, [("image.tag".to_owned(), Given { value: "2".to_owned(), is_text: true })]);
        assert_eq!(told(&first).unwrap().presets, ["values-minikube.yaml"]);
        let again = root(&OPEN, &present, &given(&[("sync.prune", "true")])).unwrap();
        assert_eq!(again, first);
    }

    #[test]
    fn the_health_of_what_argo_cd_misjudges_is_part_of_this_program() {
        let keys: Vec<String> = health().unwrap().keys().cloned().collect();
        assert!(keys.iter().all(|key| key.starts_with("resource.customizations.health.")), "{keys:?}");
        assert!(keys.len() >= 2);
    }
}
