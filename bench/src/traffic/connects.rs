//! New connections, one message each: connect, send, read the answer, close.

use std::{
    io::{self, ErrorKind, Read},
    net::{SocketAddr, TcpStream},
};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use super::{LOOK_UP, Meter, dial, ping_pong::send, unexpected_end};
use crate::poll;

/// Source addresses, used in turn: the ports of closed connections rest for a second, and one address has 28,000.
const SOURCES: usize = 16;

#[derive(Debug, Clone)]
pub(crate) struct Connects {
    pub(crate) target: SocketAddr,
    /// How many are in progress at a time.
    pub(crate) at_once: usize,
    pub(crate) message: &'static [u8],
    /// Aborts (RST) instead of closing after the answer.
    pub(crate) abort: bool,
}

struct Slot {
    stream: TcpStream,
    sent: bool,
}

impl Connects {
    /// Counts connections that were answered and closed.
    pub(crate) fn run(&self, meter: &Meter) -> io::Result<()> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut turn = 0;
        let mut begin = |index: usize| -> io::Result<Slot> {
            turn += 1;
            let stream = dial::begin(self.target, dial::source(turn % SOURCES))?;
            epoll::add(&epoll, &stream, EventData::new_u64(index as u64), EventFlags::OUT)?;
            Ok(Slot { stream, sent: false })
        };
        let mut slots = (0..self.at_once).map(&mut begin).collect::<io::Result<Vec<_>>>()?;
        meter.ready();
        let mut buffer = [0; 4096];
        let mut events = poll::events();
        while !meter.stopped() {
            poll::wait(&epoll, &mut events, Some(&LOOK_UP))?;
            for event in &events {
                let index = event.data.u64() as usize;
                let slot = &mut slots[index];
                if !slot.sent {
                    if let Some(error) = slot.stream.take_error()? {
                        return Err(error);
                    }
                    send(&slot.stream, self.message)?;
                    slot.sent = true;
                    epoll::modify(&epoll, &slot.stream, EventData::new_u64(index as u64), EventFlags::IN)?;
                    continue;
                }
                match slot.stream.read(&mut buffer) {
                    Ok(0) => return Err(unexpected_end()),
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                    Err(error) => return Err(error),
                }
                if self.abort {
                    socket2::SockRef::from(&slot.stream).set_linger(Some(std::time::Duration::ZERO))?;
                }
                *slot = begin(index)?;
                meter.add(1);
            }
        }
        Ok(())
    }
}
