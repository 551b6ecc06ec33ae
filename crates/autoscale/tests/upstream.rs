//! Accepts what kubectl and the API server (Kubernetes 1.34.4, strict field validation) accept, with the same stored
//! spec, and refuses what they refuse, at the same places with the same reasons.
//!
//! `upstream/golden.json` was recorded by `upstream/main.go`, which is built from the API server's own packages. To
//! record it again: `cd tests/upstream && python3 gen.py && go run . < cases.json > golden.json`.

use std::collections::BTreeSet;

use autoscale::{
    Quantity,
    manifest::{ManifestError, read},
};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Case {
    text: String,
    zero: bool,
}

#[derive(Deserialize)]
struct Outcome {
    #[serde(default)]
    refused: Vec<String>,
    #[serde(default)]
    stage: String,
    #[serde(default)]
    spec: Value,
}

/// Normalises: one spelling of quantities, without `null`, empty members and the scale target.
fn normal(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(key, value)| *key != "scaleTargetRef" && !value.is_null() && value.as_str() != Some(""))
            .map(|(key, value)| {
                let is_quantity = ["averageValue", "value", "tolerance"].contains(&key.as_str());
                let quantity = || value.as_str()?.parse::<Quantity>().ok();
                let value = match quantity().filter(|_| is_quantity) {
                    Some(quantity) => quantity.milli().into(),
                    None => normal(value),
                };
                (key.clone(), value)
            })
            .collect(),
        Value::Array(list) => list.iter().map(normal).collect(),
        other => other.clone(),
    }
}

/// `spec.x: Invalid value: 0: must be positive` as place and reason.
fn upstream_error(text: &str) -> (String, String) {
    let (path, rest) = text.split_once(": ").unwrap_or((text, ""));
    let reason = match rest.split_once(": ") {
        None => "required".to_owned(),
        Some(("Required value" | "Forbidden", reason)) => reason.to_owned(),
        // Upstream lists the supported values in quotes.
        Some(("Unsupported value", _)) => "supported values".to_owned(),
        Some((_, rest)) => rest.split_once(": ").map_or(rest, |(_, reason)| reason).to_owned(),
    };
    (path.to_owned(), reason)
}

fn our_error(error: &autoscale::FieldError) -> (String, String) {
    let reason = error.reason.strip_prefix("forbidden: ").unwrap_or(&error.reason);
    let reason = if reason.starts_with("supported values") { "supported values" } else { reason };
    (error.path.clone(), reason.to_owned())
}

/// Intended differences.
fn is_exempt(text: &str) -> bool {
    // Upstream turns labels and annotations with a null value into empty strings.
    text.contains("labels: {a: null}")
}

#[test]
fn manifests_are_taken_and_refused_as_the_api_server_does() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("upstream/cases.json")).expect("recorded");
    let outcomes: Vec<Outcome> =
        serde_json::from_str(include_str!("upstream/golden.json")).expect("recorded");
    assert_eq!(cases.len(), outcomes.len());
    let mut wrong = Vec::new();
    for (Case { text, zero }, upstream) in cases.iter().zip(&outcomes) {
        let ours = read("hpa.yaml", text, *zero);
        let agrees = match &ours {
            Ok(manifests) => {
                let spec = serde_json::to_value(manifests[0].spec.defaulted()).expect("serialisable");
                upstream.refused.is_empty() && normal(&spec) == normal(&upstream.spec)
            }
            Err(ManifestError::Invalid { errors, .. }) if upstream.stage == "validate" => {
                let theirs: BTreeSet<_> =
                    upstream.refused.iter().map(|error| upstream_error(error)).collect();
                let ours: BTreeSet<_> = errors.iter().map(our_error).collect();
                // The same places; if one has several reasons, any of them.
                let places = |errors: &BTreeSet<(String, String)>| {
                    errors.iter().map(|(place, _)| place.clone()).collect::<BTreeSet<_>>()
                };
                places(&ours) == places(&theirs) && ours.is_subset(&theirs)
            }
            Err(_) => !upstream.refused.is_empty(),
        };
        if !agrees && !is_exempt(text) {
            let ours = match ours {
                Ok(manifests) => {
                    serde_json::to_value(manifests[0].spec.defaulted()).expect("serialisable").to_string()
                }
                Err(error) => error.to_string(),
            };
            wrong.push(format!("{text}\n  ours   {ours}\n  theirs {:?} {}", upstream.refused, upstream.spec));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n\n"));
}
