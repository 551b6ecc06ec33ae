//! Blocks that come back: each connection sends a block, reads it back whole, and begins again.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use super::{LOOK_UP, Meter, dial, unexpected_end};
use crate::poll;

#[derive(Debug, Clone)]
pub(crate) struct Blocks {
    pub(crate) target: SocketAddr,
    pub(crate) connections: usize,
    pub(crate) size: usize,
}

struct Exchange {
    stream: TcpStream,
    unsent: usize,
    unread: usize,
}

impl Blocks {
    /// Counts bytes of blocks that came back whole.
    pub(crate) fn run(&self, meter: &Meter) -> io::Result<()> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let block = vec![b'x'; self.size];
        let mut buffer = vec![0; self.size];
        let mut exchanges: Vec<Exchange> = dial::many(self.target, self.connections)?
            .into_iter()
            .map(|stream| Exchange { stream, unsent: self.size, unread: self.size })
            .collect();
        for (index, exchange) in exchanges.iter().enumerate() {
            let interest = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
            epoll::add(&epoll, &exchange.stream, EventData::new_u64(index as u64), interest)?;
        }
        meter.ready();
        let mut events = poll::events();
        while !meter.stopped() {
            poll::wait(&epoll, &mut events, Some(&LOOK_UP))?;
            for event in &events {
                let exchange = &mut exchanges[event.data.u64() as usize];
                while exchange.advance(&block, &mut buffer)? {
                    meter.add(self.size as u64);
                }
            }
        }
        Ok(())
    }
}

impl Exchange {
    /// Advances as far as the socket allows; true if a block came back whole and the next one can begin.
    fn advance(&mut self, block: &[u8], buffer: &mut [u8]) -> io::Result<bool> {
        while self.unsent > 0 {
            match self.stream.write(&block[block.len() - self.unsent..]) {
                Ok(written) => self.unsent -= written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        while self.unread > 0 {
            match self.stream.read(&mut buffer[..self.unread]) {
                Ok(0) => return Err(unexpected_end()),
                Ok(read) => self.unread -= read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        // All of it is back, so all of it was sent.
        (self.unsent, self.unread) = (block.len(), block.len());
        Ok(true)
    }
}
