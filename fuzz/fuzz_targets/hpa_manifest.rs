//! Any file is a list of valid autoscalers or rejected; accepted ones can be run.
#![no_main]

use autoscale::{Autoscaler, ControllerSettings, Observation, explain::{state, template}, manifest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let settings = ControllerSettings {
        scale_to_zero: true,
        ..ControllerSettings::default()
    };
    let Ok(manifests) = manifest::read("hpa.yaml", text, true) else {
        return;
    };
    for manifest in manifests {
        let defaulted = manifest.spec.defaulted();
        assert_eq!(defaulted.defaulted(), defaulted);
        let mut autoscaler =
            Autoscaler::new(&manifest.spec, settings.clone()).expect("a manifest that was read is valid");
        for (now_ms, replicas) in [(0, 1), (15_000, 0), (30_000, i32::MAX)] {
            let observed = Observation {
                spec_replicas: replicas,
                ..Observation::default()
            };
            let decision = autoscaler.reconcile(now_ms, &observed);
            assert!(
                decision
                    .scaled_to
                    .is_none_or(|to| to >= 0 && to <= defaulted.max_replicas)
            );
            let _ = decision.explanation().to_string();
        }
        // The same bytes as a state file: rejected, but never a panic.
        let _ = state::read(text, &manifest.spec, 0);
        // A state file written for it reads back.
        let template = template(&manifest).expect("a manifest that was read is valid");
        let state = state::State::parse("state.yaml", &template).expect("what is written reads back");
        let _ = state.case(&manifest.spec, 0);
    }
});
