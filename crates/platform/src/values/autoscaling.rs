//! `autoscaling:` of a service: an `autoscaling/v2` spec word for word, without `scaleTargetRef`.

use autoscale::spec::HpaSpec;
use serde_json::Value;

use super::reader::Reader;

/// Reads and checks the spec; what the API server would refuse is a problem here.
pub(super) fn read(service: &mut Reader<'_>) -> Option<HpaSpec> {
    let value = service.get("autoscaling")?;
    let path = service.path_of("autoscaling");
    let problems = service.problems();
    let spec: HpaSpec = match serde_path_to_error::deserialize(value) {
        Ok(spec) => spec,
        Err(error) => {
            let (key, message) = explained(&path, &error);
            problems.message(key.clone(), at(value, key.strip_prefix(&path).unwrap_or("")), message);
            return None;
        }
    };
    let errors = spec.defaulted().validate(false);
    for error in &errors {
        let message = error
            .value
            .as_ref()
            .map_or_else(|| error.reason.clone(), |value| format!("{} (it is {value})", error.reason));
        problems.message(format!("{path}.{}", error.path), None, message);
    }
    errors.is_empty().then_some(spec)
}

/// Turns serde's message about an unknown key into ours: the key's own path, and the nearest key there is.
fn explained(path: &str, error: &serde_path_to_error::Error<serde_json::Error>) -> (String, String) {
    let inner = error.inner().to_string();
    let at = match error.path().to_string().as_str() {
        "." => path.to_owned(),
        below => format!("{path}.{below}"),
    };
    let mut quoted = inner.split('`').skip(1).step_by(2);
    let (Some(unknown), true) = (quoted.next(), inner.starts_with("unknown field")) else {
        return (at, inner);
    };
    let known: Vec<&str> = quoted.collect();
    // The path of serde's error ends with the unknown key itself.
    let key = if at.ends_with(&format!(".{unknown}")) { at } else { format!("{at}.{unknown}") };
    (key, super::reader::unknown(unknown, &known))
}

/// The value at a path such as `.metrics[0].type`, for the message.
fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let mut found = value;
    for part in path.split(['.', '[']).map(|part| part.trim_end_matches(']')).filter(|part| !part.is_empty())
    {
        found = match found {
            Value::Array(list) => list.get(part.parse::<usize>().ok()?)?,
            other => other.get(part)?,
        };
    }
    Some(found)
}
