//! How connections end, and which reconnect.

use platform::event::EventKind;
use rand::RngExt as _;

use super::{
    BATCH, NEVER, Stream, Worker,
    connection::{Connection, State},
};
use crate::{
    clock::{MS, ceil_ms},
    websocket::close,
};

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The other side closed it.
    Eof,
    /// The same over WebSocket, preceded by a close.
    Close,
    Reset,
    /// By this side, as planned, or because of a notice.
    Planned,
    /// By this side, because an answer did not come in time.
    GivenUp,
    /// By this side, because the server violated the protocol.
    Violation,
}

impl Worker<Stream> {
    /// Ends an open connection. It reconnects later unless the run is closing.
    pub(super) fn end(&mut self, index: u32, end: End) {
        if end == End::Planned || end == End::GivenUp {
            self.send_close(index, close::NORMAL);
        }
        let now_ns = self.clock.now_ns();
        let closing = self.is_closing();
        let state = self.transport.connections[index as usize].state;
        if state == State::Upgrading {
            if self.transport.sse.is_some() {
                return self.stream_ended(index, end);
            }
            return self.upgrade_ended(index, end);
        }
        let connection = &mut self.transport.connections[index as usize];
        if !connection.is_open() {
            return;
        }
        if connection.lasted_ms(now_ns) > self.spec.come_back_after_ms() {
            connection.failures = 0;
        }
        self.let_go(index, matches!(end, End::Planned | End::GivenUp));
        if self.transport.websocket.is_some() && matches!(end, End::Eof | End::Reset) {
            self.tally.ended_by_code(close::ABNORMAL, "no close before the end");
        }
        let connection = &mut self.transport.connections[index as usize];
        // Closing the socket also removes it from epoll.
        connection.socket = None;
        connection.ended_ns = now_ns;
        let totals = &mut self.tally.totals;
        let is_message = connection.state == State::Open && !self.transport.sending.contains_key(&index);
        let unanswered = u64::from(connection.awaiting && is_message);
        totals.messages_unanswered += unanswered;
        if end == End::GivenUp {
            totals.message_timeouts += unanswered;
        } else {
            totals.messages_cut_off += unanswered;
        }
        if connection.state == State::Open {
            let now_ms = u32::try_from(now_ns / MS).unwrap_or(u32::MAX);
            // Messages that fell due while the load was closing should not be sent.
            let until_ms = self.closing_ms.unwrap_or(now_ms).min(now_ms);
            let due =
                self.spec.messages_due(connection.base_ms, until_ms).max(u64::from(connection.sequence));
            totals.messages_due += due;
            totals.messages_never_sent += due - u64::from(connection.sequence);
        }
        let noticed = connection.noticed;
        let outstanding = unanswered > 0;
        let reason = match end {
            End::Eof | End::Close if noticed => {
                totals.eof_after_notice += 1;
                "closed by the server after its notice"
            }
            End::Eof | End::Close => {
                totals.eof += 1;
                "closed by the server"
            }
            End::Reset => {
                totals.reset += 1;
                "reset"
            }
            End::Planned => {
                totals.closed += 1;
                if noticed { "left on notice" } else { "closed" }
            }
            End::GivenUp => {
                totals.given_up += 1;
                "given up: no answer in time"
            }
            End::Violation => {
                totals.protocol_errors += 1;
                "given up: the server broke the protocol"
            }
        };
        let by_peer = matches!(end, End::Eof | End::Close | End::Reset | End::Violation);
        totals.lost += u64::from(by_peer && !noticed && !closing);
        let replica = connection.replica;
        self.tally.ended(replica);
        self.session_left(index, end, outstanding);
        self.order_failed(
            index,
            if end == End::GivenUp { "no answer in time" } else { "its connection ended" },
        );
        self.transport.partial_identities.remove(&index);
        self.trace(|worker| EventKind::ConnectionClosed {
            id: worker.spec.number(index as usize),
            reason: reason.to_owned(),
        });
        self.come_back(index);
    }

    /// Schedules the next attempt of a connection that is closed.
    pub(super) fn come_back(&mut self, index: u32) {
        let closing = self.is_closing();
        let Stream { connections, random, websocket, sse, .. } = &mut self.transport;
        let connection = &mut connections[index as usize];
        let hint = websocket.as_mut().and_then(|websocket| {
            websocket.forget(index);
            websocket.take_hint(index)
        });
        let hint = hint.or_else(|| {
            let sse = sse.as_mut()?;
            sse.forget(index);
            sse.take_hint(index)
        });
        let jittered = self
            .spec
            .come_back_ms(index as usize, connection.failures, hint)
            .map(|(delay_ms, jitter_ms)| delay_ms.saturating_add(random.random_range(0..=jitter_ms)));
        connection.failures = connection.failures.saturating_add(1);
        let now_ms = ceil_ms(self.clock.now_ns());
        connection.awaiting = false;
        connection.writing = false;
        match jittered {
            Some(delay_ms) if !closing && !connection.leaving => {
                connection.state = State::Away;
                connection.wake_ms = self.wheel.insert(index, now_ms.saturating_add(delay_ms));
                self.session_waits(index, delay_ms);
            }
            _ => {
                connection.state = State::Absent;
                connection.wake_ms = NEVER;
            }
        }
    }

    /// Finds connections that have waited for too long.
    pub(super) fn sweep(&mut self, now_ms: u32) {
        for at in 0..self.reached() {
            let connection = &self.transport.connections[at];
            let index = at as u32;
            if connection.is_connecting() {
                let is_upgrading = connection.state == State::Upgrading;
                let since_ms = (connection.started_ns / MS) as u32;
                if now_ms.saturating_sub(since_ms) > self.spec.connect_timeout_ms() {
                    self.tally.totals.connect_timeouts += 1;
                    if is_upgrading {
                        let what =
                            if self.transport.sse.is_some() { "server-sent events" } else { "WebSocket" };
                        let why = format!("no answer in time; does it speak {what}?");
                        self.say_error("the request at", index, why);
                    } else {
                        self.say_error("connecting to", index, "no answer in time");
                    }
                    self.give_up_connecting(index);
                }
            } else if connection.is_waiting_for_peer()
                && now_ms.saturating_sub(connection.sent_ms) > self.spec.message_timeout_ms()
            {
                // Percentiles cover only answered messages; this is counted separately.
                if !self.give_up_broadcast(index) {
                    self.end(index, End::GivenUp);
                }
            }
        }
    }

    /// Counts the connections that should be open but are not.
    pub(super) fn count_absent(&mut self) {
        let absent = |connection: &&Connection| {
            connection.opened_before && !connection.is_open() && !connection.leaving
        };
        self.tally.totals.stayed_away = self.transport.connections.iter().filter(absent).count() as u64;
    }

    /// Closes the next few connections. Those with an outstanding message are left until it is answered or times out;
    /// with a stop at once, they are closed too.
    pub(super) fn close_some(&mut self, at_once: bool) {
        let reached = self.reached();
        if at_once && self.transport.close_cursor >= reached && self.tally.open() > 0 {
            // No more waiting for answers: start over once more.
            self.transport.close_cursor = 0;
        }
        let end = (self.transport.close_cursor + BATCH).min(reached);
        for at in self.transport.close_cursor..end {
            self.close(at as u32, at_once);
        }
        self.transport.close_cursor = end;
    }

    /// Closes a connection, for good. One with an outstanding message is left, unless `at_once`.
    pub(super) fn close(&mut self, index: u32, at_once: bool) {
        let connection = &mut self.transport.connections[index as usize];
        match connection.state {
            State::Connecting | State::Upgrading => {
                self.tally.totals.connects_cut_off += 1;
                self.give_up_connecting(index);
            }
            State::Away => {
                connection.state = State::Absent;
                connection.wake_ms = NEVER;
            }
            State::Open | State::Identifying if at_once || connection.is_idle() => {
                self.end(index, End::Planned);
            }
            State::Open | State::Identifying | State::Absent => {}
        }
    }
}
