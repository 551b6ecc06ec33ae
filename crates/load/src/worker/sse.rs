//! Connections that request a stream of events and keep it open: they send only the request.

use std::collections::HashMap;

use rand::RngExt as _;
use rustix::{
    io::Errno,
    net::{SendFlags, send},
};

use super::{Held, Report, Spec, Stream, Worker, connection::State, ending::End, spec::Hint};
use crate::{
    clock::MS,
    http_head::{HEAD_MAX, Refusal},
    sse::{
        body::{Body, Part},
        events::{Reader, Said},
        head,
    },
};

/// Maximum number of ended streams waiting to be reported.
const HELD_MAX: usize = 4096;

/// Additional state of connections.
pub(super) struct Sse {
    streams: Vec<Events>,
    /// Requests that the kernel has not accepted yet.
    unsent: HashMap<u32, Vec<u8>>,
    /// Partial heads of answers.
    heads: HashMap<u32, Vec<u8>>,
    /// When a server asked a client to reconnect.
    hints: HashMap<u32, Hint>,
}

/// A stream, across all its connections.
#[derive(Debug, Clone)]
struct Events {
    body: Body,
    reader: Reader,
    /// The ID of the last event, as far as it was counted.
    number: Option<u64>,
    /// When the last event arrived; 0: none did.
    last_ns: u64,
    /// When the first event of the current connection arrived; 0: none did.
    first_ms: u32,
    /// The answer has a length, and contains this so far.
    brief: Option<Brief>,
}

/// The contents of an answer that ends before it lasts.
#[derive(Debug, Clone, Copy, Default)]
struct Brief {
    events: u64,
    is_refusal: bool,
}

impl Sse {
    pub(super) fn new(spec: &Spec) -> Self {
        let (body, reader) = (Body::until_the_end(), Reader::default());
        let stream = Events { body, reader, number: None, last_ns: 0, first_ms: 0, brief: None };
        Self {
            streams: vec![stream; spec.share()],
            unsent: HashMap::new(),
            heads: HashMap::new(),
            hints: HashMap::new(),
        }
    }

    /// The connection is over. Its hint is for the next one.
    pub(super) fn forget(&mut self, index: u32) {
        self.unsent.remove(&index);
        self.heads.remove(&index);
        self.streams[index as usize].brief = None;
    }

    pub(super) fn take_hint(&mut self, index: u32) -> Option<Hint> {
        self.hints.remove(&index)
    }
}

impl Worker<Stream> {
    /// Connected; requests its stream.
    pub(super) fn ask_for_stream(&mut self, index: u32) {
        let at = index as usize;
        let now_ms = self.now_ms();
        let Some(sse) = &mut self.transport.sse else { return };
        let stream = &mut sse.streams[at];
        stream.reader.begin();
        stream.first_ms = 0;
        let (scenario, number) = (&self.spec.scenario, self.spec.number(at));
        let host = scenario.host_of(&self.spec.target(at).to_string(), number);
        let (path, headers) = (scenario.path_of(number), scenario.header_lines_of(number));
        let request = head::request(&host, &path, &headers, stream.reader.last_id());
        let connection = &mut self.transport.connections[at];
        connection.state = State::Upgrading;
        connection.sent_ms = now_ms;
        sse.unsent.insert(index, request);
        self.write_request(index);
    }

    /// Writes the rest of a request.
    pub(super) fn write_request(&mut self, index: u32) {
        let Some(sse) = &mut self.transport.sse else { return };
        let Some(mut rest) = sse.unsent.remove(&index) else { return };
        let connection = &mut self.transport.connections[index as usize];
        let Some(socket) = &connection.socket else { return };
        let sent = loop {
            match send(socket, &rest, SendFlags::NOSIGNAL) {
                Ok(sent) => break sent,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break 0,
                Err(_) => return self.end(index, End::Reset),
            }
        };
        self.tally.totals.bytes_sent += sent as u64;
        connection.writing = sent < rest.len();
        if connection.writing {
            rest.drain(..sent);
            sse.unsent.insert(index, rest);
        }
    }

    pub(super) fn read_stream(&mut self, index: u32, piece: &[u8]) {
        if self.transport.connections[index as usize].state != State::Upgrading {
            return self.read_events(index, piece);
        }
        let Some(sse) = &mut self.transport.sse else { return };
        if sse.streams[index as usize].brief.is_some() {
            return self.read_brief(index, piece);
        }
        let mut head = sse.heads.remove(&index).unwrap_or_default();
        let before = head.len();
        // One byte more shows that a head is too long.
        let taken = piece.len().min(HEAD_MAX + 1 - before);
        head.extend_from_slice(&piece[..taken]);
        match head::read(&head) {
            head::Answer::Partial => {
                sse.heads.insert(index, head);
            }
            head::Answer::Stream { length, body, host } => {
                let stream = &mut sse.streams[index as usize];
                stream.body = body;
                let rest = &piece[length - before..];
                if body.has_length() {
                    stream.brief = Some(Brief::default());
                    return self.read_brief(index, rest);
                }
                self.opened(index);
                if let Some(host) = host {
                    self.transport.connections[index as usize].replica = self.tally.identified(&host);
                }
                self.ready(index);
                self.read_events(index, rest);
            }
            head::Answer::Refused(Refusal { status, line, body, retry }) => {
                self.tally.totals.refused += 1;
                if let Some(after) = retry {
                    sse.hints.insert(index, Hint { after, is_for_all: true });
                }
                let body = body.map(|body| format!(": `{body}`")).unwrap_or_default();
                self.say_error("the stream at", index, format_args!("`{line}`{body}"));
                self.tally.ended_by_code(status, &line);
                self.give_up_connecting(index);
            }
            head::Answer::Wrong(why) => {
                self.tally.totals.connect_errors += 1;
                self.say_error("the stream at", index, why);
                self.give_up_connecting(index);
            }
        }
    }

    /// The connection ended before its request was answered.
    pub(super) fn stream_ended(&mut self, index: u32, end: End) {
        let how = if end == End::Reset { "was reset" } else { "was closed" };
        self.tally.totals.connect_errors += 1;
        self.say_error("the stream at", index, format_args!("the connection {how} before it was answered"));
        self.give_up_connecting(index);
    }

    /// When to end an open stream because its client has had enough.
    pub(super) fn stay_ms(&mut self) -> Option<u32> {
        let stay = self.spec.scenario.stay.filter(|_| self.transport.sse.is_some())?;
        let ms = stay.at_least.as_millis() as u32..=stay.at_most.as_millis() as u32;
        Some(self.transport.random.random_range(ms))
    }

    /// Records the period in which a client had a contested pair.
    pub(super) fn let_go(&mut self, index: u32, by_client: bool) {
        let Some(sse) = &mut self.transport.sse else { return };
        let stream = &mut sse.streams[index as usize];
        let from_ms = std::mem::take(&mut stream.first_ms);
        if from_ms == 0 || !self.spec.scenario.shares_pairs() {
            return;
        }
        // The server cannot have known earlier. If it ended the stream, it may have admitted others before this was
        // read.
        let until_ns = if by_client { self.clock.now_ns() } else { stream.last_ns };
        let client = self.spec.number(index as usize);
        let pair = self.spec.scenario.pair_of(client);
        self.tally.held.push(Held { pair, client, from_ms, to_ms: (until_ns / MS) as u32 });
        if self.tally.held.len() >= HELD_MAX {
            let measured = self.tally.take();
            self.reports.send(Report::Progress { regular: false, measured });
        }
    }

    /// Reads an answer of known length: the refusal of a stream, or a stream that is already over.
    fn read_brief(&mut self, index: u32, mut piece: &[u8]) {
        let Some(sse) = &mut self.transport.sse else { return };
        let stream = &mut sse.streams[index as usize];
        let mut brief = stream.brief.unwrap_or_default();
        // A body with a length cannot be broken.
        while let Ok(part) = stream.body.next(&mut piece) {
            match part {
                Part::Data(mut data) => {
                    while let Some(said) = stream.reader.next(&mut data) {
                        match said {
                            Said::Event => brief.events += 1,
                            Said::Refusal => brief.is_refusal = true,
                            Said::Retry(after) => {
                                sse.hints.insert(index, Hint { after, is_for_all: false });
                            }
                            Said::Host(_) => {}
                        }
                    }
                }
                Part::More => {
                    stream.brief = Some(brief);
                    return;
                }
                Part::Over => break,
            }
        }
        stream.brief = None;
        if brief.is_refusal {
            self.tally.totals.refused += 1;
            self.tally.totals.streams_refused += 1;
            return self.give_up_connecting(index);
        }
        self.opened(index);
        self.ready(index);
        self.tally.totals.events += brief.events;
        self.end(index, End::Eof);
    }

    fn read_events(&mut self, index: u32, mut piece: &[u8]) {
        // The input may end the connection.
        while self.transport.connections[index as usize].is_open() {
            let Some(sse) = &mut self.transport.sse else { return };
            match sse.streams[index as usize].body.next(&mut piece) {
                Ok(Part::Data(data)) => self.read_lines(index, data),
                Ok(Part::More) => return,
                Ok(Part::Over) => return self.end(index, End::Eof),
                Err(_) => {
                    self.say_error("reading from", index, "the answer is not in chunks as it says");
                    return self.end(index, End::Violation);
                }
            }
        }
    }

    fn read_lines(&mut self, index: u32, mut data: &[u8]) {
        while let Some(said) =
            self.transport.sse.as_mut().and_then(|sse| sse.streams[index as usize].reader.next(&mut data))
        {
            match said {
                Said::Event => self.event(index),
                Said::Refusal => {
                    self.tally.totals.streams_refused += 1;
                    // The end that follows is expected.
                    self.transport.connections[index as usize].noticed = true;
                }
                Said::Retry(after) => {
                    self.notice(index);
                    if let Some(sse) = &mut self.transport.sse {
                        sse.hints.insert(index, Hint { after, is_for_all: false });
                    }
                }
                Said::Host(host) => {
                    let connection = &mut self.transport.connections[index as usize];
                    if connection.replica == 0 {
                        connection.replica = self.tally.identified(&host);
                    }
                }
            }
        }
    }

    /// Handles a complete event.
    fn event(&mut self, index: u32) {
        let now_ns = self.clock.now_ns();
        let Some(sse) = &mut self.transport.sse else { return };
        let stream = &mut sse.streams[index as usize];
        let (totals, distributions) = (&mut self.tally.totals, &mut self.tally.distributions);
        totals.events += 1;
        if stream.last_ns > 0 {
            distributions.event_gap.record_ns(now_ns.saturating_sub(stream.last_ns));
        }
        stream.last_ns = now_ns.max(1);
        if stream.first_ms == 0 {
            stream.first_ms = ((now_ns / MS) as u32).max(1);
        }
        let number = stream.reader.last_number();
        if let (Some(before), Some(number)) = (stream.number, number) {
            totals.events_missed += number.saturating_sub(before).saturating_sub(1);
        }
        stream.number = number;
    }
}
