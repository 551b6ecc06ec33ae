//! Messages and their answers.

use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send},
};

use super::{Stream, Worker, connection::State, ending::End, opening::WHERE};
use crate::{clock::MS, reply::Answer};

/// Consecutive reads of one connection: a server that never stops sending must not starve the others.
const READS: usize = 16;
/// Consecutive messages on one connection that expects no answers.
const SENDS: usize = 16;

impl Worker<Stream> {
    /// Sends a connection's due messages, or schedules the next one. `behind`: an earlier message was outstanding until
    /// now.
    pub(super) fn advance(&mut self, index: u32, behind: bool) {
        if self.send_ordered(index) {
            return;
        }
        for _ in 0..SENDS {
            let connection = &mut self.transport.connections[index as usize];
            if !connection.is_idle() || connection.noticed || connection.leaving || self.closing_ms.is_some()
            {
                return;
            }
            let Some(due_ms) = self.spec.message_due_ms(connection.base_ms, connection.sequence) else {
                return;
            };
            if u64::from(due_ms) * MS > self.clock.now_ns() {
                connection.wake_ms = self.wheel.insert(index, due_ms);
                return;
            }
            self.send_message(index, due_ms, behind);
        }
        let connection = &mut self.transport.connections[index as usize];
        if connection.is_idle() {
            connection.wake_ms = self.wheel.insert(index, 0);
        }
    }

    fn send_message(&mut self, index: u32, due_ms: u32, behind: bool) {
        let now_ns = self.clock.now_ns();
        let late_ns = now_ns.saturating_sub(u64::from(due_ms) * MS);
        self.tally.distributions.lateness.record_ns(late_ns);
        self.tally.totals.messages_late += u64::from(behind && late_ns > MS);
        self.tally.totals.messages_sent += 1;
        let connection = &mut self.transport.connections[index as usize];
        connection.sequence += 1;
        connection.due_ms = due_ms;
        connection.sent_ms = (now_ns / MS) as u32;
        connection.awaiting = self.transport.matcher.expects_answers();
        connection.written = 0;
        let numbered = self.next_numbered(index);
        if self.transport.websocket.is_some() {
            let payload = numbered.unwrap_or_else(|| self.spec.payload().to_vec());
            self.send_text(index, &payload);
        } else {
            self.write(index);
        }
    }

    /// Writes the current request, or the rest of it.
    pub(super) fn write(&mut self, index: u32) {
        if self.transport.websocket.is_some() {
            return self.write_frames(index);
        }
        if self.transport.sse.is_some() {
            return self.write_request(index);
        }
        let numbered = self.last_numbered(index);
        let Stream { connections, sending, .. } = &mut self.transport;
        let connection = &mut connections[index as usize];
        let request = match sending.get(&index) {
            _ if connection.state == State::Identifying => WHERE,
            Some(sending) => &sending.request,
            None => numbered.as_deref().unwrap_or(self.spec.payload()),
        };
        let Some(socket) = &connection.socket else { return };
        loop {
            let rest = &request[connection.written as usize..];
            match send(socket, rest, SendFlags::NOSIGNAL) {
                Ok(sent) => {
                    self.tally.totals.bytes_sent += sent as u64;
                    connection.written += sent as u32;
                    connection.writing = sent < rest.len();
                    return;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    connection.writing = true;
                    return;
                }
                Err(_) => return self.end(index, End::Reset),
            }
        }
    }

    /// Reads available input. `to_the_end`: its end is known to have arrived, so read up to that.
    pub(super) fn read(&mut self, index: u32, to_the_end: bool) {
        // Taken out and put back: the input is judged while the worker changes.
        let mut buffer = std::mem::take(&mut self.transport.buffer);
        self.read_into(index, to_the_end, &mut buffer);
        self.transport.buffer = buffer;
    }

    fn read_into(&mut self, index: u32, to_the_end: bool, buffer: &mut [u8]) {
        for _ in 0..READS {
            let Some(socket) = &self.transport.connections[index as usize].socket else {
                return;
            };
            match recv(socket, &mut *buffer, RecvFlags::empty()) {
                Ok((0, _)) => return self.end(index, End::Eof),
                Ok((read, _)) => {
                    self.received(index, &buffer[..read]);
                    // Less than there was room for: the socket is empty, and later input brings a new event.
                    if read < buffer.len() && !to_the_end {
                        return;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => return self.end(index, End::Reset),
            }
        }
        self.unfinished.push(index);
    }

    fn received(&mut self, index: u32, piece: &[u8]) {
        self.tally.totals.bytes_received += piece.len() as u64;
        let now_ns = self.clock.now_ns();
        let connection = &mut self.transport.connections[index as usize];
        if !connection.answered {
            connection.answered = true;
            self.tally.distributions.first_byte.record_ns(now_ns.saturating_sub(connection.started_ns));
        }
        if connection.state == State::Identifying {
            self.read_identity(index, piece);
            return self.settle(index, false);
        }
        if self.transport.sse.is_some() {
            return self.read_stream(index, piece);
        }
        if connection.state == State::Upgrading {
            return self.read_upgrade(index, piece);
        }
        if self.transport.websocket.is_some() {
            return self.read_frames(index, piece);
        }
        if self.transport.sending.contains_key(&index) {
            return self.read_ordered(index, piece);
        }
        let awaiting = connection.awaiting;
        if self.transport.numbered.is_some() {
            return self.received_numbered(index, piece);
        }
        let Stream { connections, matcher, .. } = &mut self.transport;
        let connection = &mut connections[index as usize];
        let seen = matcher.feed(&mut connection.progress, piece, awaiting);
        let (answer, notice) = (seen.answer, seen.notice);
        if let Some(answer) = answer {
            self.answered(index, answer, piece);
        }
        self.take_in(index, seen);
        if answer.is_some() || notice {
            self.settle(index, answer.is_some());
        }
    }

    fn received_numbered(&mut self, index: u32, piece: &[u8]) {
        let Stream { connections, matcher, sessions, numbered: Some(numbered), .. } = &mut self.transport
        else {
            return;
        };
        let connection = &mut connections[index as usize];
        let (awaiting, mut tags) = (connection.awaiting, Vec::new());
        let reading = &mut sessions[index as usize].reading;
        let (seen, is_wrong) =
            matcher.feed_numbered(numbered, &mut connection.progress, reading, piece, &mut tags);
        self.judge(index, &tags, is_wrong, piece);
        let is_over = awaiting && !self.transport.connections[index as usize].awaiting;
        let notice = seen.notice;
        self.take_in(index, seen);
        if is_over || notice {
            self.settle(index, is_over);
        }
    }

    /// Handles a complete answer to the outstanding message.
    pub(super) fn answered(&mut self, index: u32, answer: Answer, shown: &[u8]) {
        let connection = &mut self.transport.connections[index as usize];
        connection.awaiting = false;
        match answer {
            Answer::Right => {
                let due_ns = u64::from(connection.due_ms) * MS;
                self.tally.totals.messages_answered += 1;
                self.tally.distributions.message.record_ns(self.clock.now_ns().saturating_sub(due_ns));
            }
            Answer::Wrong => {
                self.tally.totals.messages_wrong += 1;
                self.say_wrong_answer(shown);
            }
        }
    }

    /// Notes a `reconnect` notice.
    pub(super) fn notice(&mut self, index: u32) {
        self.tally.totals.notices += 1;
        self.transport.connections[index as usize].noticed = true;
    }

    /// Continues once nothing is outstanding: leaves, closes, or, if a message is `over`, sends what is due.
    pub(super) fn settle(&mut self, index: u32, over: bool) {
        let connection = &self.transport.connections[index as usize];
        if !connection.is_idle() {
            return;
        }
        if connection.noticed || connection.leaving || self.is_closing() {
            self.end(index, End::Planned);
        } else if over {
            self.advance(index, true);
        }
    }
}
