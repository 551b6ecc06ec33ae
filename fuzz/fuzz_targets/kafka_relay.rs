//! Traffic through the relay before the embedded Kafka: requests as they arrive, and answers that name brokers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use local::embedded::kafka::fuzzing;

fuzz_target!(|input: (&[u8], (u16, u16), bool)| {
    let (bytes, ports, named) = input;
    fuzzing::requests(bytes);
    // With a matching length, so that a request gets through.
    let length = u32::try_from(bytes.len()).expect("a short input").to_be_bytes();
    fuzzing::requests(&[&length, bytes, &length, bytes].concat());
    let name = [b"127.0.0.1".as_slice(), &u32::from(ports.0).to_be_bytes()].concat();
    fuzzing::answer(&if named { [bytes, &name].concat() } else { bytes.to_vec() }, ports);
});
