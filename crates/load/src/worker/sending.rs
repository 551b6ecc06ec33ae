//! Connections over TCP, and what their clients send for actions in addition to the messages.
//!
//! An order waits until its connection is idle, so that its reply cannot be mistaken for a message's. If it needs a
//! token that the client does not have yet, the client first requests one. The reply is the first input that is neither
//! a notice nor a broadcast, or all input up to the answer that an order waits for. A broadcast's reply is the
//! broadcast itself, or its refusal, seconds later; until then the client sends nothing, since without frames the
//! server would take it for a part of the broadcast.

use std::collections::{HashMap, VecDeque};

use rand_pcg::Pcg64Mcg;
use rustix::event::epoll::EventFlags;
use scenario::{
    Protocol,
    action::{CONNECTIONS, TOKEN},
    escape,
};

use super::{
    NEVER, Order, Report, SHOWN_BYTES, Spec, Task, Transport, Worker,
    connection::{Connection, State},
    ending::End,
    session::Session,
    sse::Sse,
    websocket::WebSocket,
};
use crate::{
    clock::MS,
    reply::{BROADCAST_REFUSED, Matcher, Numbered, Seen, unescaped},
    wheel::Entry,
};

/// The buffer for all reads.
const BUFFER_BYTES: usize = 64 * 1024;
const TOKEN_BYTES: usize = 36;
const ASK_FOR_TOKEN: &[u8] = b"token";

/// The connections of a worker.
pub(crate) struct Stream {
    pub(super) connections: Vec<Connection>,
    pub(super) matcher: Matcher,
    /// For numbered messages.
    pub(super) numbered: Option<Numbered>,
    pub(super) sessions: Vec<Session>,
    /// With frames.
    pub(super) websocket: Option<WebSocket>,
    /// With events.
    pub(super) sse: Option<Sse>,
    pub(super) random: Pcg64Mcg,
    pub(super) buffer: Box<[u8]>,
    /// Connections of the ramp whose first attempt is undecided, or not yet made.
    pub(super) undecided: usize,
    /// Groups whose users have all arrived, to be reported.
    pub(super) joined: Vec<u32>,
    /// Connections before this one have been told to close.
    pub(super) close_cursor: usize,
    /// Partial answers to `WHERE`.
    pub(super) partial_identities: HashMap<u32, Vec<u8>>,
    /// What clients still have to send, and what they are currently sending.
    orders: HashMap<u32, VecDeque<Order>>,
    pub(super) sending: HashMap<u32, Sending>,
    tokens: HashMap<u32, Vec<u8>>,
    /// The last broadcast of a client.
    last_broadcast: HashMap<u32, u16>,
    /// Per broadcast: when it was sent, and each client's receipts.
    receipts: Vec<Receipts>,
}

/// What a client is currently sending for an order, and the reply so far.
pub(super) struct Sending {
    order: Order,
    pub(super) request: Vec<u8>,
    for_token: bool,
    reply: Vec<u8>,
}

impl Sending {
    /// Whether this is the complete awaited reply.
    fn answers(&self, reply: &[u8]) -> bool {
        match &self.order.answer {
            Some(answer) => contains(reply, answer.as_bytes()) || reply.starts_with(b"error"),
            None => !reply.is_empty(),
        }
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len().max(1)).any(|window| window == part)
}

#[derive(Default)]
struct Receipts {
    sent_ns: u64,
    /// Per connection: the lowest bit says that it was open when the broadcast was sent, the others count.
    clients: Vec<u8>,
}

impl Receipts {
    const OPEN: u8 = 1;
    const ONE: u8 = 2;
    const FULL: u8 = u8::MAX - Self::ONE;
}

impl Transport for Stream {
    fn new(spec: &Spec) -> Self {
        let (count, scenario) = (spec.share(), &spec.scenario);
        Self {
            connections: std::iter::repeat_with(Connection::new).take(count).collect(),
            matcher: Matcher::new(scenario.messages.expect, spec.payload(), scenario.broadcasts())
                .answered_by(spec.answer()),
            numbered: scenario.messages.sequence.then(|| Numbered::new(spec.payload())),
            sessions: if scenario.messages.sequence { vec![Session::default(); count] } else { Vec::new() },
            websocket: (scenario.protocol == Protocol::Ws).then(|| WebSocket::new(spec)),
            sse: (scenario.protocol == Protocol::Sse).then(|| Sse::new(spec)),
            // A fixed PCG, so that equal seeds give equal jitter regardless of the version of `rand`.
            random: Pcg64Mcg::new(u128::from(spec.seed) << 32 | u128::from(spec.worker) << 1 | 1),
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            undecided: spec.ramp_share(),
            joined: Vec::new(),
            close_cursor: 0,
            partial_identities: HashMap::new(),
            orders: HashMap::new(),
            sending: HashMap::new(),
            tokens: HashMap::new(),
            last_broadcast: HashMap::new(),
            receipts: scenario.broadcasts().map(|_| Receipts::default()).collect(),
        }
    }

    fn start(worker: &mut Worker<Self>, index: u32) {
        worker.connect(index);
    }

    fn on_event(worker: &mut Worker<Self>, index: u32, flags: EventFlags) {
        worker.on_event(index, flags);
    }

    fn on_due(worker: &mut Worker<Self>, entry: Entry) {
        let is_closing = worker.is_closing();
        let connection = &mut worker.transport.connections[entry.connection as usize];
        if connection.wake_ms != entry.tick {
            return;
        }
        connection.wake_ms = NEVER;
        match connection.state {
            State::Away if !is_closing => worker.connect(entry.connection),
            // Nothing else is due on a stream of events.
            State::Open if worker.transport.sse.is_some() => worker.end(entry.connection, End::Planned),
            State::Open => worker.advance(entry.connection, false),
            _ => {}
        }
    }

    fn read_on(worker: &mut Worker<Self>, index: u32) {
        worker.read(index, true);
    }

    fn sweep(worker: &mut Worker<Self>, now_ms: u32) {
        worker.sweep(now_ms);
    }

    fn turn(worker: &mut Worker<Self>, _now_ms: u32) {
        worker.tell_joined();
        for task in worker.commands.take_tasks() {
            match task {
                Task::Send(order) => worker.accept(order),
                Task::Muster(id) => worker.muster(id),
                Task::Join(join) => worker.join(join),
                Task::Leave(leave) => worker.leave(&leave),
            }
        }
    }

    fn is_ramp_done(worker: &Worker<Self>) -> bool {
        worker.transport.undecided == 0
    }

    fn begin_close(worker: &mut Worker<Self>) {
        worker.count_absent();
    }

    fn close_some(worker: &mut Worker<Self>, at_once: bool) {
        worker.close_some(at_once);
    }

    fn is_closing_more(worker: &Worker<Self>) -> bool {
        worker.transport.close_cursor < worker.reached()
    }

    fn is_done(worker: &Worker<Self>) -> bool {
        !Self::is_closing_more(worker) && worker.tally.open() == 0 && worker.tally.connecting == 0
    }

    fn finish(worker: &mut Worker<Self>) {
        let sending =
            std::mem::take(&mut worker.transport.sending).into_values().map(|sending| sending.order);
        let waiting = std::mem::take(&mut worker.transport.orders).into_values().flatten();
        for order in sending.chain(waiting) {
            worker.ordered(&order, "the load ended before it was sent and answered", true);
        }
        worker.count_receipts();
    }
}

impl Worker<Stream> {
    /// Accepts an order: all clients watch for a broadcast, its client sends it.
    fn accept(&mut self, order: Order) {
        if let Some(number) = order.broadcast {
            self.expect_broadcast(number);
        }
        let Some(index) = self.spec.index_of(order.client) else { return };
        self.transport.orders.entry(index).or_default().push_back(order);
        self.send_ordered(index);
    }

    /// Clients that are open now should receive the broadcast.
    fn expect_broadcast(&mut self, number: u16) {
        let Stream { receipts, connections, .. } = &mut self.transport;
        let Some(receipts) = receipts.get_mut(usize::from(number)) else { return };
        receipts.sent_ns = self.clock.now_ns();
        receipts.clients.resize(connections.len(), 0);
        for (client, connection) in receipts.clients.iter_mut().zip(connections) {
            *client = *client & !Receipts::OPEN | u8::from(connection.is_open());
        }
    }

    /// Whether an action needs this connection.
    pub(super) fn has_orders(&self, index: u32) -> bool {
        self.transport.orders.get(&index).is_some_and(|orders| !orders.is_empty())
    }

    /// Sends an action's request on an idle connection. Returns whether there was one.
    pub(super) fn send_ordered(&mut self, index: u32) -> bool {
        let connection = &self.transport.connections[index as usize];
        if self.transport.orders.is_empty()
            || !connection.is_idle()
            || connection.noticed
            || connection.leaving
            || self.is_closing()
        {
            return false;
        }
        let Some(order) = self.transport.orders.get_mut(&index).and_then(VecDeque::pop_front) else {
            return false;
        };
        let token = self.transport.tokens.get(&index);
        let for_token = order.payload.contains(TOKEN) && token.is_none();
        let request = if for_token {
            ASK_FOR_TOKEN.to_vec()
        } else {
            let token = token.map(|token| String::from_utf8_lossy(token)).unwrap_or_default();
            unescaped(&order.payload.replace(TOKEN, &token))
        };
        let broadcast = order.broadcast.filter(|_| !for_token);
        if let Some(number) = broadcast {
            // The time for requesting a token does not count.
            self.expect_broadcast(number);
            self.transport.last_broadcast.insert(index, number);
            if let Some(broadcast) = self.tally.broadcasts.get_mut(usize::from(number)) {
                broadcast.sent = true;
            }
        }
        self.tally.totals.actions_sent += u64::from(!for_token);
        let connection = &mut self.transport.connections[index as usize];
        connection.sent_ms = (self.clock.now_ns() / MS) as u32;
        connection.awaiting = true;
        connection.written = 0;
        let sending = Sending { order, request, for_token, reply: Vec::new() };
        self.transport.sending.insert(index, sending);
        self.write(index);
        true
    }

    /// Reads input while an order is under way.
    pub(super) fn read_ordered(&mut self, index: u32, piece: &[u8]) {
        let Stream { connections, sending, matcher, .. } = &mut self.transport;
        let Some(sending) = sending.get_mut(&index) else { return };
        let seen = matcher.sift(&mut connections[index as usize].progress, piece, &mut sending.reply);
        if let Some(answer) = &mut sending.order.answer {
            // The end counts: the answer may come after a long list.
            *answer = answer.replace(CONNECTIONS, &self.spec.connections().to_string());
            let kept = 4 * SHOWN_BYTES + answer.len();
            sending.reply.drain(..sending.reply.len().saturating_sub(kept));
        } else {
            sending.reply.truncate(4 * SHOWN_BYTES);
        }
        let broadcast = sending.order.broadcast.filter(|_| !sending.for_token);
        if seen.refused && broadcast.is_some() {
            sending.reply = BROADCAST_REFUSED.to_vec();
        }
        let reply = sending.reply.trim_ascii();
        let is_over = if sending.for_token {
            reply.len() >= TOKEN_BYTES || reply.starts_with(b"error")
        } else {
            match broadcast {
                Some(number) => reply.starts_with(b"error") || seen.broadcasts.contains(&number),
                None => sending.answers(reply),
            }
        };
        let reply = is_over.then(|| reply.to_vec());
        let notice = seen.notice;
        self.take_in(index, seen);
        if let Some(reply) = reply {
            self.replied(index, &reply);
        } else if notice {
            self.settle(index, false);
        }
    }

    /// Gives up a broadcast that neither came back nor was refused in time: its client continues. Returns whether there
    /// was one.
    pub(super) fn give_up_broadcast(&mut self, index: u32) -> bool {
        let is_broadcast = |sending: &Sending| sending.order.broadcast.is_some() && !sending.for_token;
        if !self.transport.sending.get(&index).is_some_and(is_broadcast) {
            return false;
        }
        if let Some(sending) = self.transport.sending.remove(&index) {
            self.transport.connections[index as usize].awaiting = false;
            self.ordered(&sending.order, "it neither came back to its client nor was refused in time", true);
            self.settle(index, true);
        }
        true
    }

    fn replied(&mut self, index: u32, reply: &[u8]) {
        let Some(mut sending) = self.transport.sending.remove(&index) else { return };
        let now_ms = self.now_ms();
        let connection = &mut self.transport.connections[index as usize];
        connection.awaiting = false;
        // The event has the time of the answer.
        let after = match now_ms.saturating_sub(connection.sent_ms) {
            ms @ 0..1000 => format!("{ms} ms"),
            ms => format!("{:.1} s", f64::from(ms) / 1000.0),
        };
        let shown = match &sending.order.answer {
            Some(answer) if !sending.for_token && contains(reply, answer.as_bytes()) => answer.clone(),
            _ => escape(&reply[..reply.len().min(SHOWN_BYTES)]),
        };
        if !sending.for_token {
            let (outcome, failed) = match (sending.order.broadcast, reply) {
                // The expectations decide what that means.
                (Some(_), BROADCAST_REFUSED) => (format!("answered after {after}: {shown}"), false),
                (Some(_), []) => {
                    (format!("came back after {after}; {} clients were open", self.tally.open()), false)
                }
                _ => (format!("answered after {after}: {shown}"), reply.starts_with(b"error")),
            };
            self.ordered(&sending.order, &outcome, failed);
        } else if reply.starts_with(b"error") {
            self.ordered(&sending.order, &format!("it got no token: {shown}"), true);
        } else {
            self.transport.tokens.insert(index, reply[..TOKEN_BYTES].to_vec());
            let order = sending.order;
            sending.reply.clear();
            self.transport.orders.entry(index).or_default().push_front(order);
        }
        self.settle(index, true);
    }

    /// The connection of an order ended, or did not answer it.
    pub(super) fn order_failed(&mut self, index: u32, why: &str) {
        // A token belongs to its connection.
        self.transport.tokens.remove(&index);
        if let Some(sending) = self.transport.sending.remove(&index) {
            let came = escape(&sending.reply[sending.reply.len().saturating_sub(SHOWN_BYTES)..]);
            match &sending.order.answer {
                Some(answer) => {
                    self.ordered(&sending.order, &format!("no `{answer}` came, but …{came}: {why}"), true);
                }
                None => self.ordered(&sending.order, why, true),
            }
        }
    }

    fn ordered(&self, order: &Order, outcome: &str, failed: bool) {
        self.reports.send(Report::Ordered { id: order.id, outcome: outcome.to_owned(), failed });
    }

    /// Counts other input beside a reply.
    pub(super) fn take_in(&mut self, index: u32, seen: Seen) {
        for number in seen.broadcasts {
            let Some(receipts) = self.transport.receipts.get_mut(usize::from(number)) else { continue };
            receipts.clients.resize(self.transport.connections.len(), 0);
            let client = &mut receipts.clients[index as usize];
            if *client < Receipts::ONE && receipts.sent_ns > 0 {
                let now_ns = self.clock.now_ns();
                self.tally.distributions.broadcast.record_ns(now_ns.saturating_sub(receipts.sent_ns));
            }
            *client = if *client >= Receipts::FULL { *client } else { *client + Receipts::ONE };
        }
        if seen.refused
            && let Some(number) = self.transport.last_broadcast.get(&index)
            && let Some(broadcast) = self.tally.broadcasts.get_mut(usize::from(*number))
        {
            broadcast.refused = true;
        }
        if seen.notice {
            self.notice(index);
        }
    }

    fn count_receipts(&mut self) {
        for (broadcast, receipts) in self.tally.broadcasts.iter_mut().zip(&self.transport.receipts) {
            let open = receipts.clients.iter().filter(|client| **client & Receipts::OPEN > 0);
            (broadcast.due, broadcast.received) = open.fold((0, 0), |(due, received), client| {
                (due + 1, received + u64::from(*client >= Receipts::ONE))
            });
            broadcast.doubled =
                receipts.clients.iter().map(|client| u64::from((client >> 1).saturating_sub(1))).sum();
        }
    }
}
