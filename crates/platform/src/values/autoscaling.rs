//! `autoscaling:` of a service: an `autoscaling/v2` spec word for word, without `scaleTargetRef`.

use autoscale::spec::HpaSpec;
use serde_json::Value;

use super::{reader::Reader, schema};

/// To Helm all numbers are floating, and it writes `60.0` as `60`.
fn with_integers(value: &Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(whole) if number.is_f64() && whole.fract() == 0.0 && whole.abs() < 1e15 => {
                Value::from(whole as i64)
            }
            _ => value.clone(),
        },
        Value::Array(list) => list.iter().map(with_integers).collect(),
        Value::Object(table) => {
            table.iter().map(|(key, value)| (key.clone(), with_integers(value))).collect()
        }
        _ => value.clone(),
    }
}

/// Reads and checks the spec; what the API server would refuse is a problem here.
pub(super) fn read(service: &mut Reader<'_>) -> Option<HpaSpec> {
    service.describe("autoscaling", schema::autoscaling());
    let value = service.get("autoscaling")?;
    let path = service.path_of("autoscaling");
    let problems = service.problems();
    let spec: HpaSpec = match yaml::typed(&with_integers(value)) {
        Ok(spec) => spec,
        Err(error) => {
            let separator = if error.path.is_empty() || error.path.starts_with('[') { "" } else { "." };
            let key = format!("{path}{separator}{}", error.path);
            problems.message_got(key, error.got, error.message);
            return None;
        }
    };
    let errors = spec.defaulted().validate(false);
    let is_valid = errors.is_empty();
    for error in errors {
        problems.message_inside(&path, format!("{path}.{}", error.path), error.value, error.reason);
    }
    is_valid.then_some(spec)
}
