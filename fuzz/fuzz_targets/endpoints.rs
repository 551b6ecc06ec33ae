//! Any bytes are an endpoints document or rejected; an accepted document reads back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use platform::endpoints::Endpoints;

fuzz_target!(|text: &[u8]| {
    if let Ok(document) = Endpoints::parse(text) {
        let written = serde_json::to_vec(&document).expect("a document can be written");
        let again = Endpoints::parse(&written).expect("what is written can be read");
        assert_eq!(again, document);
    }
});
