//! Reads a connection and carries out its commands.

use std::io::{self, Read};
use std::net::SocketAddr;

use protocol::{Command, Dialect, Step, reply};

use super::connection::{Connection, LATE_MAX, Life};
use super::{Buffers, Clock, READS_PER_TURN, REPLY_BUFFER_BYTES, Shared, Worker};
use crate::metrics::{CloseReason, CommandName, Tally};
use crate::request::{Completion, Handle, Reply, Request, Work};

/// What happens to the commands behind a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    /// They wait: for a backend, for room, or for the end.
    Rest,
}

impl Worker {
    /// Advances a connection: first commands that were held back, then whatever can be read.
    pub(super) fn drive(&mut self, index: usize) {
        for _ in 0..READS_PER_TURN {
            let connection = &mut self.connections[index];
            if connection.life != Life::Open {
                return self.discard(index);
            }
            if connection.is_finished() {
                return self.close(index, CloseReason::Client);
            }
            if !connection.takes_commands() {
                return;
            }
            let more = if connection.held_is_fresh {
                let held = std::mem::take(&mut connection.held);
                self.process(index, &held)
            } else if connection.readable {
                self.read(index)
            } else {
                return;
            };
            if !more {
                return;
            }
        }
        let connection = &mut self.connections[index];
        let has_more = connection.readable || connection.held_is_fresh || connection.ended;
        if has_more && !connection.queued_again {
            connection.queued_again = true;
            self.again.push(connection.handle(index));
        }
    }

    /// One read and its consequences. Returns whether the connection still exists.
    fn read(&mut self, index: usize) -> bool {
        let connection = &mut self.connections[index];
        let count = match connection.stream.read(&mut self.buffers.read) {
            Ok(0) => {
                connection.readable = false;
                connection.ended = true;
                if connection.framer.quiet() {
                    self.tally.too_long += 1;
                    return self.send_reply(index, reply::PACKET_TOO_LONG);
                }
                return true;
            }
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                connection.readable = false;
                return true;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
            Err(_) => {
                self.close(index, CloseReason::Reset);
                return false;
            }
        };
        // A short read has emptied the socket, and later input brings its own edge. Only a close that came with the
        // same edge must still be read.
        if count < self.buffers.read.len() && !connection.end_announced {
            connection.readable = false;
        }
        connection.heard_ms = self.clock.millis();
        self.tally.received_bytes += count as u64;
        if connection.held.is_empty() {
            let buffer = std::mem::take(&mut self.buffers.read);
            let present = self.process(index, &buffer[..count]);
            self.buffers.read = buffer;
            present
        } else {
            let mut input = std::mem::take(&mut connection.held);
            input.extend_from_slice(&self.buffers.read[..count]);
            self.process(index, &input)
        }
    }

    /// Carries out the commands in `input` and keeps the rest. Returns whether the connection still exists.
    fn process(&mut self, index: usize, input: &[u8]) -> bool {
        let connection = &mut self.connections[index];
        let handle = connection.handle(index);
        let mut pass = CommandPass {
            handle,
            worker: self.number,
            connection,
            shared: &self.shared,
            tally: &mut self.tally,
            clock: self.clock,
            buffers: &mut self.buffers,
            quits: false,
        };
        let result = pass.run(input);
        let quits = pass.quits;
        if !self.sent(index, &result) {
            return false;
        }
        let connection = &mut self.connections[index];
        if connection.framer.awaits_quiet() && !connection.in_noisy {
            connection.in_noisy = true;
            self.lists.noisy.push(handle);
        }
        if quits {
            self.begin_close(index, CloseReason::Quit);
            return false;
        }
        true
    }

    /// Handles the result of a request from the backend.
    pub(super) fn complete(&mut self, completion: Completion) {
        let Completion { handle, ordered, reply } = completion;
        let Some(index) = self.find(handle) else { return };
        let connection = &mut self.connections[index];
        if ordered {
            connection.awaits_reply = false;
        } else {
            connection.late = connection.late.saturating_sub(1);
        }
        let open = connection.life == Life::Open;
        let present = match reply {
            _ if !open => true,
            Reply::Nothing => true,
            Reply::Fixed(bytes) => self.send_reply(index, bytes),
            Reply::Made(bytes) => self.send_reply(index, &bytes),
        };
        if present {
            self.drive(index);
        }
    }

    /// Reads and discards further input of a closing connection, until the client closes too.
    fn discard(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        for _ in 0..READS_PER_TURN {
            match connection.stream.read(&mut self.buffers.read) {
                Ok(0) if matches!(connection.life, Life::Lingering(_)) => {
                    return self.close(index, CloseReason::Client);
                }
                // Half-closed by the client, with output still queued.
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.close(index, CloseReason::Reset),
            }
        }
        if !connection.queued_again {
            connection.queued_again = true;
            self.again.push(connection.handle(index));
        }
    }
}

/// One pass over a connection's input.
struct CommandPass<'a> {
    handle: Handle,
    worker: usize,
    connection: &'a mut Connection,
    shared: &'a Shared,
    tally: &'a mut Tally,
    clock: Clock,
    buffers: &'a mut Buffers,
    /// `QUIT` was read: everything after it is ignored.
    quits: bool,
}

impl CommandPass<'_> {
    fn run(&mut self, input: &[u8]) -> io::Result<()> {
        self.buffers.replies.clear();
        let limit = self.shared.settings.packet_bytes_max;
        let mut done = 0;
        let mut rests = false;
        while !rests {
            match self.connection.framer.step(&input[done..], limit) {
                Step::Unit { bytes, consumed } => {
                    done += consumed;
                    rests = self.execute(bytes)? == Next::Rest;
                }
                Step::TooLong { consumed } => {
                    done += consumed;
                    self.tally.too_long += 1;
                    self.reply(reply::PACKET_TOO_LONG);
                }
                Step::Incomplete { consumed } => {
                    done += consumed;
                    break;
                }
            }
            if self.buffers.replies.len() >= REPLY_BUFFER_BYTES {
                self.write_replies()?;
                rests |= self.connection.outbound.is_some();
            }
        }
        self.write_replies()?;
        let rest = &input[done..];
        self.connection.held_is_fresh = rests && !rest.is_empty();
        if !rest.is_empty() {
            self.connection.held = rest.to_vec();
        }
        Ok(())
    }

    #[inline]
    fn execute(&mut self, packet: &[u8]) -> io::Result<Next> {
        let command = match Command::parse(packet) {
            Ok(Command::Message(content)) => {
                self.tally.command(CommandName::Message);
                self.reply(content);
                return Ok(Next::GoOn);
            }
            Ok(command) => command,
            Err(rejection) => {
                self.tally.command(CommandName::Refused);
                self.reply(rejection.as_str().as_bytes());
                return Ok(Next::GoOn);
            }
        };
        self.execute_other(command)
    }

    fn execute_other(&mut self, command: Command<'_>) -> io::Result<Next> {
        self.tally.command(name_of(command));
        match command {
            Command::Message(content) => self.reply(content),
            Command::Login => return Ok(self.submit(Work::Login)),
            Command::Store { token, key, value } => {
                return Ok(self.submit(Work::Store { token, key: key.into(), value: value.into() }));
            }
            Command::Fetch { token, key } => {
                return Ok(self.submit(Work::Fetch { token, key: key.into() }));
            }
            Command::Broadcast { token, value } => {
                return Ok(self.submit(Work::Broadcast { token, value: value.into() }));
            }
            Command::Who => return self.list_clients(),
            Command::Where => self.reply(self.shared.server_id.as_bytes()),
            Command::Why => self.reply(reply::WHY),
            Command::Quit => {
                self.quits = true;
                return Ok(Next::Rest);
            }
            Command::Unknown => {
                if let Some(answer) = self.shared.settings.dialect.unknown_command() {
                    self.reply(answer);
                }
            }
        }
        Ok(Next::GoOn)
    }

    /// Hands work to the backend; answers at once if there is no such backend.
    fn submit(&mut self, work: Work) -> Next {
        let ordered = work.is_ordered();
        let client: SocketAddr = self.connection.client;
        let request =
            Request { worker: self.worker, handle: self.handle, client, received: self.clock.now, work };
        match self.shared.backend.submit(request) {
            Ok(()) if ordered => {
                self.connection.awaits_reply = true;
                Next::Rest
            }
            Ok(()) => {
                self.connection.late += 1;
                if self.connection.late < LATE_MAX { Next::GoOn } else { Next::Rest }
            }
            Err(error) => {
                self.reply(error);
                Next::GoOn
            }
        }
    }

    fn list_clients(&mut self) -> io::Result<Next> {
        self.write_replies()?;
        let list = self.shared.roster.render(self.clock.now);
        let end = if self.ends_lines() { list.len() } else { list.len() - 1 };
        self.connection.send_shared(&list, end, self.clock, self.tally)?;
        Ok(if self.connection.outbound.is_none() { Next::GoOn } else { Next::Rest })
    }

    #[inline]
    fn reply(&mut self, bytes: &[u8]) {
        self.buffers.replies.extend_from_slice(bytes);
        if self.ends_lines() {
            self.buffers.replies.push(b'\n');
        }
    }

    #[inline]
    fn ends_lines(&self) -> bool {
        self.connection.framer.in_line_mode() || self.shared.settings.dialect == Dialect::Socketz
    }

    #[inline]
    fn write_replies(&mut self) -> io::Result<()> {
        if self.buffers.replies.is_empty() {
            return Ok(());
        }
        let result = self.connection.send(&self.buffers.replies, self.clock, self.tally);
        self.buffers.replies.clear();
        result
    }
}

fn name_of(command: Command<'_>) -> CommandName {
    match command {
        Command::Message(_) => CommandName::Message,
        Command::Broadcast { .. } => CommandName::Broadcast,
        Command::Store { .. } => CommandName::Store,
        Command::Fetch { .. } => CommandName::Fetch,
        Command::Login => CommandName::Login,
        Command::Who => CommandName::Who,
        Command::Where => CommandName::Where,
        Command::Why => CommandName::Why,
        Command::Quit => CommandName::Quit,
        Command::Unknown => CommandName::Unknown,
    }
}
