#![no_main]
//! A WebSocket server's answers to a load: parsing does not depend on how frames are cut, and nothing is shown raw.

use libfuzzer_sys::fuzz_target;
use load::fuzzing::{read_frames, read_upgrade};

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = input;
    read_upgrade(bytes);
    let whole = read_frames(&[bytes]);
    let (first, second) = bytes.split_at(usize::from(cut).min(bytes.len()));
    assert_eq!(read_frames(&[first, second]), whole);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read_frames(&single), whole);
});
