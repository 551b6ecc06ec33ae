//! Any bytes in any pieces: the framer stays within its bound and the parser never panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::limits::PACKET_BYTES_MAX;
use protocol::{Command, Framer, Step};

fuzz_target!(|reads: Vec<Vec<u8>>| {
    let mut framer = Framer::default();
    let mut kept: Vec<u8> = Vec::new();
    for read in reads {
        kept.extend_from_slice(&read);
        loop {
            let consumed = match framer.step(&kept, PACKET_BYTES_MAX) {
                Step::Unit { bytes, consumed } => {
                    assert!(bytes.len() <= PACKET_BYTES_MAX);
                    assert!(!framer.in_line_mode() || !bytes.contains(&b'\n'));
                    let _ = Command::parse(bytes);
                    consumed
                }
                Step::TooLong { consumed } => consumed,
                Step::Incomplete { consumed } => {
                    kept.drain(..consumed);
                    break;
                }
            };
            assert!(consumed > 0, "a step that continues makes progress");
            kept.drain(..consumed);
        }
        assert!(kept.len() <= PACKET_BYTES_MAX + 1);
        if read.is_empty() {
            framer.quiet();
        }
    }
});
