//! Opens connections, and asks which replica serves them.

use rustix::{
    event::epoll::{self, EventFlags as F},
    io::Errno,
    net::sockopt,
};
use uuid::Uuid;

use platform::event::EventKind;

use super::{
    Stream, Worker,
    connection::{Connection, State},
    local_address, socket,
};
use crate::{
    clock::{MS, ceil_ms},
    reply::{GREETING, NOTICE, Progress, behind_greeting},
};

/// Our protocol's question for the replica that serves a connection.
pub(crate) const WHERE: &[u8] = b"WHERE";
/// The answer: a UUID in canonical form.
pub(crate) const IDENTITY_BYTES: usize = 36;

impl Worker<Stream> {
    /// Starts an attempt to connect.
    pub(super) fn connect(&mut self, index: u32) {
        let at = index as usize;
        self.tally.totals.attempted += 1;
        let started_ns = self.clock.now_ns();
        let connection = &mut self.transport.connections[at];
        // Everything except what spans connections is reset.
        *connection = Connection {
            started_ns,
            state: State::Connecting,
            opened_before: connection.opened_before,
            resolved: connection.resolved,
            failures: connection.failures,
            ended_ns: connection.ended_ns,
            ..Connection::new()
        };
        self.tally.connecting += 1;
        let socket = match socket::begin(self.spec.target(at), self.spec.source(at)) {
            socket::Attempt::Pending(socket) => socket,
            socket::Attempt::Failed(error) => return self.failed(index, error),
        };
        let flags = F::IN | F::OUT | F::RDHUP | F::ET;
        match epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(u64::from(index)), flags) {
            Ok(()) => self.transport.connections[at].socket = Some(socket),
            Err(error) => self.failed(index, error),
        }
    }

    /// The network said something about a connection.
    pub(super) fn on_event(&mut self, index: u32, flags: epoll::EventFlags) {
        let connection = &self.transport.connections[index as usize];
        if connection.state == State::Connecting {
            if flags.intersects(F::ERR | F::HUP) {
                let error =
                    connection.socket.as_ref().and_then(|socket| match sockopt::socket_error(socket) {
                        Ok(Ok(())) => None,
                        Ok(Err(error)) | Err(error) => Some(error),
                    });
                if let Some(error) = error {
                    return self.failed(index, error);
                }
            } else if !flags.contains(F::OUT) {
                return;
            }
            if self.transport.websocket.is_some() {
                self.upgrade(index);
            } else if self.transport.sse.is_some() {
                self.ask_for_stream(index);
            } else {
                self.established(index);
            }
        } else if connection.writing && flags.contains(F::OUT) {
            self.write(index);
            self.settle(index, true);
        }
        let over = flags.intersects(F::RDHUP | F::HUP | F::ERR);
        if over || flags.contains(F::IN) {
            self.read(index, over);
        }
    }

    fn established(&mut self, index: u32) {
        self.opened(index);
        if self.spec.identify {
            let now_ms = self.now_ms();
            let connection = &mut self.transport.connections[index as usize];
            connection.state = State::Identifying;
            connection.sent_ms = now_ms;
            self.tally.totals.where_sent += 1;
            self.write(index);
        } else {
            self.ready(index);
        }
    }

    /// Counts an open connection.
    pub(super) fn opened(&mut self, index: u32) {
        let now_ns = self.clock.now_ns();
        self.decided(index);
        self.tally.connecting -= 1;
        self.tally.opened();
        let connection = &mut self.transport.connections[index as usize];
        let (totals, distributions) = (&mut self.tally.totals, &mut self.tally.distributions);
        totals.connected += 1;
        distributions.connect.record_ns(now_ns.saturating_sub(connection.started_ns));
        if connection.opened_before {
            totals.reconnected += 1;
            distributions.reconnect.record_ns(now_ns.saturating_sub(connection.ended_ns));
        } else {
            totals.connected_first += 1;
        }
        connection.opened_before = true;
    }

    /// The connection starts its schedule.
    pub(super) fn ready(&mut self, index: u32) {
        let now_ns = self.clock.now_ns();
        let connection = &mut self.transport.connections[index as usize];
        connection.state = State::Open;
        connection.progress = Progress::default();
        // No byte of a message is written yet, even if the question was answered before it was written.
        connection.written = 0;
        connection.writing = false;
        connection.base_ms = ceil_ms(now_ns);
        let replica = connection.replica;
        self.tally.served(replica, (now_ns / MS / 1_000) as u32);
        self.session_continues(index);
        if self.spec.scenario.sends() || self.has_orders(index) {
            let connection = &mut self.transport.connections[index as usize];
            connection.wake_ms = self.wheel.insert(index, connection.base_ms);
        }
        if let Some(stay_ms) = self.stay_ms() {
            let connection = &mut self.transport.connections[index as usize];
            connection.wake_ms = self.wheel.insert(index, connection.base_ms.saturating_add(stay_ms));
        }
        self.trace(|worker| worker.opened_event(index, now_ns));
    }

    fn opened_event(&self, index: u32, now_ns: u64) -> EventKind {
        let connection = &self.transport.connections[index as usize];
        EventKind::ConnectionOpened {
            id: self.spec.number(index as usize),
            local: local_address(connection.socket.as_ref()),
            connect_us: now_ns.saturating_sub(connection.started_ns) / 1_000,
            replica: self.tally.replica(connection.replica).map(str::to_owned),
        }
    }

    /// Reads the answer to `WHERE`. Any other input leaves the replica unknown.
    pub(super) fn read_identity(&mut self, index: u32, piece: &[u8]) {
        let mut answer = self.transport.partial_identities.remove(&index).unwrap_or_default();
        // Only a greeting, a notice, an identity and line ends are examined.
        let room = (GREETING.len() + NOTICE.len() + IDENTITY_BYTES + 6).saturating_sub(answer.len());
        answer.extend_from_slice(&piece[..piece.len().min(room)]);
        let mut rest = behind_greeting(&answer);
        if let Some(behind) = rest.strip_prefix(NOTICE) {
            self.notice(index);
            rest = behind.trim_ascii_start();
        }
        if rest.len() < IDENTITY_BYTES && might_become_something(rest) {
            self.transport.partial_identities.insert(index, rest.to_vec());
            return;
        }
        let identity = rest.get(..IDENTITY_BYTES).and_then(parse_identity);
        let behind = identity.map_or(rest, |_| &rest[IDENTITY_BYTES..]).to_vec();
        if let Some(uuid) = identity {
            self.tally.totals.where_answered += 1;
            self.transport.connections[index as usize].replica = self.tally.identified(&uuid.to_string());
        }
        self.ready(index);
        let Stream { connections, matcher, .. } = &mut self.transport;
        let seen = matcher.feed(&mut connections[index as usize].progress, &behind, false);
        self.take_in(index, seen);
    }

    fn failed(&mut self, index: u32, error: Errno) {
        let totals = &mut self.tally.totals;
        match error {
            Errno::CONNREFUSED => {
                totals.refused += 1;
                totals.refused_without_hint += 1;
            }
            Errno::TIMEDOUT => totals.connect_timeouts += 1,
            _ => totals.connect_errors += 1,
        }
        self.say_error("connecting to", index, explain(error));
        self.give_up_connecting(index);
    }

    /// An attempt has failed.
    pub(super) fn give_up_connecting(&mut self, index: u32) {
        self.decided(index);
        self.tally.connecting -= 1;
        self.transport.connections[index as usize].socket = None;
        self.come_back(index);
    }
}

/// Parses a UUID in canonical form.
pub(crate) fn parse_identity(text: &[u8]) -> Option<Uuid> {
    (text.len() == IDENTITY_BYTES).then(|| Uuid::try_parse_ascii(text).ok()).flatten()
}

/// Whether this may be the start of an identity, a notice or a greeting.
fn might_become_something(begun: &[u8]) -> bool {
    NOTICE.starts_with(begun)
        || GREETING.starts_with(begun)
        || begun.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn explain(error: Errno) -> String {
    let advice = match error {
        Errno::ADDRNOTAVAIL => {
            "; no ephemeral port is free for this pair of addresses (net.ipv4.ip_local_port_range)"
        }
        Errno::MFILE | Errno::NFILE => "; raise the limit on open files (ulimit -n)",
        Errno::NOBUFS | Errno::NOMEM => "; the machine is out of memory for sockets",
        Errno::NETUNREACH | Errno::HOSTUNREACH => "; there is no route to it",
        _ => "",
    };
    format!("{error}{advice}")
}
