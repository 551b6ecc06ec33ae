//! Invariants for the requests of any clients. Panics if one is violated.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{
    Database,
    channels::Channels,
    connection::{Client, Next},
    resp::{self, Request},
    store::Store,
    transaction::Waiting,
};
use crate::embedded::guests::{Guest, Limits, Room};

const BYTES_MAX: usize = 64 * 1024;

/// Two clients alternate with their requests. Memory stays within its bound, answers are whole lines, and when both
/// have left, they leave nothing behind.
pub fn requests(bytes: &[u8]) {
    let database = Arc::new(Database {
        store: Mutex::new(Store::new(BYTES_MAX)),
        channels: Mutex::new(Channels::default()),
        waiting: Waiting::default(),
    });
    let room = Arc::new(Room::new(Limits { connections: 2, bytes: BYTES_MAX }));
    let client = || Client::new(Arc::clone(&database), Guest::enter(&room).0);
    let mut clients = [client(), client()];
    let (mut rest, mut output) = (bytes, Vec::new());
    for turn in 0.. {
        let Request::Complete(words, used) = resp::request(rest) else { break };
        assert!(used > 0 && used <= rest.len());
        rest = &rest[used..];
        output.clear();
        let next = clients[turn % 2].answer(&words, &mut output);
        assert!(output.is_empty() || output.ends_with(b"\r\n"));
        assert!(words.is_empty() || !output.is_empty(), "no answer");
        assert!(database.store.lock().bytes() <= BYTES_MAX);
        if next == Next::Close {
            break;
        }
    }
    drop(clients);
    assert!(database.channels.lock().is_empty());
    assert_eq!(*database.waiting.lock(), 0);
    assert!(database.store.lock().watches.is_empty());
}
