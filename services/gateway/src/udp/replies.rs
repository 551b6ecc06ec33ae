//! Packets from replicas, collected over many sessions and sent to their clients with one system call.
//!
//! Received into the slots of one piece of memory and sent from there: nothing is copied. Consecutive packets to one
//! client are sent as one message where possible ([`gso`]).

use std::io::{IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, RawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, recvmmsg, sendmmsg};
use service::datagrams::Peer;

use super::gso;
use super::table::Flow;
use super::upstream;
use crate::stats::PacketStats;

/// Maximum number of collected packets.
const SLOTS: usize = 64;

/// Packets taken from one socket at once; the preparation for each call grows with it.
const PER_SOCKET: usize = 16;

/// Maximum length of a UDP packet.
const PACKET_BYTES: usize = 65_535;

/// The distance between slots. Not a power of two: short packets only use the start of slots, which would then share a
/// few sets of the processor's caches. Unused pages take no memory.
const STRIDE: usize = 65_536 + 320;

/// The result of receiving from one socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    /// There was no more.
    pub(super) drained: bool,
}

/// Packets for clients of one address family.
pub(super) struct Replies<P: Peer> {
    memory: Box<[u8]>,
    waiting: Vec<Waiting>,
    plan: Plan<P>,
    inbound: MultiHeaders<()>,
    outbound: MultiHeaders<P::Kernel>,
    outbound_segmented: MultiHeaders<P::Kernel>,
    /// Whether to try segmented messages.
    segments: bool,
}

/// A packet in the slot of the same index.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    flow: Flow,
    length: usize,
}

/// Consecutive packets sent as one: a [`gso::run`].
#[derive(Debug, Clone, Copy)]
struct Message {
    start: usize,
    count: usize,
    /// The length of its packets; the last may be shorter.
    segment: usize,
}

/// Which packets to send together, and to whom.
struct Plan<P: Peer> {
    messages: Vec<Message>,
    /// For each message.
    clients: Vec<Option<P::Kernel>>,
}

impl<P: Peer> Replies<P> {
    pub(super) fn new() -> Self {
        Self {
            memory: vec![0; SLOTS * STRIDE].into_boxed_slice(),
            waiting: Vec::with_capacity(SLOTS),
            plan: Plan { messages: Vec::with_capacity(SLOTS), clients: Vec::with_capacity(SLOTS) },
            inbound: MultiHeaders::preallocate(PER_SOCKET, None),
            outbound: MultiHeaders::preallocate(SLOTS, None),
            outbound_segmented: MultiHeaders::preallocate(SLOTS, Some(cmsg_space!(u16))),
            segments: true,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// True if packets to clients of this listener can be added; otherwise call [`Replies::send`] first.
    pub(super) fn has_room(&self, listener: usize) -> bool {
        self.waiting.len() < SLOTS && self.waiting.first().is_none_or(|first| first.flow.listener == listener)
    }

    /// Adds pending packets on the connected `socket` for the client of `flow`.
    ///
    /// # Errors
    /// The kernel's error: `EAGAIN` if nothing is there, `ECONNREFUSED` if an earlier packet was refused.
    pub(super) fn receive(&mut self, socket: RawFd, flow: Flow) -> Result<Received, Errno> {
        let used = self.waiting.len();
        let count = PER_SOCKET.min(SLOTS - used);
        let mut slots = self.memory.chunks_exact_mut(STRIDE).skip(used);
        let mut slices: [[IoSliceMut<'_>; 1]; PER_SOCKET] = std::array::from_fn(|_| {
            [IoSliceMut::new(slots.next().map(|slot| &mut slot[..PACKET_BYTES]).unwrap_or_default())]
        });
        let received =
            recvmmsg(socket, &mut self.inbound, &mut slices[..count], MsgFlags::MSG_DONTWAIT, None)?;
        let mut bytes = 0;
        for message in received {
            bytes += message.bytes as u64;
            self.waiting.push(Waiting { flow, length: message.bytes });
        }
        let packets = self.waiting.len() - used;
        Ok(Received { packets: packets as u64, bytes, drained: packets < count })
    }

    /// Sends everything received, from the sockets the clients sent to. What the kernel does not accept is dropped.
    pub(super) fn send(&mut self, listeners: &[UdpSocket], stats: &PacketStats) {
        let Some(listener) = self.waiting.first().map(|first| first.flow.listener) else {
            return;
        };
        let socket = listeners[listener].as_raw_fd();
        self.plan.make(&self.waiting, self.segments);
        let mut slices = [IoSlice::new(&[]); SLOTS];
        for ((slice, slot), waiting) in
            slices.iter_mut().zip(self.memory.chunks_exact(STRIDE)).zip(&self.waiting)
        {
            *slice = IoSlice::new(&slot[..waiting.length]);
        }
        let mut next = 0;
        while next < self.plan.messages.len() {
            let (end, segment) = call(&self.plan.messages, next);
            let mut groups = [&[][..]; SLOTS];
            for (group, message) in groups.iter_mut().zip(&self.plan.messages[next..end]) {
                *group = &slices[message.start..message.start + message.count];
            }
            let groups = &groups[..end - next];
            let clients = &self.plan.clients[next..end];
            let result = if let Some(segment) = segment {
                send_some::<P>(socket, &mut self.outbound_segmented, groups, clients, Some(segment as u16))
            } else {
                send_some::<P>(socket, &mut self.outbound, groups, clients, None)
            };
            let first = self.plan.messages[next];
            match result {
                Ok(sent) => {
                    let packets: usize = groups.iter().take(sent).map(|group| group.len()).sum();
                    stats.answered.add(packets as u64);
                    next += sent;
                }
                Err(Errno::EINTR) => {}
                // There would be no room for the rest either.
                Err(error) if upstream::lacks_room(error) => {
                    stats.unsent.add((self.waiting.len() - first.start) as u64);
                    break;
                }
                Err(error) if first.count > 1 && gso::is_refused(error) => {
                    self.segments &= !gso::is_impossible(error);
                    self.plan.take_apart(next, &self.waiting);
                }
                // An error belongs to the first message.
                Err(error) => {
                    tracing::debug!(%error, client = ?self.waiting[first.start].flow.client, "reply not sent");
                    stats.unsent.add(first.count as u64);
                    next += 1;
                }
            }
        }
        self.waiting.clear();
    }
}

impl<P: Peer> Plan<P> {
    fn make(&mut self, waiting: &[Waiting], segments: bool) {
        self.messages.clear();
        self.clients.clear();
        let mut start = 0;
        while let Some(first) = waiting.get(start) {
            let same = waiting[start..].iter().take_while(|waiting| waiting.flow == first.flow);
            let count = if segments { gso::run(same.map(|waiting| waiting.length)) } else { 1 };
            self.messages.push(Message { start, count, segment: first.length });
            self.clients.push(P::of(first.flow.client).map(Peer::to_kernel));
            start += count;
        }
    }

    /// Splits the message at `index` into one message per packet.
    fn take_apart(&mut self, index: usize, waiting: &[Waiting]) {
        let (whole, client) = (self.messages[index], self.clients[index]);
        let packets = whole.start..whole.start + whole.count;
        let single = |start: usize| Message { start, count: 1, segment: waiting[start].length };
        self.messages.splice(index..=index, packets.map(single));
        self.clients.splice(index..=index, std::iter::repeat_n(client, whole.count));
    }
}

/// Which messages from `first` on go into one call: their end, and their segments' length if any is segmented. That
/// length applies to the whole call and would cut a longer message.
fn call(messages: &[Message], first: usize) -> (usize, Option<usize>) {
    let (mut segment, mut longest) = (None, 0);
    let rest = messages[first..].iter().take_while(|message| {
        let segmented = message.count > 1;
        let fits = match segment {
            Some(segment) if segmented => message.segment == segment,
            Some(segment) => message.segment <= segment,
            None => !segmented || longest <= message.segment,
        };
        if fits && segmented {
            segment = Some(message.segment);
        }
        longest = longest.max(message.segment);
        fits
    });
    let count = rest.count();
    (first + count, segment)
}

/// One system call; returns how many messages the kernel accepted: at least one.
fn send_some<P: Peer>(
    socket: RawFd,
    headers: &mut MultiHeaders<P::Kernel>,
    groups: &[&[IoSlice<'_>]],
    clients: &[Option<P::Kernel>],
    segment: Option<u16>,
) -> Result<usize, Errno> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    match &segment {
        Some(segment) => {
            let control = [ControlMessage::UdpGsoSegments(segment)];
            Ok(sendmmsg(socket, headers, groups, clients, control, flags)?.count())
        }
        None => Ok(sendmmsg(socket, headers, groups, clients, [], flags)?.count()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV4;
    use std::time::Duration;

    use super::*;

    struct Client(UdpSocket);

    impl Client {
        fn new() -> Self {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            Self(socket)
        }

        fn flow(&self) -> Flow {
            Flow { client: self.0.local_addr().unwrap(), listener: 0 }
        }

        fn lengths(&self, count: usize) -> Vec<usize> {
            let mut buffer = vec![0; 65_536];
            (0..count).map(|_| self.0.recv(&mut buffer).unwrap()).collect()
        }
    }

    /// A replica's socket and the session's, connected to each other.
    fn pair() -> (UdpSocket, UdpSocket) {
        let (replica, session) =
            (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        replica.connect(session.local_addr().unwrap()).unwrap();
        session.connect(replica.local_addr().unwrap()).unwrap();
        (replica, session)
    }

    fn message(count: usize, segment: usize) -> Message {
        Message { start: 0, count, segment }
    }

    #[test]
    fn no_message_is_cut_by_the_segments_of_another() {
        let calls = |messages: &[Message]| {
            let (mut next, mut calls) = (0, Vec::new());
            while next < messages.len() {
                let (end, segment) = call(messages, next);
                calls.push((end - next, segment));
                next = end;
            }
            calls
        };
        let (single, run) = (|length| message(1, length), |length| message(3, length));
        assert_eq!(calls(&[single(10), single(2_000)]), [(2, None)]);
        assert_eq!(calls(&[single(10), run(20), single(20), run(20)]), [(4, Some(20))]);
        assert_eq!(calls(&[single(21), run(20)]), [(1, None), (1, Some(20))]);
        assert_eq!(calls(&[run(20), single(21), run(20)]), [(1, Some(20)), (1, None), (1, Some(20))]);
        assert_eq!(calls(&[run(20), run(30)]), [(1, Some(20)), (1, Some(30))]);
    }

    #[test]
    fn packets_of_many_sessions_leave_in_one_call_and_in_order() {
        let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
        let clients: Vec<_> = (0..3).map(|_| Client::new()).collect();
        let lengths = [vec![50_usize, 50, 50, 20], vec![9], vec![1_500, 0, 3, 3]];
        let (mut replies, stats) = (Replies::<SocketAddrV4>::new(), PacketStats::default());
        for segments in [true, false] {
            replies.segments = segments;
            for (client, lengths) in clients.iter().zip(&lengths) {
                let (replica, session) = pair();
                for length in lengths {
                    replica.send(&vec![7; *length]).unwrap();
                }
                assert!(replies.has_room(0));
                assert_eq!(replies.has_room(1), replies.is_empty(), "one batch, one socket");
                let received = replies.receive(session.as_raw_fd(), client.flow()).unwrap();
                assert_eq!(received.packets, lengths.len() as u64);
                assert!(received.drained);
                let again = replies.receive(session.as_raw_fd(), client.flow()).unwrap_err();
                assert_eq!(again, Errno::EAGAIN);
            }
            replies.send(std::slice::from_ref(&listener), &stats);
            assert!(replies.is_empty());
            for (client, lengths) in clients.iter().zip(&lengths) {
                assert_eq!(client.lengths(lengths.len()), *lengths);
            }
        }
        assert_eq!((stats.answered.get(), stats.unsent.get()), (18, 0));
    }

    #[test]
    fn an_unreachable_client_does_not_block_the_others() {
        let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (client, mut replies, stats) =
            (Client::new(), Replies::<SocketAddrV4>::new(), PacketStats::default());
        let nobody = Flow { client: "127.0.0.1:0".parse().unwrap(), listener: 0 };
        let (replica, session) = pair();
        for flow in [nobody, client.flow()] {
            for _ in 0..2 {
                replica.send(b"reply").unwrap();
            }
            replies.receive(session.as_raw_fd(), flow).unwrap();
        }
        replies.send(std::slice::from_ref(&listener), &stats);
        assert_eq!(client.lengths(2), [5, 5]);
        assert_eq!((stats.answered.get(), stats.unsent.get()), (2, 2));
    }

    #[test]
    fn a_message_that_must_not_be_segmented_is_split() {
        let (client, mut replies) = (Client::new(), Replies::<SocketAddrV4>::new());
        let (replica, session) = pair();
        for _ in 0..3 {
            replica.send(b"reply").unwrap();
        }
        replies.receive(session.as_raw_fd(), client.flow()).unwrap();
        let Replies { plan, waiting, .. } = &mut replies;
        plan.make(waiting, true);
        assert_eq!(plan.messages.len(), 1);
        plan.take_apart(0, waiting);
        let parts: Vec<_> =
            plan.messages.iter().map(|message| (message.start, message.count, message.segment)).collect();
        assert_eq!(parts, [(0, 1, 5), (1, 1, 5), (2, 1, 5)]);
        assert_eq!(plan.clients.len(), 3);
    }

    #[test]
    fn a_burst_is_read_in_parts() {
        let (client, mut replies) = (Client::new(), Replies::<SocketAddrV4>::new());
        let (replica, session) = pair();
        for _ in 0..=PER_SOCKET {
            replica.send(b"reply").unwrap();
        }
        assert!(!replies.receive(session.as_raw_fd(), client.flow()).unwrap().drained);
        assert!(replies.receive(session.as_raw_fd(), client.flow()).unwrap().drained);
    }
}
