//! Many datagrams with one system call.

use std::{
    array,
    io::{IoSlice, IoSliceMut},
    os::fd::AsRawFd,
};

use nix::{
    errno::Errno,
    sys::socket::{ControlMessage, MsgFlags, MultiHeaders, recvmmsg, send, sendmmsg},
};

use super::tag::Form;

/// Datagrams per call.
pub(super) const BATCH: usize = 32;
/// Longer datagrams are received in part; answers to our messages are shorter.
const DATAGRAM_BYTES: usize = 2048;

/// Messages to send.
pub(super) struct Outgoing {
    headers: MultiHeaders<()>,
    messages: Vec<Vec<u8>>,
}

impl Outgoing {
    pub(super) fn new(form: &Form) -> Self {
        Self {
            headers: MultiHeaders::preallocate(BATCH, None),
            messages: vec![form.template().to_vec(); BATCH],
        }
    }

    /// Message `at` of the batch, to be numbered.
    pub(super) fn message(&mut self, at: usize) -> &mut [u8] {
        &mut self.messages[at]
    }

    /// Sends the first `count` messages. Returns how many the socket accepted.
    pub(super) fn send(&mut self, socket: &impl AsRawFd, count: usize) -> Result<usize, Errno> {
        if count == 1 {
            return send(socket.as_raw_fd(), &self.messages[0], MsgFlags::MSG_NOSIGNAL).map(|_| 1);
        }
        let slices: [[IoSlice<'_>; 1]; BATCH] = array::from_fn(|at| [IoSlice::new(&self.messages[at])]);
        let sent = sendmmsg(
            socket.as_raw_fd(),
            &mut self.headers,
            &slices[..count],
            [None; BATCH],
            [] as [ControlMessage<'_>; 0],
            MsgFlags::MSG_NOSIGNAL,
        )?;
        Ok(sent.count())
    }
}

/// Received datagrams.
pub(super) struct Incoming {
    headers: MultiHeaders<()>,
    buffers: Vec<[u8; DATAGRAM_BYTES]>,
    lengths: [usize; BATCH],
}

impl Incoming {
    pub(super) fn new() -> Self {
        Self {
            headers: MultiHeaders::preallocate(BATCH, None),
            buffers: vec![[0; DATAGRAM_BYTES]; BATCH],
            lengths: [0; BATCH],
        }
    }

    /// Receives pending datagrams. Returns how many; fewer than [`BATCH`]: there are no more.
    pub(super) fn receive(&mut self, socket: &impl AsRawFd) -> Result<usize, Errno> {
        let mut buffers = self.buffers.iter_mut();
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH] = array::from_fn(|_| {
            [IoSliceMut::new(buffers.next().map_or(&mut [], |buffer| buffer.as_mut_slice()))]
        });
        let received =
            recvmmsg(socket.as_raw_fd(), &mut self.headers, &mut slices, MsgFlags::MSG_DONTWAIT, None)?;
        let mut count = 0;
        for (length, message) in self.lengths.iter_mut().zip(received) {
            *length = message.bytes;
            count += 1;
        }
        Ok(count)
    }

    pub(super) fn datagram(&self, at: usize) -> &[u8] {
        &self.buffers[at][..self.lengths[at]]
    }
}
