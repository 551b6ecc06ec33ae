//! What clients send to the embedded memcached. Whatever it is: no panic, and memory within its bound.
#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;

// The modules themselves: the crate shows none of them.
#[path = "../../crates/local/src/embedded/memcached/commands.rs"]
mod commands;
#[path = "../../crates/local/src/embedded/memcached/store.rs"]
mod store;

const BYTES_MAX: u64 = 64 * 1024;

fuzz_target!(|text: &[u8]| {
    let (mut store, mut output) = (store::Store::new(BYTES_MAX), Vec::new());
    let mut rest = text;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, after) = (&rest[..end], &rest[end + 1..]);
        rest = after;
        let data = match commands::data_after(line) {
            commands::Data::Wanted(Some(bytes)) => {
                let Some(data) = rest.get(..bytes) else { return };
                rest = &rest[bytes..];
                data
            }
            commands::Data::Wanted(None) => &[],
            commands::Data::Refused(..) | commands::Data::Lost(_) => return,
        };
        output.clear();
        let goes_on = commands::run(line, data, &mut store, Instant::now(), &mut output);
        assert!(output.is_empty() || output.ends_with(b"\r\n"));
        let (_, bytes, bytes_max) = store.size();
        assert!(bytes <= bytes_max);
        if !goes_on {
            return;
        }
    }
});
