#![no_main]
//! A server's answers to a load that requests a stream of events: parsing does not depend on how they are cut, and
//! nothing is shown raw.

use libfuzzer_sys::fuzz_target;
use load::fuzzing::read_stream;

const HEADS: [&[u8]; 3] = [
    b"",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
];

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (head, cut, bytes) = input;
    let answer = [HEADS[usize::from(head) % HEADS.len()], bytes].concat();
    let whole = read_stream(&[&answer]);
    let (first, second) = answer.split_at(usize::from(cut).min(answer.len()));
    assert_eq!(read_stream(&[first, second]), whole);
    let single: Vec<&[u8]> = answer.chunks(1).collect();
    assert_eq!(read_stream(&single), whole);
});
