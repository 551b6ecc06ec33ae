//! The UDP data plane: sessions between clients and replicas, carried by single-threaded event loops.
//!
//! A session is a client's address and one connected socket to one replica: the client's packets go out on it, and what
//! arrives on it goes to the client. It begins with a client's first packet, at the replica that least-request chooses,
//! and ends after a time without packets.
//!
//! * [`worker`]: one loop: waits for events and hands them on.
//! * [`relay`]: handles packets, and ends sessions. [`upstream`]: sockets to replicas.
//! * [`replies`]: packets of many sessions collected and sent with one system call. [`gso`]: several packets to one
//!   peer as one.
//! * [`table`]: all sessions of a loop, and which of them has been idle longest. [`router`]: chooses a replica.
//! * [`ledger`]: which replica a client has, for the other gateways of the group.
//! * [`sockets`]: the sockets that clients send to.
//!
//! # When a session moves to another replica
//! At the client's next packet, if its replica is draining, has left, fails its health checks, is ejected, or refuses
//! packets (ICMP port unreachable), and there is another one; otherwise it stays. A session that moved still listens to
//! its old replica for [`LINGER`], so that replies in flight arrive.
//!
//! # When the group of gateways changes
//! The kernel spreads clients over the sockets of a group (`SO_REUSEPORT`) by a hash. If a node joins or leaves,
//! clients are reshuffled and reach gateways that do not know them; after a restart another process reads the same
//! socket. A restart loses no packet, because the supervisor keeps the socket; a socket that goes with its node takes
//! its queue along. But a client must keep its replica. The options considered:
//! * *A deterministic choice* (rendezvous hashing) needs no memory, but it is not least-request, and it moves sessions
//!   of living replicas whenever replicas came or went since they began.
//! * *Asking the other gateways* cannot recover what a killed one knew, and delays a client's first packet.
//! * *Connected sockets towards clients* survive a change of the group but not a restart, and one socket per client
//!   rules out batches.
//! * *A table in a file* that all gateways of the group read and write ([`ledger`]): one read when a session begins,
//!   one write when it begins and two per idle time-out. It survives kills. This is our choice.
//!
//! # Floods
//! The number of sessions is bounded, in total and per replica. At the bound, one makes room: first a moved one that
//! only waits for replies, then the longest idle session whose client was not heard again after a reply, then the
//! longest idle of all. So the sources of a random flood, each forged once, displace each other and never a client that
//! was heard again. Only the clients' own protocol could recognise a source that is forged repeatedly: such a flood
//! displaces the longest idle client, which gets a session again with its next packet, at the same replica if there is
//! a [`ledger`]. Packets that claim to come from a replica or from the gateway itself are dropped: answers to them
//! would loop forever.
//!
//! # Limitations
//! If it listens on all addresses of a machine with several, replies leave from the address that the kernel's route to
//! the client selects. Set `HOST` to one address there. Replies that the kernel drops because a session's socket is
//! full (some hundred fit) appear in the kernel's own tables (`/proc/net/udp`) and not in the counts here.

use std::time::Duration;

mod gso;
mod ledger;
mod relay;
mod replies;
mod router;
pub(crate) mod sockets;
mod table;
mod upstream;
pub(crate) mod worker;

pub(crate) use ledger::Ledger;
pub(crate) use relay::Limits;

/// How long to wait for replies in flight: from a replica that a session left, and from all when the gateway ends.
pub(crate) const LINGER: Duration = Duration::from_secs(1);
