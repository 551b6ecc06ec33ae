//! One worker: a thread with one event loop that opens its share of the connections and keeps their schedules.
//!
//! The model is open: due times do not depend on the server. Connection `i` of the run starts at
//! `i × interval`; message `k` of a connection is due at `open + k × every`, on a grid of whole milliseconds. All
//! messages of one millisecond are sent in one go when it begins, so the thread wakes at most once per millisecond
//! for its schedule and otherwise only for the network.
//!
//! The loop is the same for all transports. Each [`Transport`] handles due messages and input in its own way:
//! [`Stream`] over TCP, with or without the frames of WebSocket or the events of SSE, and [`Datagram`] over UDP.

mod commands;
mod connection;
mod datagram;
mod ending;
mod exchange;
mod groups;
mod opening;
mod report;
mod sending;
mod session;
mod socket;
mod spec;
mod sse;
mod wait;
mod websocket;

use std::{fmt, io, mem::MaybeUninit, num::NonZeroU64, sync::Arc, sync::mpsc};

use platform::event::EventKind;
use rustix::event::{Timespec, epoll};

pub(crate) use self::{
    commands::Commands,
    datagram::Datagram,
    opening::{IDENTITY_BYTES, WHERE, parse_identity},
    sending::Stream,
};
use self::{
    groups::Joining,
    report::{Outbox, Tally},
};
use crate::{
    clock::{Clock, MS},
    messages::{Held, Join, Leave, Order, Report, Spec, Task},
    wheel::{Entry, Wheel},
};

/// No tick: the wheel is empty.
const NEVER: u32 = u32::MAX;
/// Events taken from the kernel at once: few, so that newly due work does not wait long.
const EVENTS: usize = 64;
/// Connections to open, or close, between two checks of the network and the schedule.
const BATCH: usize = 32;
/// The event of the waker; connections have their index.
const WAKER: u64 = u64::MAX;
/// How late the kernel may wake this thread to save energy (its default is 50 µs).
const TIMER_SLACK_NS: NonZeroU64 = NonZeroU64::new(1_000).expect("not zero");
/// Maximum length of an unexpected answer in a message.
const SHOWN_BYTES: usize = 120;

/// The loop, its clock, and its counts.
pub(crate) struct Worker<T> {
    spec: Spec,
    commands: Arc<Commands>,
    reports: Outbox,
    clock: Clock,
    epoll: rustix::fd::OwnedFd,
    wheel: Wheel,
    tally: Tally,
    /// Connections of the ramp that were started at least once; they come first.
    started: usize,
    /// Connections of the ramp. Connections of users who join follow.
    count: usize,
    joining: Joining,
    ramp_reported: bool,
    /// Since when connections are being closed; no more are opened.
    closing_ms: Option<u32>,
    next_report_ms: u32,
    next_sweep_ms: u32,
    /// Connections that had more to read than fits into one turn.
    unfinished: Vec<u32>,
    traces_dropped: u64,
    said: Said,
    transport: T,
}

/// Messages that are reported only once.
#[derive(Debug, Clone, Copy, Default)]
struct Said {
    an_error: bool,
    lateness: bool,
    wrong_answer: bool,
}

/// The differences between TCP and UDP.
pub(crate) trait Transport: Sized {
    fn new(spec: &Spec) -> Self;
    /// A connection starts.
    fn start(worker: &mut Worker<Self>, index: u32);
    /// An event of a connection.
    fn on_event(worker: &mut Worker<Self>, index: u32, flags: epoll::EventFlags);
    /// A connection's entry in the wheel is due.
    fn on_due(worker: &mut Worker<Self>, entry: Entry);
    /// Continues reading a connection.
    fn read_on(worker: &mut Worker<Self>, index: u32);
    /// Finds connections that have waited for too long.
    fn sweep(worker: &mut Worker<Self>, now_ms: u32);
    /// A turn of the loop starts.
    fn turn(_worker: &mut Worker<Self>, _now_ms: u32) {}
    /// When [`turn`](Self::turn) has something to do next, ms.
    fn next_turn_ms(_worker: &Worker<Self>) -> u32 {
        NEVER
    }
    /// Whether every connection was started and decided.
    fn is_ramp_done(worker: &Worker<Self>) -> bool;
    /// From now on, connections are closed, and none is opened.
    fn begin_close(_worker: &mut Worker<Self>) {}
    /// Closes some of the connections. `at_once`: including those with outstanding answers.
    fn close_some(worker: &mut Worker<Self>, at_once: bool);
    /// Whether there are more to close now.
    fn is_closing_more(worker: &Worker<Self>) -> bool;
    fn is_done(worker: &Worker<Self>) -> bool;
    /// The loop is over.
    fn finish(worker: &mut Worker<Self>);
}

impl<T: Transport> Worker<T> {
    pub(crate) fn new(
        spec: Spec,
        commands: Arc<Commands>,
        reports: mpsc::SyncSender<(u32, Report)>,
    ) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, commands.waker(), epoll::EventData::new_u64(WAKER), flags)?;
        Ok(Self {
            clock: Clock::starting_at(spec.origin_ns),
            epoll,
            wheel: Wheel::new(),
            tally: Tally::new(&spec.scenario),
            started: 0,
            count: spec.ramp_share(),
            joining: Joining::default(),
            ramp_reported: false,
            closing_ms: None,
            next_report_ms: spec.tick_ms,
            next_sweep_ms: 0,
            unfinished: Vec::new(),
            traces_dropped: 0,
            said: Said::default(),
            reports: Outbox::new(spec.worker, reports),
            transport: T::new(&spec),
            spec,
            commands,
        })
    }

    /// Runs until everything is closed. The last report is [`Report::Done`].
    pub(crate) fn run(mut self) -> io::Result<()> {
        // Only for precision: without it, the run is slightly less exact.
        let _ = rustix::thread::set_current_timer_slack(Some(TIMER_SLACK_NS));
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); EVENTS];
        let mut fired = Vec::new();
        loop {
            self.keep_schedule(&mut fired);
            if self.is_closing() && T::is_done(&self) {
                break;
            }
            let timeout = self.time_to_next();
            for event in wait::for_events(&self.epoll, &mut events, &timeout)? {
                let (data, flags) = (event.data, event.flags);
                if data.u64() != WAKER {
                    T::on_event(&mut self, data.u64() as u32, flags);
                }
            }
            for index in std::mem::take(&mut self.unfinished) {
                T::read_on(&mut self, index);
            }
        }
        T::finish(&mut self);
        if self.traces_dropped > 0 {
            self.warn(format!("{} connection events were dropped: they came too fast", self.traces_dropped));
        }
        let measured = self.tally.take();
        self.reports.send(Report::Done { at_ms: self.now_ms(), measured });
        Ok(())
    }

    fn now_ms(&self) -> u32 {
        u32::try_from(self.clock.now_ns() / MS).unwrap_or(u32::MAX)
    }

    fn is_closing(&self) -> bool {
        self.closing_ms.is_some()
    }

    /// Whether there are no outstanding answers to wait for, or no more time to wait.
    fn is_settled(&self, now_ms: u32) -> bool {
        let settled = |since_ms: u32| now_ms >= since_ms.saturating_add(self.spec.settle_ms());
        self.commands.is_at_once() || self.closing_ms.is_some_and(settled)
    }

    /// Does everything that is due.
    fn keep_schedule(&mut self, fired: &mut Vec<Entry>) {
        let now_ms = self.now_ms();
        T::turn(self, now_ms);
        self.wheel.advance(now_ms, fired);
        for entry in fired.drain(..) {
            T::on_due(self, entry);
        }
        if !self.is_closing() && now_ms >= self.commands.close_time_ms() {
            // The state before the close is the interesting one.
            self.reports.progress(&mut self.tally, false);
            self.reports.send(Report::Closing { at_ms: now_ms });
            self.closing_ms = Some(now_ms);
            T::begin_close(self);
        }
        if self.is_closing() {
            let at_once = self.is_settled(now_ms);
            T::close_some(self, at_once);
        } else {
            self.start_due();
        }
        if now_ms >= self.next_sweep_ms {
            T::sweep(self, now_ms);
            self.next_sweep_ms = now_ms + self.spec.sweep_ms();
        }
        if !self.ramp_reported && !self.is_closing() && T::is_ramp_done(self) {
            self.ramp_reported = true;
            self.reports.progress(&mut self.tally, false);
            self.reports.send(Report::RampDone { at_ms: now_ms });
        }
        if now_ms >= self.next_report_ms {
            self.reports.progress(&mut self.tally, true);
            // After a stall, the next report comes on the grid, not at once for each missed one.
            self.next_report_ms = (now_ms / self.spec.tick_ms + 1) * self.spec.tick_ms;
        }
    }

    /// Starts the connections that are due.
    fn start_due(&mut self) {
        for _ in 0..BATCH {
            let Some(index) = self.next_to_start() else { return };
            T::start(self, index);
        }
    }

    fn next_to_start(&mut self) -> Option<u32> {
        if self.clock.until_origin_ns() > 0 {
            return None;
        }
        let now_ns = self.clock.now_ns();
        if self.started < self.count && self.spec.start_due_ns(self.started) <= now_ns {
            self.started += 1;
            return Some((self.started - 1) as u32);
        }
        self.joining.take_due(&self.spec, now_ns)
    }

    /// Connections from this one on were never started.
    fn reached(&self) -> usize {
        self.started.max(self.joining.reached())
    }

    /// Time until something is due, if the network stays silent.
    fn time_to_next(&self) -> Timespec {
        if !self.unfinished.is_empty() || (self.is_closing() && T::is_closing_more(self)) {
            return Timespec { tv_sec: 0, tv_nsec: 0 };
        }
        let mut next_ms = self.next_report_ms.min(self.next_sweep_ms).min(T::next_turn_ms(self));
        next_ms = next_ms.min(self.wheel.next_due().unwrap_or(NEVER));
        next_ms = next_ms.min(match self.closing_ms {
            None => self.commands.close_time_ms(),
            // After that, only the network can bring work.
            Some(since_ms) => since_ms.saturating_add(self.spec.settle_ms()).max(self.now_ms() + 1),
        });
        let mut next_ns = u64::from(next_ms) * MS;
        if !self.is_closing() {
            let of_ramp = (self.started < self.count).then(|| self.spec.start_due_ns(self.started));
            let next_start_ns = of_ramp.into_iter().chain(self.joining.next_due_ns(&self.spec)).min();
            next_ns = next_ns.min(next_start_ns.unwrap_or(u64::MAX));
        }
        // Before the origin, the clock stands at zero.
        let wait_ns = next_ns.saturating_sub(self.clock.now_ns()) + self.clock.until_origin_ns();
        Timespec { tv_sec: (wait_ns / 1_000_000_000) as i64, tv_nsec: (wait_ns % 1_000_000_000) as i64 }
    }

    fn warn(&self, message: String) {
        self.reports.send(Report::Warning(message));
    }

    /// Reports why something with a connection's target failed, the first time.
    fn say_error(&mut self, what: &str, index: u32, error: impl fmt::Display) {
        if !self.said.an_error {
            self.said.an_error = true;
            let target = self.spec.target(index as usize);
            self.reports.send(Report::FirstError(format!("{what} {target} failed: {error}")));
        }
    }

    /// Reports the first unexpected answer.
    fn say_wrong_answer(&mut self, answer: &[u8]) {
        if !self.said.wrong_answer {
            self.said.wrong_answer = true;
            self.reports.send(Report::FirstWrong(answer[..answer.len().min(SHOWN_BYTES)].to_vec()));
        }
    }

    /// Reports an event of a single connection, if requested and the coordinator keeps up.
    fn trace(&mut self, event: impl FnOnce(&Self) -> EventKind) {
        if self.spec.trace {
            let event = event(self);
            self.traces_dropped += u64::from(!self.reports.try_send(Report::Trace(Box::new(event))));
        }
    }
}

/// The local address of a socket, for messages.
fn local_address(socket: Option<&rustix::fd::OwnedFd>) -> std::net::SocketAddr {
    socket
        .and_then(|socket| rustix::net::getsockname(socket).ok())
        .and_then(|local| local.try_into().ok())
        .unwrap_or_else(|| std::net::SocketAddr::from(([0, 0, 0, 0], 0)))
}
