//! Datagrams: each peer always has a fixed number of messages in flight.

use std::{
    array,
    io::{self, IoSlice, IoSliceMut},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::socket::{ControlMessage, MsgFlags, MultiHeaders, recvmmsg, sendmmsg},
};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use super::{LOOK_UP, Meter};
use crate::poll;

/// Datagrams per call.
const BATCH: usize = 64;
const REPLY_MAX: usize = 512;
/// A peer that receives nothing for this long has lost its messages, and starts over.
const SILENCE: Duration = Duration::from_millis(250);
/// The longest time without any answer.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub(crate) struct Datagrams {
    pub(crate) target: SocketAddr,
    pub(crate) peers: usize,
    /// Messages in flight per peer.
    pub(crate) window: usize,
    pub(crate) message: &'static [u8],
    /// The expected answer.
    pub(crate) reply: &'static [u8],
}

struct Peer {
    socket: UdpSocket,
    heard: Instant,
}

/// Buffers for one call.
struct Batches {
    incoming: MultiHeaders<()>,
    outgoing: MultiHeaders<()>,
    buffers: Vec<[u8; REPLY_MAX]>,
}

impl Datagrams {
    /// Counts answered messages.
    pub(crate) fn run(&self, meter: &Meter) -> io::Result<()> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut peers = (0..self.peers).map(|_| self.peer()).collect::<io::Result<Vec<_>>>()?;
        for (index, peer) in peers.iter().enumerate() {
            epoll::add(&epoll, &peer.socket, EventData::new_u64(index as u64), EventFlags::IN)?;
        }
        let mut batches = Batches::new();
        for peer in &peers {
            batches.send(&peer.socket, self.message, self.window)?;
        }
        meter.ready();
        let mut events = poll::events();
        let mut looked = clock::now();
        while !meter.stopped() {
            poll::wait(&epoll, &mut events, Some(&LOOK_UP))?;
            let now = clock::now();
            let mut answered = 0;
            for event in &events {
                let peer = &mut peers[event.data.u64() as usize];
                let received = batches.receive(&peer.socket, self.reply)?;
                batches.send(&peer.socket, self.message, received)?;
                peer.heard = now;
                answered += received as u64;
            }
            meter.add(answered);
            if now.duration_since(looked) > SILENCE {
                looked = now;
                self.begin_anew(&mut peers, &mut batches, now)?;
            }
        }
        Ok(())
    }

    fn peer(&self) -> io::Result<Peer> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(self.target)?;
        socket.set_nonblocking(true)?;
        Ok(Peer { socket, heard: clock::now() })
    }

    fn begin_anew(&self, peers: &mut [Peer], batches: &mut Batches, now: Instant) -> io::Result<()> {
        if peers.iter().all(|peer| now.duration_since(peer.heard) > PATIENCE) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no datagram is answered"));
        }
        for peer in peers.iter().filter(|peer| now.duration_since(peer.heard) > SILENCE) {
            batches.send(&peer.socket, self.message, self.window)?;
        }
        Ok(())
    }
}

impl Batches {
    fn new() -> Self {
        Self {
            incoming: MultiHeaders::preallocate(BATCH, None),
            outgoing: MultiHeaders::preallocate(BATCH, None),
            buffers: vec![[0; REPLY_MAX]; BATCH],
        }
    }

    /// Receives up to a batch, all of which must be `reply`. Returns the number received.
    fn receive(&mut self, socket: &UdpSocket, reply: &[u8]) -> io::Result<usize> {
        let mut room = self.buffers.iter_mut();
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH] = array::from_fn(|_| {
            [IoSliceMut::new(room.next().map_or(&mut [], |buffer| buffer.as_mut_slice()))]
        });
        let received =
            match recvmmsg(socket.as_raw_fd(), &mut self.incoming, &mut slices, MsgFlags::MSG_DONTWAIT, None)
            {
                Ok(received) => received,
                Err(Errno::EAGAIN) => return Ok(0),
                Err(error) => return Err(error.into()),
            };
        let mut lengths = [0; BATCH];
        let mut count = 0;
        for message in received {
            lengths[count] = message.bytes;
            count += 1;
        }
        for (buffer, length) in self.buffers.iter().zip(lengths).take(count) {
            if &buffer[..length] != reply {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a wrong answer: {text:?}")));
            }
        }
        Ok(count)
    }

    /// Sends a message several times.
    fn send(&mut self, socket: &UdpSocket, message: &[u8], mut count: usize) -> io::Result<()> {
        let slices = [[IoSlice::new(message)]; BATCH];
        while count > 0 {
            let now = count.min(BATCH);
            let sent = sendmmsg(
                socket.as_raw_fd(),
                &mut self.outgoing,
                &slices[..now],
                [None; BATCH],
                [] as [ControlMessage<'_>; 0],
                MsgFlags::empty(),
            )?;
            count -= sent.count();
        }
        Ok(())
    }
}
