//! Any values file and any flags over the built-in chart give values or an error in words, never a panic.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use platform::values::{
    Values,
    helm::{
        Chart, chart, merged, overlay,
        set::{Reading, set},
    },
};

/// Read once: that takes longer than any input.
static CHART: LazyLock<Chart> = LazyLock::new(|| {
    let values = include_str!("../../helm-chart/values.yaml");
    Chart::from_values("playground", "built-in values.yaml", values).expect("the chart is valid")
});

fuzz_target!(|input: (String, Vec<(u8, String)>)| {
    let (file, flags) = input;
    let Ok(file) = chart::parse("values.yaml", &file) else {
        return;
    };
    let mut overrides = file.values;
    for (kind, text) in flags {
        let reading = match kind % 4 {
            0 => Reading::Typed,
            1 => Reading::Text,
            2 => Reading::Json,
            _ => Reading::Literal,
        };
        let mut flag = overrides.clone();
        if set(&mut flag, &text, reading).is_ok() {
            overlay(&mut overrides, flag);
        }
    }
    let Ok(all) = merged(&CHART, &overrides) else {
        return;
    };
    match Values::from_merged(all) {
        Ok(values) => {
            let again = Values::from_merged(values.merged().clone()).expect("what was checked is valid");
            assert_eq!(again, values);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
