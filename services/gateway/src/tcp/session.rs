//! A client's connection and the one to its backend: two flows, and what their ends mean.
//!
//! * When one side has sent its last byte, the other side's writing half is shut down; the other direction continues.
//!   The session ends when both directions have.
//! * A reset of one side resets the other, after passing on what could still be read.
//! * An unreachable backend does not end the session: as long as nothing was sent to it, another one can take over,
//!   and what the client sent meanwhile is kept.

use std::io;
use std::net::Shutdown;
use std::sync::Arc;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::SockRef;

use super::flow::{Flow, Moved, Pause, Shared};
use crate::cluster::backend::Backend;

/// One of the two ends of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Backend,
}

/// One of the two directions of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the client to the backend.
    Up,
    /// From the backend to the client.
    Down,
}

impl Side {
    /// The direction whose source this side is.
    pub(super) fn outgoing(self) -> Direction {
        match self {
            Self::Client => Direction::Up,
            Self::Backend => Direction::Down,
        }
    }

    /// The direction whose sink this side is.
    pub(super) fn incoming(self) -> Direction {
        self.outgoing().reverse()
    }
}

impl Direction {
    pub(super) fn reverse(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }

    fn sink(self) -> Side {
        match self {
            Self::Up => Side::Backend,
            Self::Down => Side::Client,
        }
    }
}

/// The events of a session's two sockets: the slab's key of the session, and one bit for the side.
pub(super) fn token(key: usize, side: Side) -> Token {
    Token(key << 1 | usize::from(side == Side::Backend))
}

/// The reverse of [`token`].
pub(super) fn from_token(token: Token) -> (usize, Side) {
    (token.0 >> 1, if token.0 & 1 == 1 { Side::Backend } else { Side::Client })
}

/// A socket in the poll.
#[derive(Debug)]
struct Peer {
    stream: TcpStream,
    /// Requested only after the socket was full once, which is rare. An unneeded edge costs nothing, so the interest is
    /// never removed.
    write_interest: bool,
}

impl Peer {
    fn register(mut stream: TcpStream, registry: &Registry, token: Token) -> io::Result<Self> {
        registry.register(&mut stream, token, Interest::READABLE)?;
        Ok(Self { stream, write_interest: false })
    }

    fn want_write(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        if !self.write_interest {
            registry.reregister(&mut self.stream, token, Interest::READABLE | Interest::WRITABLE)?;
            self.write_interest = true;
        }
        Ok(())
    }
}

/// A client's connection and the one to its backend. Tens of thousands are idle at a time, so it has a [`BUDGET`].
#[derive(Debug)]
pub(super) struct Session {
    client: Peer,
    upstream: Peer,
    backend: Arc<Backend>,
    up: Flow,
    down: Flow,
    /// Distinguishes this attempt to connect from all others under the same key.
    serial: u32,
    connected: bool,
    retried: bool,
    sent: Sent,
    /// Sweeps since data last moved.
    silent_for: u8,
}

/// Bytes of one session. Debug builds of mio keep 12 more with each socket.
const BUDGET: usize = if cfg!(debug_assertions) { 96 } else { 64 };
const _: () = assert!(size_of::<Session>() <= BUDGET, "a session outgrew its budget");

/// How often the backend was written to, as far as `TCP_NODELAY` is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Nothing,
    Once,
    /// More than once, so the option is set.
    Undelayed,
}

/// What a session needs from its worker to move.
pub(super) struct Turn<'a> {
    pub(super) registry: &'a Registry,
    pub(super) shared: &'a mut Shared,
    pub(super) key: usize,
}

/// The outcome of a step.
#[derive(Debug)]
pub(super) enum Step {
    /// It waits for events.
    Wait,
    /// It can continue in this direction once others have had their turn.
    Again(Direction),
    /// Both directions ended in an orderly way.
    Ended,
    /// One side was reset or failed in this way.
    Reset(io::ErrorKind),
    /// The backend could not be reached, and nothing was sent to it yet.
    Unreachable(io::Error),
}

impl Session {
    pub(super) fn new(
        client: TcpStream,
        upstream: TcpStream,
        backend: Arc<Backend>,
        serial: u32,
        registry: &Registry,
        key: usize,
    ) -> io::Result<Self> {
        Ok(Self {
            client: Peer::register(client, registry, token(key, Side::Client))?,
            upstream: Peer::register(upstream, registry, token(key, Side::Backend))?,
            backend,
            up: Flow::default(),
            down: Flow::default(),
            serial,
            connected: false,
            retried: false,
            sent: Sent::Nothing,
            silent_for: 0,
        })
    }

    pub(super) fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    pub(super) fn serial(&self) -> u32 {
        self.serial
    }

    /// Counts one more sweep; returns how many have passed in silence.
    pub(super) fn sweep(&mut self) -> u8 {
        self.silent_for = self.silent_for.saturating_add(1);
        self.silent_for
    }

    pub(super) fn connected(&self) -> bool {
        self.connected
    }

    pub(super) fn retried(&self) -> bool {
        self.retried
    }

    /// Moves to another backend with everything the client has sent so far.
    pub(super) fn switch(
        &mut self,
        backend: Arc<Backend>,
        upstream: TcpStream,
        serial: u32,
        turn: &mut Turn<'_>,
    ) -> io::Result<Step> {
        self.upstream = Peer::register(upstream, turn.registry, token(turn.key, Side::Backend))?;
        self.backend = backend;
        self.serial = serial;
        self.retried = true;
        self.down = Flow::default();
        if self.up.waits_for_sink() { Ok(self.drive(Direction::Up, false, turn)) } else { Ok(Step::Wait) }
    }

    /// Checks whether the connect has finished; on an idle connection, no other call would show it.
    pub(super) fn check_connect(&mut self) -> io::Result<bool> {
        if !self.connected {
            if let Some(error) = self.upstream.stream.take_error()? {
                return Err(error);
            }
            if self.upstream.stream.peer_addr().is_ok() {
                self.set_connected();
            }
        }
        Ok(self.connected)
    }

    /// Takes the error that an event announced, unless a read or write already did.
    pub(super) fn take_error(&self, side: Side) -> Option<io::Error> {
        let peer = match side {
            Side::Client => &self.client,
            Side::Backend => &self.upstream,
        };
        peer.stream.take_error().ok().flatten()
    }

    pub(super) fn waits_for_sink(&self, direction: Direction) -> bool {
        match direction {
            Direction::Up => self.up.waits_for_sink(),
            Direction::Down => self.down.waits_for_sink(),
        }
    }

    /// Handles an event of the source of `direction`.
    pub(super) fn source_ready(
        &mut self,
        direction: Direction,
        to_the_end: bool,
        turn: &mut Turn<'_>,
    ) -> Step {
        if self.waits_for_sink(direction) {
            self.flow(direction).note_unseen();
            return Step::Wait;
        }
        self.drive(direction, to_the_end, turn)
    }

    /// Forwards what the client sent before it had a backend: the first `taken` bytes of the shared buffer.
    pub(super) fn begin(&mut self, taken: usize, turn: &mut Turn<'_>) -> Step {
        let moved = self.up.begin(taken, &self.client.stream, &self.upstream.stream, turn.shared);
        self.count(Direction::Up, &moved);
        self.follow(Direction::Up, moved.pause, turn)
    }

    /// Moves what can be moved in one direction and decides what follows.
    pub(super) fn drive(&mut self, direction: Direction, to_the_end: bool, turn: &mut Turn<'_>) -> Step {
        if self.flow(direction).done {
            return Step::Wait;
        }
        let moved = self.run(direction, to_the_end, turn.shared);
        self.follow(direction, moved.pause, turn)
    }

    fn follow(&mut self, direction: Direction, pause: Pause, turn: &mut Turn<'_>) -> Step {
        match pause {
            Pause::SourceEmpty => Step::Wait,
            Pause::SinkFull => self.want_write(direction, turn),
            Pause::Turn => Step::Again(direction),
            Pause::End => self.pass_on_end(direction, turn),
            Pause::SourceFailed(error) if direction == Direction::Down && !self.connected => {
                Step::Unreachable(error)
            }
            Pause::SinkFailed(error) if direction == Direction::Up && !self.connected => {
                Step::Unreachable(error)
            }
            Pause::SourceFailed(error) => Step::Reset(error.kind()),
            Pause::SinkFailed(error) => {
                // Data that a peer sent before its reset must still arrive.
                self.run(direction.reverse(), true, turn.shared);
                Step::Reset(error.kind())
            }
        }
    }

    fn run(&mut self, direction: Direction, to_the_end: bool, shared: &mut Shared) -> Moved {
        let connected = self.connected;
        let (flow, source, sink) = match direction {
            Direction::Up => (&mut self.up, &self.client, &self.upstream),
            Direction::Down => (&mut self.down, &self.upstream, &self.client),
        };
        let moved = flow.run(&source.stream, &sink.stream, shared, to_the_end, connected);
        self.count(direction, &moved);
        moved
    }

    fn count(&mut self, direction: Direction, moved: &Moved) {
        if moved.heard || moved.bytes > 0 {
            self.silent_for = 0;
        }
        match direction {
            Direction::Up => {
                if moved.bytes > 0 {
                    self.backend.passed_to(moved.bytes);
                    self.set_connected();
                    self.count_writes(moved.writes);
                }
            }
            Direction::Down => {
                if moved.bytes > 0 {
                    self.backend.passed_from(moved.bytes);
                }
                if moved.heard {
                    self.set_connected();
                }
            }
        }
    }

    /// The first write goes out at once anyway; a later one would wait for its acknowledgement. So one-message sessions
    /// save the system call, and the call sends what the second write left pending.
    fn count_writes(&mut self, writes: u32) {
        self.sent = match (self.sent, writes) {
            (Sent::Nothing, 1) => Sent::Once,
            (Sent::Nothing | Sent::Once, _) => {
                // Fails only on a closed socket; its own event says so.
                let _ = self.upstream.stream.set_nodelay(true);
                Sent::Undelayed
            }
            (Sent::Undelayed, _) => Sent::Undelayed,
        };
    }

    fn set_connected(&mut self) {
        if !self.connected {
            self.connected = true;
            self.backend.connect_succeeded();
        }
    }

    /// The source of `direction` has ended and everything from it was written: shuts down the sink.
    fn pass_on_end(&mut self, direction: Direction, turn: &mut Turn<'_>) -> Step {
        if self.flow(direction.reverse()).done {
            // Closing both sockets tells it too.
            return Step::Ended;
        }
        if direction == Direction::Up && !self.connected {
            // Shutting down a connecting socket would abort the connect.
            match self.check_connect() {
                Err(error) => return Step::Unreachable(error),
                Ok(false) => return self.want_write(direction, turn),
                Ok(true) => {}
            }
        }
        let sink = self.sink(direction);
        // Fails if the peer has reset; its own event says so.
        let _ = sink.stream.shutdown(Shutdown::Write);
        self.flow(direction).done = true;
        Step::Wait
    }

    fn want_write(&mut self, direction: Direction, turn: &Turn<'_>) -> Step {
        let token = token(turn.key, direction.sink());
        match self.sink(direction).want_write(turn.registry, token) {
            Ok(()) => Step::Wait,
            Err(error) => Step::Reset(error.kind()),
        }
    }

    fn flow(&mut self, direction: Direction) -> &mut Flow {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }

    fn sink(&mut self, direction: Direction) -> &mut Peer {
        match direction.sink() {
            Side::Client => &mut self.client,
            Side::Backend => &mut self.upstream,
        }
    }

    /// Closes both sockets, which also removes them from the poll.
    pub(super) fn close(mut self, shared: &mut Shared) {
        self.up.discard(shared);
        self.down.discard(shared);
    }

    /// Resets both sockets, so that neither peer mistakes what it received for everything.
    pub(super) fn reset(self, shared: &mut Shared) {
        for peer in [&self.client, &self.upstream] {
            // If that fails, the close is orderly, which is the next best thing.
            let _ = SockRef::from(&peer.stream).set_linger(Some(std::time::Duration::ZERO));
        }
        self.close(shared);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_encode_session_and_side() {
        for key in [0, 1, 70_000] {
            for side in [Side::Client, Side::Backend] {
                assert_eq!(from_token(token(key, side)), (key, side));
            }
        }
    }
}
