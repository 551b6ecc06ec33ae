//! Any text for `--set` and similar flags is parsed or rejected, within bounds on depth and on the length of lists.
#![no_main]

use libfuzzer_sys::fuzz_target;
use platform::values::helm::{
    Table,
    set::{Reading, set},
};

fuzz_target!(|text: &str| {
    let mut content = |name: &str| Ok(name.to_owned());
    for reading in [
        Reading::Typed,
        Reading::Text,
        Reading::Json,
        Reading::File(&mut content),
        Reading::Literal,
    ] {
        let mut values = Table::new();
        let first = set(&mut values, text, reading);
        assert!(first.is_ok() || !first.unwrap_err().to_string().is_empty());
    }
    // The same flag twice changes nothing more.
    let (mut once, mut twice) = (Table::new(), Table::new());
    if set(&mut once, text, Reading::Text).is_ok() && set(&mut twice, text, Reading::Text).is_ok() {
        assert_eq!(once, twice);
    }
});
