//! Any scenario file is parsed or rejected, in words without the names of our types; a parsed one can be planned.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scenario::Scenario;

fuzz_target!(|text: &str| {
    match Scenario::parse(text, "scenario.yaml") {
        Ok(scenario) => {
            let _ = (scenario.length(), scenario.ramp_length(), scenario.message_timeout());
            let plan = scenario.describe("127.0.0.1:1".to_owned());
            assert_eq!(plan.connections, scenario.phases.ramp.connections);
            for action in &scenario.actions {
                assert!(!action.to_string().is_empty());
            }
            for expectation in &scenario.expectations {
                assert!(!expectation.to_string().is_empty());
            }
        }
        Err(error) => {
            let error = error.to_string();
            assert!(!error.contains("struct ") && !error.contains("invalid type"), "{error}");
        }
    }
});
