//! Invariants for the commands of any client. Panics if one is violated.

use super::{
    commands::{self, Data},
    store::Store,
};

const BYTES_MAX: u64 = 64 * 1024;

/// Carries out commands until one ends the connection. Memory stays within its bound, and answers are whole lines.
pub fn commands(text: &[u8]) {
    let (mut store, mut output) = (Store::new(BYTES_MAX), Vec::new());
    let mut rest = text;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, after) = (&rest[..end], &rest[end + 1..]);
        rest = after;
        let data = match commands::data_after(line) {
            Data::Wanted(Some(bytes)) => {
                let Some(data) = rest.get(..bytes) else { return };
                rest = &rest[bytes..];
                data
            }
            Data::Wanted(None) => &[],
            Data::Refused(..) | Data::Lost(_) => return,
        };
        output.clear();
        let goes_on = commands::run(line, data, &mut store, clock::now(), &mut output);
        assert!(output.is_empty() || output.ends_with(b"\r\n"));
        let (_, bytes, bytes_max) = store.size();
        assert!(bytes <= bytes_max);
        if !goes_on {
            return;
        }
    }
}
