//! Unknown keys of a scenario file, with their place and the nearest key that is known.

use serde_yaml::Value;

/// Every mapping of a scenario file and its keys.
const KNOWN: [(&str, &[&str]); 7] = [
    (
        "",
        &[
            "name",
            "about",
            "service",
            "protocol",
            "phases",
            "messages",
            "reconnect",
            "connect-timeout",
            "expectations",
        ],
    ),
    ("phases", &["ramp", "send", "hold", "wait"]),
    ("phases.ramp", &["connections", "rate"]),
    ("phases.hold", &["for", "after-ramp"]),
    ("phases.wait", &["at-most"]),
    ("messages", &["every", "payload", "expect", "timeout", "window"]),
    ("reconnect", &["delay", "jitter"]),
];

/// Finds the first key that no scenario has.
pub(super) fn check(value: &Value, path: &str) -> Result<(), String> {
    let Value::Mapping(mapping) = value else {
        return Ok(());
    };
    let Some((_, known)) = KNOWN.iter().find(|(known, _)| *known == path) else {
        return Ok(());
    };
    for (key, value) in mapping {
        let Value::String(key) = key else {
            return Err(format!("{}: keys must be text", place(path)));
        };
        let here = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        if !known.contains(&key.as_str()) {
            let nearest = known
                .iter()
                .min_by_key(|name| strsim::damerau_levenshtein(name, key))
                .filter(|name| strsim::damerau_levenshtein(name, key) <= 3)
                .map(|name| format!("; did you mean `{name}`?"));
            let all = known.join(", ");
            return Err(format!(
                "unknown key `{here}`{} ({} has: {all})",
                nearest.unwrap_or_default(),
                place(path)
            ));
        }
        check(value, &here)?;
    }
    Ok(())
}

fn place(path: &str) -> &str {
    if path.is_empty() { "a scenario" } else { path }
}
