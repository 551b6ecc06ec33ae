//! `values.schema.json`, by which Helm refuses what we refuse: made of the rules by which values are read.
//!
//! What one value may be follows from its rule. Beside that there are rules between values; those that JSON schema can
//! express are added here, the others are in the chart's `templates/rules.yaml`.

use serde_json::{Value, json};

use super::{Values, description::Description, reader, source::Origins};
use crate::{protocol::Protocol, services::ServiceKind};

/// The schema of the chart's values, of JSON schema's draft 7, which all versions of Helm read.
pub fn schema() -> Value {
    let origins = Origins::default();
    let problems = reader::Problems::describing(&origins);
    Values::read_all(reader::Reader::describing(&problems));
    let mut description = problems.into_description().unwrap_or_default();
    between_parts(&mut description);
    description.add(
        "",
        json!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": "Values of the chart; made by the types in crates/platform/src/values",
            "type": "object",
        }),
    );
    description.root
}

fn between_parts(description: &mut Description) {
    let protocols = ServiceKind::ALL.map(|kind| {
        let spoken = match kind.row().transport {
            Protocol::Tcp => json!(["TCP", "HTTP"]),
            Protocol::Udp => json!(["UDP"]),
        };
        json!({
            "if": {"required": ["service"], "properties": {"service": {"const": kind.name()}}},
            "then": {"properties": {"protocol": {"enum": spoken}}},
        })
    });
    let is_no_http = json!({"required": ["protocol"], "properties": {"protocol": {"enum": ["TCP", "UDP"]}}});
    let has_no_routes = json!({"properties": {"routes": {"maxItems": 0}, "stickyCookie": {"type": "null"}}});
    let rules = protocols.into_iter().chain([json!({"if": is_no_http, "then": has_no_routes})]);
    description.add("gateway.listeners[0]", json!({"allOf": rules.collect::<Vec<_>>()}));
    let over_udp = ServiceKind::ALL.into_iter().filter(|kind| kind.row().transport == Protocol::Udp);
    let over_udp: Vec<_> = over_udp.map(ServiceKind::name).collect();
    description.add(
        "gateway.listeners[0].routes[0]",
        json!({"allOf": [{"properties": {"service": {"not": {"enum": over_udp}}}}]}),
    );
    let asks_prometheus = json!({"properties": {"metrics": {"properties": {"source": {"const": "prometheus"}}, "required": ["source"]}}, "required": ["metrics"]});
    let has_prometheus = json!({"properties": {"prometheus": {"properties": {"enabled": {"const": true}}, "required": ["enabled"]}}});
    description.add("", json!({"allOf": [{"if": asks_prometheus, "then": has_prometheus}]}));
    let is_the_operators = json!({"properties": {"operator": {"const": true}}, "required": ["operator"]});
    let has_an_address =
        json!({"properties": {"url": {"minLength": 1, "type": "string"}}, "required": ["url"]});
    description.add("prometheus", json!({"allOf": [{"if": is_the_operators, "then": has_an_address}]}));
}
