//! A bare loop of `write`: the cost of sending a megabyte to all clients each second without HTTP, locks and slow
//! readers.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use super::echo::accept_all;
use crate::measure::wait;

const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const EVERY: Duration = Duration::from_secs(1);
/// How often to check for new clients while nothing is due.
const LOOK: Duration = Duration::from_millis(5);

/// The chunks in which the service sends an event: before the message, the message, and after it.
fn event() -> [Vec<u8>; 3] {
    let chunk = |data: &[u8]| [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat();
    [
        chunk(
            b"id:1764356400\ndata:{\"host\":\"stream-0\",\"message\":\"Huge message of 1048576+ chars ... ",
        ),
        chunk(&vec![b'a'; 1_048_576]),
        chunk(b"\",\"timestamp\":\"2026/11/28 19:00:00\"}\n\n"),
    ]
}

pub(super) fn serve(listeners: &[TcpListener]) -> io::Result<()> {
    let [listener] = listeners else { return Err(io::Error::other("expected one address")) };
    let event = event();
    let mut clients: Vec<TcpStream> = Vec::new();
    let mut due = clock::now() + EVERY;
    loop {
        for mut client in accept_all(listener)? {
            client.set_nonblocking(false)?;
            // A client that only checks whether somebody listens sends nothing.
            if client.read(&mut [0; 1024])? > 0 {
                client.write_all(HEAD)?;
                clients.push(client);
            }
        }
        if clock::now() < due {
            wait(LOOK);
            continue;
        }
        due += EVERY;
        for mut client in &clients {
            for chunk in &event {
                client.write_all(chunk)?;
            }
        }
    }
}
