//! Records from Kafka, written by any program, and the answers of any Elasticsearch.
#![no_main]

use libfuzzer_sys::fuzz_target;
use logger::fuzzing;

fuzz_target!(|value: &[u8]| {
    fuzzing::record(value);
    fuzzing::search_answer(value);
});
