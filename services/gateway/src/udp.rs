//! The UDP data plane: sessions between clients and replicas, carried by single-threaded event loops.
//!
//! A session is a client's address and one connected socket towards one replica: what comes from the client goes out
//! on it, what comes in on it goes to the client. It begins with a client's first packet, at the replica that
//! least-request chooses, and ends after a time without packets.
//!
//! * [`worker`]: one loop: waits for events and hands them on.
//! * [`relay`]: what becomes of a packet, and how sessions end. [`upstream`]: sockets towards replicas.
//! * [`replies`]: packets of many sessions collected and sent with one system call. [`gso`]: several packets to one
//!   peer as one.
//! * [`table`]: all sessions of a loop, and which of them is idle for longest. [`router`]: choosing a replica.
//! * [`ledger`]: which replica a client has, for the other gateways of the group.
//! * [`sockets`]: the sockets that clients send to.
//!
//! # When a session goes to another replica
//! At the client's next packet, if its replica drains, left, fails its health checks, is ejected, or refuses packets
//! (ICMP port unreachable), and another one is there; else it stays. A session that moved still hears its old replica
//! for [`LINGER`], so that replies under way arrive.
//!
//! # When the group of gateways changes
//! The kernel spreads clients over the sockets of a group (`SO_REUSEPORT`) by a hash. If a node joins or leaves, clients
//! are spread anew and come to gateways that do not know them; after a restart another process reads the same socket.
//! A restart loses no packet, since the supervisor keeps the socket; a socket that goes with its node takes what is
//! queued there along. But who serves a client must not be decided anew. The ways that were weighed:
//! * *A deterministic choice* (rendezvous hashing) needs no memory, but it is not least-request, and it moves sessions
//!   of living replicas whenever replicas came or went since they began.
//! * *Asking the other gateways* knows nothing of what a killed one knew, and delays a client's first packet.
//! * *Connected sockets towards clients* survive a change of the group, yet not a restart; and one socket per client
//!   is the end of batches.
//! * *A table in a file* that all gateways of the group read and write ([`ledger`]): one read when a session begins,
//!   one write when it begins and twice in an idle time-out. It survives kills. This one it is.
//!
//! # Floods
//! The number of sessions is bounded, in all and per replica. At the bound one makes room: first a moved one that only
//! waits for replies, then the longest idle of those whose client was not heard again after a reply, then the longest
//! idle of all. Sources that are forged once, as those of a random flood are, therefore displace each other and no
//! client that was heard again. Nothing but the protocol of the clients itself could tell apart one that is forged
//! again and again: such a flood displaces whoever is idle for longest, and who is displaced has a session again, at the
//! same replica if there is a [`ledger`], with its next packet. Packets that claim to come from a replica or from the
//! gateway itself are dropped: answers to them would go round for ever.
//!
//! # What it does not do
//! Where it listens on every address of a machine that has several, replies go out from the one that the kernel's route
//! to the client has. Give it one `HOST` there. What the kernel throws away because one session's socket is full of
//! replies, some hundred of them, is in the kernel's own tables (`/proc/net/udp`) and not among the counts here.

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

/// How long replies under way are waited for: of a replica that a session left, and of all when the gateway ends.
pub(crate) const LINGER: Duration = Duration::from_secs(1);
