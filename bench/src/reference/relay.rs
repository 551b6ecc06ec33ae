//! A minimal proxy: one read and one write for bytes from either side; when one side ends, both do.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
};

use rustix::{
    event::{
        PollFd, PollFlags,
        epoll::{self, CreateFlags, EventData, EventFlags},
        poll,
    },
    io::Errno,
};
use slab::Slab;
use socket2::{Domain, Socket, Type};

use super::{Serve, echo::accept_all};
use crate::poll;

/// Tokens from here on are listeners; below are sessions, two for each.
const LISTENERS: u64 = 1 << 32;
const BUFFER: usize = 64 * 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    serve: Serve,
    /// Replicas, used in turn
    #[arg(long, required = true)]
    replica: Vec<SocketAddr>,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<()> {
    let replicas = arguments.replica;
    arguments.serve.on_threads(move |listeners| serve(listeners, &replicas))
}

/// Client and replica.
type Session = [TcpStream; 2];

fn serve(listeners: &[TcpListener], replicas: &[SocketAddr]) -> io::Result<()> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    for (listener, token) in listeners.iter().zip(LISTENERS..) {
        epoll::add(&epoll, listener, EventData::new_u64(token), EventFlags::IN)?;
    }
    let mut sessions: Slab<Session> = Slab::new();
    let mut replicas = replicas.iter().cycle();
    let mut buffer = vec![0; BUFFER];
    let mut events = poll::events();
    loop {
        poll::wait(&epoll, &mut events, None)?;
        // Accepted last: the key of a session that ends in this turn is not reused within it.
        let mut ready = None;
        for event in &events {
            let token = event.data.u64();
            if let Some(listener) = token.checked_sub(LISTENERS) {
                ready = Some(listener as usize);
                continue;
            }
            let (key, side) = ((token >> 1) as usize, (token & 1) as usize);
            let Some(session) = sessions.get(key) else { continue };
            if !matches!(pass(&session[side], &session[1 - side], &mut buffer), Ok(length) if length > 0) {
                // Closing removes them from the epoll set.
                sessions.remove(key);
            }
        }
        for client in ready.map_or(Ok(Vec::new()), |listener| accept_all(&listeners[listener]))? {
            let (Some(&replica), entry) = (replicas.next(), sessions.vacant_entry()) else { continue };
            let session = [client, connect(replica)?];
            watch(&epoll, &session, entry.key())?;
            entry.insert(session);
        }
    }
}

fn watch(epoll: &OwnedFd, session: &Session, key: usize) -> io::Result<()> {
    for (stream, side) in session.iter().zip(0..) {
        epoll::add(epoll, stream, EventData::new_u64((key as u64) << 1 | side), EventFlags::IN)?;
    }
    Ok(())
}

fn connect(replica: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(replica), Type::STREAM.nonblocking(), None)?;
    match socket.connect(&replica.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(error),
        _ => Ok(socket.into()),
    }
}

/// Forwards the result of one read; 0 at the end.
fn pass(mut from: &TcpStream, mut to: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let length = match from.read(buffer) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(usize::MAX),
        result => result?,
    };
    let mut written = 0;
    while written < length {
        match to.write(&buffer[written..length]) {
            Ok(some) => written += some,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(&to, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_closing_one_side_closes_both() {
        let replica = super::super::tests::echo();
        let listener = super::super::listener("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let front = listener.local_addr().unwrap();
        std::thread::spawn(move || serve(&[listener], &[replica]));
        for _ in 0..3 {
            let mut client = TcpStream::connect(front).unwrap();
            client.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
            let message = vec![7; 3 * BUFFER];
            let mut sender = client.try_clone().unwrap();
            let sending = std::thread::spawn({
                let message = message.clone();
                move || sender.write_all(&message)
            });
            let mut back = vec![0; message.len()];
            client.read_exact(&mut back).unwrap();
            sending.join().unwrap().unwrap();
            assert_eq!(back, message);
            client.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(client.read(&mut back).unwrap(), 0);
        }
    }
}
