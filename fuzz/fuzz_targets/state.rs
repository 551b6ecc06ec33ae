//! Any state file is parsed or rejected; a parsed one can be explained, in words without the names of our types.
#![no_main]

use std::sync::LazyLock;

use autoscale::{
    HpaSpec,
    explain::{Text, explain, state::State},
};
use libfuzzer_sys::fuzz_target;

static SPEC: LazyLock<HpaSpec> = LazyLock::new(|| {
    yaml::from_str(
        "
minReplicas: 0
maxReplicas: 9
metrics:
- {type: External, external: {metric: {name: q}, target: {type: AverageValue, averageValue: 100}}}
- {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}
behavior: {scaleUp: {policies: [{type: Pods, value: 1, periodSeconds: 30}]}}
",
    )
    .expect("the spec is valid")
});

fuzz_target!(|bytes: Vec<u8>| {
    let state = yaml::decode("state.yaml", bytes)
        .map_err(|error| error.to_string())
        .and_then(|text| State::parse("state.yaml", &text).map_err(|error| error.to_string()))
        .and_then(|state| state.case(&SPEC, 0).map_err(|error| error.to_string()));
    match state {
        Ok(case) => {
            let explanation = explain(&case).expect("the spec is valid");
            let _ = Text { explanation: &explanation, instants: &() }.to_string();
        }
        Err(error) => assert!(!error.contains("struct ") && !error.contains("invalid type"), "{error}"),
    }
});
