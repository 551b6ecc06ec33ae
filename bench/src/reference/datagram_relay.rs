//! A minimal proxy for datagrams: a connected socket for each client, `recvmmsg` and `sendmmsg` towards clients.

use std::{
    array,
    collections::HashMap,
    io::{self, ErrorKind, IoSlice, IoSliceMut},
    net::{SocketAddr, UdpSocket},
    os::fd::{AsRawFd, OwnedFd},
};

use anyhow::Result;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use super::{
    datagrams::{BATCH, DATAGRAM, bind},
    health,
};
use crate::poll;

/// Not the index of a session.
const FRONT: u64 = u64::MAX;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Address to receive datagrams at
    #[arg(long)]
    listen: SocketAddr,
    /// Replicas, used in turn
    #[arg(long, required = true)]
    replica: Vec<SocketAddr>,
    /// Address at which `GET` is answered with 200
    #[arg(long)]
    health: SocketAddr,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let front = bind(arguments.listen)?;
    health::answer(arguments.health)?;
    Ok(serve(&front, &arguments.replica)?)
}

/// A client's session with its replica.
struct Session {
    client: SockaddrIn,
    socket: UdpSocket,
}

struct Sessions<'a> {
    epoll: &'a OwnedFd,
    replicas: &'a [SocketAddr],
    by_client: HashMap<SockaddrIn, usize>,
    all: Vec<Session>,
}

impl Sessions<'_> {
    fn of(&mut self, client: SockaddrIn) -> io::Result<&Session> {
        let next = self.all.len();
        let index = *self.by_client.entry(client).or_insert(next);
        if index == next {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.connect(self.replicas[index % self.replicas.len()])?;
            socket.set_nonblocking(true)?;
            epoll::add(self.epoll, &socket, EventData::new_u64(index as u64), EventFlags::IN)?;
            self.all.push(Session { client, socket });
        }
        Ok(&self.all[index])
    }
}

fn serve(front: &UdpSocket, replicas: &[SocketAddr]) -> io::Result<()> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, front, EventData::new_u64(FRONT), EventFlags::IN)?;
    let mut sessions = Sessions { epoll: &epoll, replicas, by_client: HashMap::new(), all: Vec::new() };
    let mut incoming = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut outgoing = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut buffers = vec![[0; DATAGRAM]; BATCH];
    let (mut lengths, mut clients) = ([0; BATCH], [None; BATCH]);
    let mut events = poll::events();
    loop {
        poll::wait(&epoll, &mut events, None)?;
        let mut count = 0;
        for event in &events {
            let Some(session) = sessions.all.get(event.data.u64() as usize) else { continue };
            match session.socket.recv(&mut buffers[count]) {
                Ok(length) => (lengths[count], clients[count]) = (length, Some(session.client)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            }
            count += 1;
            if count == BATCH {
                // Send the rest again.
                break;
            }
        }
        let answers: [[IoSlice<'_>; 1]; BATCH] =
            array::from_fn(|at| [IoSlice::new(&buffers[at][..lengths[at]])]);
        let mut sent = 0;
        while sent < count {
            let (answers, clients) = (&answers[sent..count], &clients[sent..count]);
            let none: [ControlMessage<'_>; 0] = [];
            let flags = MsgFlags::empty();
            sent += sendmmsg(front.as_raw_fd(), &mut outgoing, answers, clients, none, flags)?.count();
        }
        if events.iter().any(|event| event.data.u64() == FRONT) {
            let mut room = buffers.iter_mut();
            let mut slices: [[IoSliceMut<'_>; 1]; BATCH] = array::from_fn(|_| {
                [IoSliceMut::new(room.next().map_or(&mut [], |buffer| buffer.as_mut_slice()))]
            });
            let mut taken = 0;
            for message in
                recvmmsg(front.as_raw_fd(), &mut incoming, &mut slices, MsgFlags::MSG_DONTWAIT, None)?
            {
                (lengths[taken], clients[taken]) = (message.bytes, message.address);
                taken += 1;
            }
            for at in 0..taken {
                let Some(client) = clients[at] else { continue };
                sessions.of(client)?.socket.send(&buffers[at][..lengths[at]])?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_client_gets_its_own_datagrams_back() {
        let replica = super::super::tests::datagrams();
        let front = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = front.local_addr().unwrap();
        std::thread::spawn(move || serve(&front, &[replica]));
        let clients: Vec<_> = (0..3)
            .map(|_| {
                let client = UdpSocket::bind("127.0.0.1:0").unwrap();
                client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                client.connect(address).unwrap();
                client
            })
            .collect();
        for round in 0..2 {
            for (number, client) in clients.iter().enumerate() {
                client.send(format!("{round} {number}").as_bytes()).unwrap();
            }
            for (number, client) in clients.iter().enumerate() {
                let mut buffer = [0; 64];
                let length = client.recv(&mut buffer).unwrap();
                assert_eq!(&buffer[..length], format!("{round} {number}").as_bytes());
            }
        }
    }
}
