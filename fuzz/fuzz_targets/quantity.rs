//! Any text is a quantity or rejected; a printed quantity reads back as the same value, to the last bit.
//!
//! Printed again it may look different: a number of binary units without a suffix reads as a decimal one (`356562.5Ki`,
//! `365120000`, `365120k`), as upstream. From then on it is stable.
#![no_main]

use autoscale::Quantity;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(quantity) = text.parse::<Quantity>() {
        let printed = quantity.to_string();
        let again: Quantity = printed.parse().expect("what is printed can be read");
        assert_eq!(again.milli(), quantity.milli());
        assert_eq!(again.as_f64().to_bits(), quantity.as_f64().to_bits());
        let settled = again.to_string();
        assert_eq!(settled.parse::<Quantity>().expect("readable").to_string(), settled);
    }
});
