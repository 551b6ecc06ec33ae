//! Any text is a quantity or refused; what is printed reads back as the same value, to the last bit.
#![no_main]

use autoscale::Quantity;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(quantity) = text.parse::<Quantity>() {
        let printed = quantity.to_string();
        let again: Quantity = printed.parse().expect("what is printed can be read");
        assert_eq!(again.milli(), quantity.milli());
        assert_eq!(again.as_f64().to_bits(), quantity.as_f64().to_bits());
        assert_eq!(again.to_string(), printed);
    }
});
