//! Connections that are upgraded to WebSocket: the same schedule as over plain TCP, with frames around messages.
//!
//! An idle connection has 24 bytes more than one over TCP, and no buffer: input is parsed in place, and only an answer
//! to an upgrade or a control frame that was cut in the middle is kept.

use std::collections::HashMap;

use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;
use rustix::{
    io::Errno,
    net::{SendFlags, send},
};

use super::{Spec, Stream, Worker, connection::State, ending::End, spec::Hint};
use crate::{
    http_head::{HEAD_MAX, Refusal},
    reply::Message,
    websocket::{
        close::{self, Close},
        frames::{self, CONTROL_MAX, Kind, Reader, Violation},
        upgrade,
    },
};

/// Maximum bytes waiting beside a partly written message: answers to pings of a server that does not read.
const UNSENT_MAX: usize = 4096;

/// Additional state of connections.
pub(super) struct WebSocket {
    readers: Vec<Reader>,
    /// Bytes that the kernel has not accepted yet.
    unsent: HashMap<u32, Vec<u8>>,
    /// Partial answers to upgrades.
    heads: HashMap<u32, Vec<u8>>,
    /// Partial control frames.
    controls: HashMap<u32, Vec<u8>>,
    /// When a server asked a client to reconnect.
    hints: HashMap<u32, Hint>,
    /// Text if the payload is, since some servers accept nothing else.
    opcode: u8,
    output: Vec<u8>,
}

/// In addition to the state of every connection over TCP.
const _: () = assert!(size_of::<Reader>() <= 24);

impl WebSocket {
    pub(super) fn new(spec: &Spec) -> Self {
        let is_text = std::str::from_utf8(spec.payload()).is_ok();
        Self {
            readers: vec![Reader::default(); spec.share()],
            unsent: HashMap::new(),
            heads: HashMap::new(),
            controls: HashMap::new(),
            hints: HashMap::new(),
            opcode: if is_text { frames::TEXT } else { frames::BINARY },
            output: Vec::new(),
        }
    }

    /// The connection is over. Its hint is for the next one.
    pub(super) fn forget(&mut self, index: u32) {
        self.readers[index as usize] = Reader::default();
        self.unsent.remove(&index);
        self.heads.remove(&index);
        self.controls.remove(&index);
    }

    pub(super) fn take_hint(&mut self, index: u32) -> Option<Hint> {
        self.hints.remove(&index)
    }
}

impl Worker<Stream> {
    /// Connected; requests its upgrade.
    pub(super) fn upgrade(&mut self, index: u32) {
        let at = index as usize;
        self.transport.connections[at].state = State::Upgrading;
        let (scenario, number) = (&self.spec.scenario, self.spec.number(at));
        let request = upgrade::Request {
            host: &scenario.host_of(&self.spec.target(at).to_string(), number),
            path: &scenario.path_of(number),
            subprotocols: &scenario.subprotocols,
            headers: &scenario.header_lines_of(number),
        };
        let request = request.bytes(self.key(index));
        self.put(index, &request);
    }

    /// The key of a connection's upgrade. It can be recomputed, so nobody has to remember it.
    fn key(&self, index: u32) -> [u8; 16] {
        let Spec { seed, .. } = self.spec;
        let attempt = self.transport.connections[index as usize].started_ns;
        let number = self.spec.number(index as usize);
        let mut key = [0; 16];
        Pcg64Mcg::seed_from_u64(seed ^ attempt.rotate_left(32) ^ number).fill_bytes(&mut key);
        key
    }

    /// Reads the input before the frames.
    pub(super) fn read_upgrade(&mut self, index: u32, piece: &[u8]) {
        let key = self.key(index);
        let Some(websocket) = &mut self.transport.websocket else { return };
        let mut head = websocket.heads.remove(&index).unwrap_or_default();
        let before = head.len();
        // One byte more shows that a head is too long.
        let taken = piece.len().min(HEAD_MAX + 1 - before);
        head.extend_from_slice(&piece[..taken]);
        match upgrade::read(&head, key, &self.spec.scenario.subprotocols) {
            upgrade::Answer::Partial => {
                websocket.heads.insert(index, head);
            }
            upgrade::Answer::Accepted { length, host } => {
                self.opened(index);
                if let Some(host) = host {
                    self.transport.connections[index as usize].replica = self.tally.identified(&host);
                }
                self.ready(index);
                self.read_frames(index, &piece[length - before..]);
            }
            upgrade::Answer::Refused(Refusal { status, line, body, retry }) => {
                self.tally.totals.refused += 1;
                self.tally.totals.refused_without_hint += u64::from(retry.is_none());
                if let Some(retry) = retry {
                    websocket.hints.insert(index, Hint { after: retry, is_for_all: true });
                }
                let body = body.map(|body| format!(": `{body}`")).unwrap_or_default();
                self.say_error("the upgrade at", index, format_args!("`{line}`{body}"));
                self.tally.ended_by_code(status, &line);
                self.give_up_connecting(index);
            }
            upgrade::Answer::Wrong(why) => self.upgrade_failed(index, why),
        }
    }

    /// The connection ended before it was upgraded.
    pub(super) fn upgrade_ended(&mut self, index: u32, end: End) {
        let how = if end == End::Reset { "was reset" } else { "was closed" };
        self.upgrade_failed(index, format!("the connection {how} before the upgrade was answered"));
    }

    fn upgrade_failed(&mut self, index: u32, why: String) {
        self.tally.totals.connect_errors += 1;
        self.say_error("the upgrade at", index, why);
        self.give_up_connecting(index);
    }

    pub(super) fn read_frames(&mut self, index: u32, mut piece: &[u8]) {
        // The input may end the connection.
        while self.transport.connections[index as usize].is_open() {
            let Some(websocket) = &mut self.transport.websocket else { return };
            let part = match websocket.readers[index as usize].next(&mut piece) {
                Ok(Some(part)) => part,
                Ok(None) => return,
                Err(violation) => return self.violated(index, violation),
            };
            if part.kind == Kind::Message {
                self.read_message(index, part.data, part.ends);
                continue;
            }
            // Complete, nearly always.
            let mut whole = websocket.controls.remove(&index).unwrap_or_default();
            whole.extend_from_slice(part.data);
            debug_assert!(whole.len() <= CONTROL_MAX, "the reader allows no more");
            match part.kind {
                _ if !part.ends => drop(websocket.controls.insert(index, whole)),
                Kind::Ping => self.send_frame(index, frames::PONG, &whole),
                Kind::Close => match Close::read(&whole) {
                    Ok(close) => self.closed_by_server(index, &close),
                    Err(violation) => self.violated(index, violation),
                },
                Kind::Pong | Kind::Message => {}
            }
        }
    }

    fn read_message(&mut self, index: u32, data: &[u8], ends: bool) {
        let Stream { connections, matcher, sessions, numbered, .. } = &mut self.transport;
        let connection = &mut connections[index as usize];
        if let Some(numbered) = numbered {
            let awaiting = connection.awaiting;
            match numbered.feed_message(&mut sessions[index as usize].reading, data, ends) {
                Message::Partial => return,
                Message::Answer(tag) => self.judge(index, &[tag], false, data),
                Message::Wrong => self.judge(index, &[], true, data),
            }
            if awaiting && !self.transport.connections[index as usize].awaiting {
                self.settle(index, true);
            }
            return;
        }
        let answer = matcher.feed_message(&mut connection.progress, data, ends);
        let Some(answer) = answer.filter(|_| connection.awaiting) else { return };
        self.answered(index, answer, data);
        self.settle(index, true);
    }

    fn closed_by_server(&mut self, index: u32, close: &Close) {
        self.tally.ended_by_code(close.code, &close.reason);
        if close.asks_back() {
            self.notice(index);
            let is_turned_away = close.code == close::TRY_AGAIN;
            self.tally.totals.turned_away += u64::from(is_turned_away);
            self.tally.totals.refused_without_hint += u64::from(is_turned_away && close.retry.is_none());
        }
        if let (Some(websocket), Some(retry)) = (&mut self.transport.websocket, close.retry) {
            websocket.hints.insert(index, Hint { after: retry, is_for_all: false });
        }
        // The close was sent, even if its answer never arrives.
        self.send_close(index, close.code);
        self.end(index, End::Close);
    }

    fn violated(&mut self, index: u32, violation: Violation) {
        self.say_error(
            "reading from",
            index,
            format_args!("it broke the protocol of WebSocket: {violation}"),
        );
        self.send_close(index, close::PROTOCOL_ERROR);
        self.end(index, End::Violation);
    }

    /// Sends a close to the server, without waiting for an answer.
    pub(super) fn send_close(&mut self, index: u32, code: u16) {
        let Stream { websocket: Some(_), connections, random, .. } = &mut self.transport else { return };
        let connection = &connections[index as usize];
        let Some(socket) = connection.socket.as_ref().filter(|_| connection.is_open() && !connection.writing)
        else {
            return;
        };
        let code = if code == close::NO_CODE { &[][..] } else { &code.to_be_bytes() };
        let mut frame = Vec::new();
        frames::write(&mut frame, frames::CLOSE, code, random.random());
        // If the server is gone, it does not matter.
        self.tally.totals.bytes_sent += send(socket, &frame, SendFlags::NOSIGNAL).unwrap_or(0) as u64;
    }

    /// Sends the payload of a message.
    pub(super) fn send_text(&mut self, index: u32, payload: &[u8]) {
        let Some(websocket) = &self.transport.websocket else { return };
        let opcode = websocket.opcode;
        self.send_frame(index, opcode, payload);
    }

    fn send_frame(&mut self, index: u32, opcode: u8, payload: &[u8]) {
        let Stream { websocket: Some(websocket), random, .. } = &mut self.transport else { return };
        let mut output = std::mem::take(&mut websocket.output);
        frames::write(&mut output, opcode, payload, random.random());
        self.put(index, &output);
        output.clear();
        if let Some(websocket) = &mut self.transport.websocket {
            websocket.output = output;
        }
    }

    /// Writes, and keeps what the kernel does not accept.
    fn put(&mut self, index: u32, bytes: &[u8]) {
        let now_ms = self.now_ms();
        let Stream { websocket: Some(websocket), connections, .. } = &mut self.transport else { return };
        let connection = &mut connections[index as usize];
        if connection.writing {
            let unsent = websocket.unsent.entry(index).or_default();
            // Messages are sent one by one: the rest can only be pongs, and a server that does not read misses none.
            if unsent.len() + bytes.len() <= UNSENT_MAX {
                unsent.extend_from_slice(bytes);
            }
            return;
        }
        if !connection.awaiting {
            // From now on, the server has the time limit of an answer to read it.
            connection.sent_ms = now_ms;
        }
        let Some(sent) = self.send_some(index, bytes) else { return };
        if sent < bytes.len()
            && let Some(websocket) = &mut self.transport.websocket
        {
            websocket.unsent.insert(index, bytes[sent..].to_vec());
        }
    }

    /// Writes the rest of the frames.
    pub(super) fn write_frames(&mut self, index: u32) {
        let Some(mut unsent) = self.transport.websocket.as_mut().and_then(|all| all.unsent.remove(&index))
        else {
            return;
        };
        let Some(sent) = self.send_some(index, &unsent) else { return };
        if sent < unsent.len()
            && let Some(websocket) = &mut self.transport.websocket
        {
            unsent.drain(..sent);
            websocket.unsent.insert(index, unsent);
        }
    }

    /// Number of bytes that the kernel accepted; `None`: the connection is over.
    fn send_some(&mut self, index: u32, bytes: &[u8]) -> Option<usize> {
        let connection = &mut self.transport.connections[index as usize];
        let socket = connection.socket.as_ref()?;
        let sent = loop {
            match send(socket, bytes, SendFlags::NOSIGNAL) {
                Ok(sent) => break sent,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break 0,
                Err(_) => {
                    self.end(index, End::Reset);
                    return None;
                }
            }
        };
        connection.writing = sent < bytes.len();
        self.tally.totals.bytes_sent += sent as u64;
        Some(sent)
    }
}
