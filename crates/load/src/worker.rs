//! One worker: a thread with one event loop that opens its share of the connections and keeps their schedules.
//!
//! The model is open: what is due is due, whatever the server does. Connection `i` of the run starts at
//! `i × interval`; message `k` of a connection is due at `open + k × every`, on a grid of whole milliseconds. All
//! messages of one millisecond are sent in one go when it begins, so the thread wakes at most once per millisecond
//! for its schedule and otherwise only for the network. A message that is due while its predecessor is outstanding
//! waits for that answer, and its latency still counts from the due time.
//!
//! Time-outs are found by a coarse sweep over all connections: the common case, an answer in time, costs nothing.

mod commands;
mod connection;
mod datagram;
mod ending;
mod exchange;
mod opening;
mod report;
mod socket;
mod spec;
mod wait;

use std::{collections::HashMap, io, mem::MaybeUninit, num::NonZeroU64, sync::Arc, sync::mpsc};

use platform::event::EventKind;
use rand_pcg::Pcg64Mcg;
use rustix::event::{Timespec, epoll};

pub(crate) use self::{
    commands::Commands,
    datagram::DatagramWorker,
    opening::{IDENTITY_BYTES, WHERE, parse_identity},
    report::{Measured, Report},
    spec::{Spec, at_least_one_ms},
};
use self::{
    connection::{Connection, NEVER, State},
    report::{Outbox, Tally},
};
use crate::{
    clock::{Clock, MS},
    reply::Matcher,
    wheel::{Entry, Wheel},
};

/// Events taken from the kernel at once: few, so that what becomes due meanwhile does not wait long.
const EVENTS: usize = 64;
/// Connections opened, or closed, between two looks at the network and the schedule.
const BATCH: usize = 32;
/// The buffer into which everything is read.
const BUFFER_BYTES: usize = 64 * 1024;
/// The event of the waker; connections have their index.
const WAKER: u64 = u64::MAX;
/// How late the kernel may wake this thread to save energy (its default is 50 µs).
const TIMER_SLACK_NS: NonZeroU64 = NonZeroU64::new(1_000).expect("not zero");

pub(crate) struct Worker {
    spec: Spec,
    commands: Arc<Commands>,
    reports: Outbox,
    clock: Clock,
    epoll: rustix::fd::OwnedFd,
    connections: Vec<Connection>,
    wheel: Wheel,
    matcher: Matcher,
    tally: Tally,
    random: Pcg64Mcg,
    buffer: Box<[u8]>,
    /// Connections that were started at least once; they are the first ones.
    started: usize,
    /// Connections whose first attempt is undecided, or not yet made.
    undecided: usize,
    ramp_reported: bool,
    /// Connections are being closed; none is opened any more.
    closing: bool,
    /// Connections before this one have been told to close.
    close_cursor: usize,
    next_report_ms: u32,
    next_sweep_ms: u32,
    /// Answers to `WHERE` that came in part.
    partial_identities: HashMap<u32, Vec<u8>>,
    /// Connections that had more to read than one turn takes.
    unfinished: Vec<u32>,
    traces_dropped: u64,
    warned: bool,
}

impl Worker {
    pub(crate) fn new(
        spec: Spec,
        commands: Arc<Commands>,
        reports: mpsc::SyncSender<(u32, Report)>,
    ) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, commands.waker(), epoll::EventData::new_u64(WAKER), flags)?;
        let count = spec.share();
        Ok(Self {
            clock: Clock::starting_at(spec.origin_ns),
            epoll,
            connections: std::iter::repeat_with(Connection::new).take(count).collect(),
            wheel: Wheel::new(),
            matcher: Matcher::new(spec.expect, spec.payload.as_bytes()),
            tally: Tally::new(),
            // PCG of a fixed kind, so that equal seeds give equal jitter whatever `rand` does next.
            random: Pcg64Mcg::new(u128::from(spec.seed) << 32 | u128::from(spec.worker) << 1 | 1),
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            started: 0,
            undecided: count,
            ramp_reported: false,
            closing: false,
            close_cursor: 0,
            next_report_ms: spec.tick_ms,
            next_sweep_ms: 0,
            partial_identities: HashMap::new(),
            unfinished: Vec::new(),
            traces_dropped: 0,
            warned: false,
            reports: Outbox::new(spec.worker, reports),
            spec,
            commands,
        })
    }

    /// Runs until everything is closed. The last report is [`Report::Done`].
    pub(crate) fn run(mut self) -> io::Result<()> {
        // Precision only; without it the run is a little less exact.
        let _ = rustix::thread::set_current_timer_slack(Some(TIMER_SLACK_NS));
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); EVENTS];
        let mut fired = Vec::new();
        loop {
            self.keep_schedule(&mut fired);
            if self.is_done() {
                break;
            }
            let timeout = self.time_to_next();
            for event in wait::for_events(&self.epoll, &mut events, &timeout)? {
                let (data, flags) = (event.data, event.flags);
                if data.u64() != WAKER {
                    self.on_event(data.u64() as u32, flags);
                }
            }
            for index in std::mem::take(&mut self.unfinished) {
                self.read(index, true);
            }
        }
        if self.traces_dropped > 0 {
            let message =
                format!("{} connection events were dropped: they came too fast", self.traces_dropped);
            self.warn(message);
        }
        let at_ms = self.now_ms();
        let measured = self.tally.take();
        self.reports.send(Report::Done { at_ms, measured });
        Ok(())
    }

    fn now_ms(&self) -> u32 {
        u32::try_from(self.clock.now_ns() / MS).unwrap_or(u32::MAX)
    }

    /// Does everything that is due by now.
    fn keep_schedule(&mut self, fired: &mut Vec<Entry>) {
        let now_ms = self.now_ms();
        self.wheel.advance(now_ms, fired);
        for entry in fired.drain(..) {
            self.on_due(entry);
        }
        if !self.closing && now_ms >= self.commands.close_time_ms() {
            // The state before the close is the one worth seeing.
            self.reports.progress(&mut self.tally, false);
            self.reports.send(Report::Closing { at_ms: now_ms });
            self.closing = true;
        }
        if self.closing {
            self.close_some();
        } else {
            self.start_due();
        }
        if now_ms >= self.next_sweep_ms {
            self.sweep(now_ms);
            self.next_sweep_ms = now_ms + self.spec.sweep_ms();
        }
        if !self.ramp_reported && self.undecided == 0 && !self.closing {
            self.ramp_reported = true;
            self.reports.progress(&mut self.tally, false);
            self.reports.send(Report::RampDone { at_ms: now_ms });
        }
        if now_ms >= self.next_report_ms {
            self.reports.progress(&mut self.tally, true);
            // After a stall the next one comes on the grid, not at once for each that was missed.
            self.next_report_ms = (now_ms / self.spec.tick_ms + 1) * self.spec.tick_ms;
        }
    }

    fn on_due(&mut self, entry: Entry) {
        let connection = &mut self.connections[entry.connection as usize];
        if connection.wake_ms != entry.tick {
            return;
        }
        connection.wake_ms = NEVER;
        match connection.state {
            State::Away => self.start(entry.connection),
            State::Open => self.advance(entry.connection, false),
            State::Absent | State::Connecting | State::Identifying => {}
        }
    }

    /// How long nothing will be due, if the network stays silent.
    fn time_to_next(&self) -> Timespec {
        if !self.unfinished.is_empty() || (self.closing && self.close_cursor < self.started) {
            return Timespec { tv_sec: 0, tv_nsec: 0 };
        }
        let mut next_ms = self.next_report_ms.min(self.next_sweep_ms);
        next_ms = next_ms.min(self.wheel.next_due().unwrap_or(NEVER));
        let mut next_ns = u64::from(next_ms) * MS;
        if !self.closing {
            next_ns = next_ns.min(u64::from(self.commands.close_time_ms()) * MS);
            if self.started < self.connections.len() {
                next_ns = next_ns.min(self.spec.start_due_ns(self.started));
            }
        }
        // Before the origin the clock stands at zero.
        let wait_ns = next_ns.saturating_sub(self.clock.now_ns()) + self.clock.until_origin_ns();
        Timespec { tv_sec: (wait_ns / 1_000_000_000) as i64, tv_nsec: (wait_ns % 1_000_000_000) as i64 }
    }

    fn is_done(&self) -> bool {
        self.closing
            && self.close_cursor >= self.started
            && self.tally.open() == 0
            && self.tally.connecting == 0
    }

    fn warn(&self, message: String) {
        self.reports.send(Report::Warning(message));
    }

    /// Reports an event of a single connection, if such were asked for and the coordinator keeps up.
    fn trace(&mut self, event: impl FnOnce(&Self) -> EventKind) {
        if !self.spec.trace {
            return;
        }
        let event = event(self);
        if !self.reports.try_send(Report::Trace(Box::new(event))) {
            self.traces_dropped += 1;
        }
    }
}
