//! Reads and discards: the far end of a one-way stream. The kernel drops the bytes (`MSG_TRUNC`, tcp(7)) instead of
//! copying them, which leaves the CPU to the proxy.

use std::{
    io,
    net::{TcpListener, TcpStream},
};

use rustix::{
    event::epoll::{self, CreateFlags, EventData, EventFlags},
    net::{RecvFlags, recv},
};
use slab::Slab;

use super::echo::accept_all;
use crate::poll;

const LISTENERS: u64 = 1 << 32;
const BUFFER: usize = 1024 * 1024;

pub(super) fn serve(listeners: &[TcpListener]) -> io::Result<()> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    for (listener, token) in listeners.iter().zip(LISTENERS..) {
        epoll::add(&epoll, listener, EventData::new_u64(token), EventFlags::IN)?;
    }
    let mut streams: Slab<TcpStream> = Slab::new();
    let mut buffer = vec![0; BUFFER];
    let mut events = poll::events();
    loop {
        poll::wait(&epoll, &mut events, None)?;
        for event in &events {
            let token = event.data.u64();
            if let Some(listener) = token.checked_sub(LISTENERS) {
                for stream in accept_all(&listeners[listener as usize])? {
                    let entry = streams.vacant_entry();
                    epoll::add(&epoll, &stream, EventData::new_u64(entry.key() as u64), EventFlags::IN)?;
                    entry.insert(stream);
                }
            } else if !matches!(recv(&streams[token as usize], &mut buffer, RecvFlags::TRUNC), Ok((_, 1..))) {
                streams.remove(token as usize);
            }
        }
    }
}
