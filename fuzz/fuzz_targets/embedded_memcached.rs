//! Requests to the embedded memcached. Whatever they are: no panic, and memory within its bound.
#![no_main]

use libfuzzer_sys::fuzz_target;
use local::embedded::memcached::fuzzing;

fuzz_target!(|text: &[u8]| fuzzing::commands(text));
