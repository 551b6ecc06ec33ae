//! A Prometheus' answers to an instant query, and the contents of a page of metrics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use local::fuzzing;

fuzz_target!(|input: (u16, &str, Vec<(String, f64)>, u64)| {
    let (status, text, pods, count) = input;
    fuzzing::prometheus(status, text, &pods);
    fuzzing::exposition(text, count);
});
