use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream as StdStream};
use std::thread;

use proptest::prelude::*;
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::*;

/// A connected pair: the near end as the flow has it, the far end blocking.
fn pair() -> (TcpStream, StdStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    let (near, _) = listener.accept().unwrap();
    near.set_nonblocking(true).unwrap();
    (TcpStream::from_std(near), far)
}

fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    Pcg64::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// Runs one flow to the end of its source, between a sender and a receiver that take pieces of random sizes.
/// Returns what arrived and how many pipes the flow gave back.
fn carry(data: &[u8], pipes_max: usize, seed: u64) -> (Vec<u8>, usize) {
    let ((source, sender), (sink, receiver)) = (pair(), pair());
    let mut shared = Shared::new(pipes_max, None);
    let received = thread::scope(|scope| {
        scope.spawn(move || {
            let (mut random, mut rest) = (Pcg64::seed_from_u64(seed), data);
            while !rest.is_empty() {
                let length = random.random_range(1..=1 << 20).min(rest.len());
                (&sender).write_all(&rest[..length]).unwrap();
                rest = &rest[length..];
            }
            sender.shutdown(Shutdown::Write).unwrap();
        });
        let receiving = scope.spawn(move || {
            let (mut random, mut received) = (Pcg64::seed_from_u64(!seed), Vec::new());
            let mut piece = vec![0; 300_000];
            loop {
                let length = random.random_range(1..=piece.len());
                match (&receiver).read(&mut piece[..length]).unwrap() {
                    0 => return received,
                    taken => received.extend_from_slice(&piece[..taken]),
                }
            }
        });
        let mut flow = Flow::default();
        let mut passed = 0;
        loop {
            let moved = flow.run(&source, &sink, &mut shared, true, true);
            passed += moved.bytes;
            match moved.pause {
                Pause::End => break,
                Pause::SourceEmpty | Pause::SinkFull => thread::yield_now(),
                Pause::Turn => {}
                Pause::SourceFailed(error) | Pause::SinkFailed(error) => panic!("{error}"),
            }
        }
        assert_eq!(passed, data.len() as u64);
        drop(sink);
        receiving.join().unwrap()
    });
    (received, shared.pipes.idle())
}

#[test]
fn bulk_data_uses_a_pipe_that_is_returned() {
    let data = bytes(1, 8 << 20);
    let (received, pipes) = carry(&data, 2, 1);
    assert!(received == data);
    assert_eq!(pipes, 1, "a flow needs one pipe, and has none at its end");
}

#[test]
fn without_pipes_bulk_is_copied() {
    let data = bytes(2, 8 << 20);
    let (received, pipes) = carry(&data, 0, 2);
    assert!(received == data);
    assert_eq!(pipes, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn copying_and_splicing_carry_the_same_bytes(length in 0..3_000_000_usize, seed: u64) {
        let data = bytes(seed, length);
        prop_assert!(carry(&data, 0, seed).0 == data);
        prop_assert!(carry(&data, 1, seed).0 == data);
    }
}

#[test]
fn a_flow_owns_memory_only_while_its_sink_is_full() {
    let ((source, sender), (sink, mut receiver)) = (pair(), pair());
    sender.set_nonblocking(true).unwrap();
    let mut shared = Shared::new(0, None);
    let mut flow = Flow::default();
    let chunk = vec![7; 1 << 20];
    let mut sent = 0_usize;
    let held = loop {
        if let Ok(length) = (&sender).write(&chunk) {
            sent += length;
        }
        match flow.run(&source, &sink, &mut shared, false, false).pause {
            Pause::SinkFull => match flow.stash.as_deref() {
                Some(Stash::Bytes { bytes, .. }) => break bytes.len(),
                other => panic!("{other:?}"),
            },
            Pause::SourceEmpty => assert!(flow.stash.is_none()),
            Pause::Turn => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(held <= BUFFER_BYTES);
    assert!(flow.waits_for_sink());

    drop(sender);
    let receiving = thread::spawn(move || {
        let mut received = Vec::new();
        receiver.read_to_end(&mut received).map(|_| received.len())
    });
    while !matches!(flow.run(&source, &sink, &mut shared, true, false).pause, Pause::End) {
        thread::yield_now();
    }
    assert!(flow.stash.is_none());
    drop(sink);
    assert_eq!(receiving.join().unwrap().unwrap(), sent);
}

#[test]
fn bytes_read_before_the_flow_began_come_first() {
    let ((source, sender), (sink, mut receiver)) = (pair(), pair());
    let mut shared = Shared::new(0, None);
    assert_eq!(shared.read(&source).unwrap(), 0, "nothing was said yet");
    (&sender).write_all(b"first").unwrap();
    let taken = shared.read(&source).unwrap();

    let mut flow = Flow::default();
    let moved = flow.begin(taken, &source, &sink, &shared);
    assert!(matches!(moved.pause, Pause::SourceEmpty), "{:?}", moved.pause);
    assert_eq!((moved.bytes, moved.writes), (taken as u64, 1));

    (&sender).write_all(b", second").unwrap();
    drop(sender);
    while !matches!(flow.run(&source, &sink, &mut shared, true, false).pause, Pause::End) {
        thread::yield_now();
    }
    drop(sink);
    let mut received = String::new();
    receiver.read_to_string(&mut received).unwrap();
    assert_eq!(received, "first, second");
}

#[test]
fn bytes_that_a_full_sink_refuses_at_the_start_are_kept() {
    let ((source, sender), (sink, receiver)) = (pair(), pair());
    let mut shared = Shared::new(0, None);
    let filler = vec![7; 1 << 20];
    while write_once(&sink, &filler).unwrap() > 0 {}
    (&sender).write_all(b"first").unwrap();
    let taken = shared.read(&source).unwrap();

    let mut flow = Flow::default();
    let moved = flow.begin(taken, &source, &sink, &shared);
    assert!(matches!(moved.pause, Pause::SinkFull), "{:?}", moved.pause);
    assert!(flow.waits_for_sink());
    let stashed = match flow.stash.as_deref() {
        Some(Stash::Bytes { bytes, written }) => bytes[*written..].to_vec(),
        other => panic!("{other:?}"),
    };
    assert_eq!(stashed, b"first");
    drop(receiver);
}
