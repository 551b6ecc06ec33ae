//! `autoscaling:` of a service: an `autoscaling/v2` spec word for word, without `scaleTargetRef`.

use autoscale::spec::HpaSpec;
use serde_json::{Value, json};
use yaml::TypeError;

use super::{description::nullable, reader::Reader, rule::REPLICAS_MAX};

/// More that is not of its type is told once some of it is mended.
const MISTYPED_MAX: usize = 50;

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
    service.describe("autoscaling", schema);
    let value = service.get("autoscaling")?;
    let path = service.path_of("autoscaling");
    let problems = service.problems();
    let (spec, mistyped) = typed(with_integers(value));
    for TypeError { path: at, message, got } in &mistyped {
        let separator = if at.is_empty() || at.starts_with('[') { "" } else { "." };
        problems.message_got(format!("{path}{separator}{at}"), got.clone(), message.clone());
    }
    let spec = spec?;
    let mut errors = spec.defaulted().validate(false);
    errors.retain(|error| !mistyped.iter().any(|mistyped| follows(&error.path, &mistyped.path)));
    let is_valid = errors.is_empty() && mistyped.is_empty();
    for error in errors {
        problems.message_inside(&path, format!("{path}.{}", error.path), error.value, error.reason);
    }
    if i64::from(spec.max_replicas) > i64::from(REPLICAS_MAX) {
        let key = format!("{path}.maxReplicas");
        problems.add(key, Some(&spec.max_replicas.into()), &format!("at most {REPLICAS_MAX}"));
    }
    is_valid.then_some(spec)
}

/// A spec of the autoscaler, word for word as the API has it. What else it must fulfil, the API server says.
fn schema() -> Value {
    let settings = schemars::generate::SchemaSettings::draft07().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<HpaSpec>().to_value();
    schema["required"] = json!(["maxReplicas"]);
    for (key, most) in [("minReplicas", None), ("maxReplicas", Some(REPLICAS_MAX))] {
        let replicas = &mut schema["properties"][key];
        replicas["minimum"] = 1.into();
        if let Some(most) = most {
            replicas["maximum"] = most.into();
        }
    }
    nullable(schema)
}

/// The spec, and all that is not of its type in it. Reading ends at the first mistake; so that the others are told with it,
/// something else stands there instead, and it is read again.
fn typed(mut value: Value) -> (Option<HpaSpec>, Vec<TypeError>) {
    let mut mistyped: Vec<TypeError> = Vec::new();
    loop {
        let error = match yaml::typed(&value) {
            Ok(spec) => return (Some(spec), mistyped),
            Err(error) => error,
        };
        // A text or a policy's type, a table, a policy, or nothing: the first that fits. Nothing comes last, because a policy
        // without a type is a mistake, too.
        let stand_ins = [Some(json!("Pods")), Some(json!({})), Some(json!({"type": "Pods"})), None];
        let without = stand_ins.into_iter().find_map(|stand_in| without(&value, &error.path, stand_in));
        mistyped.push(error);
        match without {
            Some(without) if mistyped.len() < MISTYPED_MAX => value = without,
            _ => return (None, mistyped),
        }
    }
}

/// The spec with something else at `path`; `None`: that does not fit there, either.
fn without(spec: &Value, path: &str, stand_in: Option<Value>) -> Option<Value> {
    let mut spec = spec.clone();
    replace(&mut spec, path, stand_in)?;
    let is_there = |error: TypeError| error.path == path;
    (!yaml::typed::<HpaSpec>(&spec).is_err_and(is_there)).then_some(spec)
}

/// Puts a value at `path`, such as `metrics[0].type`, or takes away what is there.
fn replace(value: &mut Value, path: &str, with: Option<Value>) -> Option<()> {
    let path = path.strip_prefix('.').unwrap_or(path);
    match value {
        Value::Object(table) => {
            // The name of a label may have dots.
            let is_next = |key: &&String| {
                path.strip_prefix(key.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            };
            let key = table.keys().find(is_next)?.clone();
            match (&path[key.len()..], with) {
                ("", None) => drop(table.remove(&key)),
                ("", Some(with)) => drop(table.insert(key, with)),
                (rest, with) => replace(table.get_mut(&key)?, rest, with)?,
            }
        }
        Value::Array(list) => {
            let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
            let value = list.get_mut(index.parse::<usize>().ok()?)?;
            if rest.is_empty() { *value = with? } else { replace(value, rest, with)? }
        }
        _ => return None,
    }
    Some(())
}

/// Whether an error at `path` may be a consequence of what stands instead of the value at `mistyped`. What a table of a metric
/// may have depends on the rest of it.
fn follows(path: &str, mistyped: &str) -> bool {
    let of_metric = mistyped.rsplit_once('.').filter(|_| mistyped.starts_with("metrics"));
    let cause = of_metric.map_or(mistyped, |(table, _)| table);
    path.strip_prefix(cause).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}
