//! Each connection always has one message in flight.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use super::{LOOK_UP, Meter, dial, unexpected_end};
use crate::poll;

#[derive(Debug, Clone)]
pub(crate) struct PingPong {
    pub(crate) target: SocketAddr,
    pub(crate) connections: usize,
    pub(crate) message: &'static [u8],
    /// Length of the answer in bytes.
    pub(crate) reply: usize,
}

impl PingPong {
    /// Counts answered messages.
    pub(crate) fn run(&self, meter: &Meter) -> io::Result<()> {
        self.over(&dial::many(self.target, self.connections)?, meter)
    }

    /// The same over existing connections.
    pub(crate) fn over(&self, streams: &[TcpStream], meter: &Meter) -> io::Result<()> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        // Missing bytes of each connection's answer.
        let mut missing = vec![self.reply; streams.len()];
        for (index, stream) in streams.iter().enumerate() {
            epoll::add(&epoll, stream, EventData::new_u64(index as u64), EventFlags::IN)?;
        }
        for stream in streams {
            send(stream, self.message)?;
        }
        meter.ready();
        let mut buffer = [0; 4096];
        let mut events = poll::events();
        while !meter.stopped() {
            poll::wait(&epoll, &mut events, Some(&LOOK_UP))?;
            let mut answered = 0;
            for event in &events {
                let index = event.data.u64() as usize;
                let length = match (&streams[index]).read(&mut buffer) {
                    Ok(0) => return Err(unexpected_end()),
                    Ok(length) => length,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                    Err(error) => return Err(error),
                };
                missing[index] = missing[index].checked_sub(length).ok_or_else(too_long)?;
                if missing[index] == 0 {
                    missing[index] = self.reply;
                    answered += 1;
                    send(&streams[index], self.message)?;
                }
            }
            meter.add(answered);
        }
        Ok(())
    }
}

/// An idle socket accepts a short message whole.
pub(super) fn send(mut stream: &TcpStream, message: &[u8]) -> io::Result<()> {
    stream.write_all(message)
}

fn too_long() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "an answer was longer than expected")
}
