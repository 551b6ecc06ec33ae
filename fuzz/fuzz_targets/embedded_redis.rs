//! Requests to the embedded Redis. Whatever they are: no panic, and memory within its bound.
#![no_main]

use libfuzzer_sys::fuzz_target;
use local::embedded::redis::fuzzing;

fuzz_target!(|bytes: &[u8]| fuzzing::requests(bytes));
