//! A bare loop of `recvmmsg` and `sendmmsg` that echoes datagrams.

use std::{
    array,
    io::{self, IoSlice, IoSliceMut},
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    thread,
};

use anyhow::{Result, anyhow};
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};
use socket2::{Domain, Socket, Type};

use super::health;

/// Datagrams per call.
pub(super) const BATCH: usize = 64;
pub(super) const DATAGRAM: usize = 2048;
/// As much as the services request.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Addresses to receive datagrams at, each on its own thread
    #[arg(long, required = true)]
    listen: Vec<SocketAddr>,
    /// Port at which `GET` is answered with 200, on the addresses of `--listen`
    #[arg(long)]
    health: u16,
}

pub(super) fn serve(arguments: &Arguments) -> Result<()> {
    // Each ends only with an error, and then the measurement is void.
    let (failed, failure) = std::sync::mpsc::channel();
    let sockets: Vec<_> = arguments.listen.iter().map(|&address| bind(address)).collect::<Result<_>>()?;
    for (socket, address) in sockets.into_iter().zip(&arguments.listen) {
        let failed = failed.clone();
        thread::spawn(move || failed.send(echo(&socket)));
        health::answer(SocketAddr::new(address.ip(), arguments.health))?;
    }
    Ok(failure.recv()??)
}

pub(super) fn bind(address: SocketAddr) -> Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.bind(&address.into()).map_err(|error| anyhow!("cannot listen at {address}: {error}"))?;
    Ok(socket.into())
}

/// Sends back whatever arrives, forever.
pub(super) fn echo(socket: &UdpSocket) -> io::Result<()> {
    let mut incoming = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut outgoing = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut buffers = vec![[0; DATAGRAM]; BATCH];
    let mut lengths = [0; BATCH];
    let mut senders = [None; BATCH];
    loop {
        let mut room = buffers.iter_mut();
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH] = array::from_fn(|_| {
            [IoSliceMut::new(room.next().map_or(&mut [], |buffer| buffer.as_mut_slice()))]
        });
        let received =
            recvmmsg(socket.as_raw_fd(), &mut incoming, &mut slices, MsgFlags::MSG_WAITFORONE, None)?;
        let mut count = 0;
        for message in received {
            (lengths[count], senders[count]) = (message.bytes, message.address);
            count += 1;
        }
        let answers: [[IoSlice<'_>; 1]; BATCH] =
            array::from_fn(|at| [IoSlice::new(&buffers[at][..lengths[at]])]);
        let mut sent = 0;
        while sent < count {
            sent += sendmmsg(
                socket.as_raw_fd(),
                &mut outgoing,
                &answers[sent..count],
                &senders[sent..count],
                [] as [ControlMessage<'_>; 0],
                MsgFlags::empty(),
            )?
            .count();
        }
    }
}
