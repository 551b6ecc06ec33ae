//! A minimal echo server: one read and one write per message.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use slab::Slab;

use crate::poll;

/// Tokens from here on are listeners.
const LISTENERS: u64 = 1 << 32;
const BUFFER: usize = 64 * 1024;

struct Connection {
    stream: TcpStream,
    /// Bytes that the socket did not accept at once. Until they are written, nothing more is read.
    unwritten: Vec<u8>,
}

pub(super) fn serve(listeners: &[TcpListener]) -> io::Result<()> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    for (listener, token) in listeners.iter().zip(LISTENERS..) {
        epoll::add(&epoll, listener, EventData::new_u64(token), EventFlags::IN)?;
    }
    let mut connections: Slab<Connection> = Slab::new();
    let mut buffer = vec![0; BUFFER];
    let mut events = poll::events();
    loop {
        poll::wait(&epoll, &mut events, None)?;
        for event in &events {
            let token = event.data.u64();
            if let Some(listener) = token.checked_sub(LISTENERS) {
                for stream in accept_all(&listeners[listener as usize])? {
                    let entry = connections.vacant_entry();
                    epoll::add(&epoll, &stream, EventData::new_u64(entry.key() as u64), EventFlags::IN)?;
                    entry.insert(Connection { stream, unwritten: Vec::new() });
                }
                continue;
            }
            let connection = &mut connections[token as usize];
            match connection.turn(&mut buffer) {
                Ok(Turn::Same) => {}
                Ok(Turn::Wait(flags)) => {
                    epoll::modify(&epoll, &connection.stream, EventData::new_u64(token), flags)?;
                }
                // Closing removes it from the epoll set.
                Ok(Turn::End) | Err(_) => drop(connections.remove(token as usize)),
            }
        }
    }
}

enum Turn {
    Same,
    Wait(EventFlags),
    End,
}

impl Connection {
    fn turn(&mut self, buffer: &mut [u8]) -> io::Result<Turn> {
        if !self.unwritten.is_empty() {
            let written = self.write_some(None)?;
            self.unwritten.drain(..written);
            let flushed = self.unwritten.is_empty();
            return Ok(if flushed { Turn::Wait(EventFlags::IN) } else { Turn::Same });
        }
        let length = (&self.stream).read(buffer)?;
        if length == 0 {
            return Ok(Turn::End);
        }
        let written = self.write_some(Some(&buffer[..length]))?;
        if written == length {
            return Ok(Turn::Same);
        }
        self.unwritten.extend_from_slice(&buffer[written..length]);
        Ok(Turn::Wait(EventFlags::OUT))
    }

    fn write_some(&self, bytes: Option<&[u8]>) -> io::Result<usize> {
        match (&self.stream).write(bytes.unwrap_or(&self.unwritten)) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            result => result,
        }
    }
}

/// All pending connections, non-blocking.
pub(super) fn accept_all(listener: &TcpListener) -> io::Result<Vec<TcpStream>> {
    use rustix::net::{SocketFlags, accept_with};
    let mut accepted = Vec::new();
    loop {
        match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok(stream) => accepted.push(stream.into()),
            Err(rustix::io::Errno::AGAIN) => return Ok(accepted),
            // It broke before it was accepted.
            Err(rustix::io::Errno::CONNABORTED) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
