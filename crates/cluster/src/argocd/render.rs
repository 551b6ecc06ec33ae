//! An application's desired state, rendered as Argo CD's repo server does it: by `helm template` of the application's
//! folder.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use platform::TargetError;
use serde_json::Value;

use super::{
    api::{failed, invalid},
    application::Application,
    program::{self, Call, HELM},
};

const LIMIT: Duration = Duration::from_mins(2);

/// The objects that an application gets from a checkout of its repository, without hooks, which run during a sync and
/// are not compared.
pub(super) async fn objects(
    application: &Application,
    checkout: &Path,
    kubernetes: &str,
) -> Result<Vec<Value>, TargetError> {
    let (name, source) = (application.name(), &application.spec.source);
    if !application.spec.sources.is_empty() || !source.chart.is_empty() {
        return failed(format!(
            "application {name} is not made of one folder of a repository, which is all that diff supports"
        ));
    }
    let root = checkout.canonicalize().map_err(|error| TargetError::Invalid {
        message: format!("{} cannot be read: {error}", checkout.display()),
    })?;
    let folder = within(&root, &root.join(source.path.trim_start_matches('/')))?;
    if !folder.join("Chart.yaml").is_file() {
        return failed(format!("{} is not a Helm chart, which is all that diff supports", folder.display()));
    }
    let release = if source.helm.release_name.is_empty() { name } else { &source.helm.release_name };
    let mut call = Call::new(LIMIT, &["template", release, "--include-crds", "--kube-version", kubernetes])
        .arg("--namespace")
        .arg(&application.spec.destination.namespace);
    for file in &source.helm.value_files {
        if let Some(file) = value_file(&root, &folder, file, source.helm.ignore_missing_value_files)? {
            call = call.arg("--values").arg(file);
        }
    }
    let inline = inline(application)?;
    if let Some(file) = &inline {
        call = call.arg("--values").arg(file.path());
    }
    for parameter in &source.helm.parameters {
        call = call
            .arg(if parameter.force_string { "--set-string" } else { "--set" })
            .arg(assignment(&parameter.name, &parameter.value));
    }
    let rendered = program::run(HELM, &folder, call.arg("--").arg(&folder)).await;
    let what = format!("rendering {} for application {name}", source.path);
    let rendered = rendered.map_err(|failed| program::error(HELM, &failed, what))?;
    let documents = yaml::read_all("what helm rendered", &rendered).map_err(TargetError::other)?;
    Ok(documents.into_iter().map(|one| one.value).filter(|one| !one.is_null() && !is_hook(one)).collect())
}

fn is_hook(object: &Value) -> bool {
    let annotations = &object["metadata"]["annotations"];
    ["helm.sh/hook", "argocd.argoproj.io/hook"].iter().any(|hook| !annotations[*hook].is_null())
}

/// A path that must stay in the checkout, as in Argo CD.
fn within(root: &Path, path: &Path) -> Result<PathBuf, TargetError> {
    let real = path.canonicalize().map_err(|error| TargetError::Other {
        message: format!("{} cannot be read: {error}", path.display()),
    })?;
    if real.starts_with(root) {
        Ok(real)
    } else {
        failed(format!("{} is outside of the repository", path.display()))
    }
}

fn value_file(
    root: &Path,
    folder: &Path,
    file: &str,
    may_miss: bool,
) -> Result<Option<PathBuf>, TargetError> {
    if file.contains("://") {
        return invalid(format!(
            "the values file {file} is not in the repository, which is all that diff supports"
        ));
    }
    let path = match file.strip_prefix('/') {
        Some(from_root) => root.join(from_root),
        None => folder.join(file),
    };
    if may_miss && !path.exists() {
        return Ok(None);
    }
    within(root, &path).map(Some)
}

/// Values in the application itself.
fn inline(application: &Application) -> Result<Option<tempfile::NamedTempFile>, TargetError> {
    let helm = &application.spec.source.helm;
    let text = match &helm.values_object {
        Some(values) => values.to_string(),
        None if helm.values.is_empty() => return Ok(None),
        None => helm.values.clone(),
    };
    let written = tempfile::NamedTempFile::new().and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        Ok(file)
    });
    written
        .map(Some)
        .map_err(|error| TargetError::other(format!("could not write a temporary file: {error}")))
}

/// As Argo CD writes it: a comma belongs to the value, unless the value is a list.
pub(super) fn assignment(name: &str, value: &str) -> String {
    let mut text = format!("{name}=");
    if value.starts_with('{') && value.ends_with('}') {
        text.push_str(value);
        return text;
    }
    let mut before = None;
    for character in value.chars() {
        if character == ',' && before != Some('\\') {
            text.push('\\');
        }
        text.push(character);
        before = Some(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_comma_belongs_to_the_value() {
        for (value, expected) in
            [("a,b", "n=a\\,b"), ("{a,b}", "n={a,b}"), ("a\\,b", "n=a\\,b"), ("", "n="), (",", "n=\\,")]
        {
            assert_eq!(assignment("n", value), expected);
        }
    }

    #[test]
    fn files_stay_in_the_repository() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let chart = root.join("chart");
        std::fs::create_dir(&chart).unwrap();
        std::fs::write(chart.join("values.yaml"), "").unwrap();
        std::fs::write(root.join("above.yaml"), "").unwrap();
        let found = |file: &str| value_file(&root, &chart, file, false);
        assert_eq!(found("values.yaml").unwrap(), Some(chart.join("values.yaml")));
        assert_eq!(found("/above.yaml").unwrap(), Some(root.join("above.yaml")));
        assert_eq!(found("../above.yaml").unwrap(), Some(root.join("above.yaml")));
        for (file, why) in [
            ("../../../../../../../../etc/passwd", "outside of the repository"),
            ("https://host.example/values.yaml", "not in the repository"),
            ("none.yaml", "none.yaml cannot be read"),
        ] {
            let error = found(file).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        assert_eq!(value_file(&root, &chart, "none.yaml", true), Ok(None));
    }

    #[test]
    fn hooks_are_not_compared() {
        assert!(is_hook(&json!({"metadata": {"annotations": {"helm.sh/hook": "test"}}})));
        assert!(!is_hook(&json!({"metadata": {"annotations": {"argocd.argoproj.io/sync-wave": "0"}}})));
        assert!(!is_hook(&json!({})));
    }
}
