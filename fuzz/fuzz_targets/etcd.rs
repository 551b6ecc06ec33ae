//! Answers of etcd members: lines of a watch in pieces of any size.
#![no_main]

use libfuzzer_sys::fuzz_target;
use service::etcd::{Lines, read_watched};

fuzz_target!(|pieces: Vec<Vec<u8>>| {
    let mut lines = Lines::default();
    let mut seen = Vec::new();
    for piece in &pieces {
        assert!(lines.push(piece), "a short line is taken");
        while let Some(line) = lines.next_line() {
            assert!(!line.is_empty() && !line.contains(&b'\n'));
            seen.extend_from_slice(line);
            let _ = read_watched(line);
        }
    }
    // Nothing is lost and nothing is invented.
    let whole = pieces.concat();
    let complete = whole.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let expected: Vec<u8> = whole[..complete].iter().copied().filter(|byte| *byte != b'\n').collect();
    assert_eq!(seen, expected);
});
