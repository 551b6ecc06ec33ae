//! A worker whose messages are datagrams: the schedule of its peers, and the loop that keeps it.
//!
//! As over TCP, what is due in one millisecond is sent in one go when it begins, and latencies count from then. A
//! message waits for no answer, unless its peer's window is full; it then goes as soon as there is room, and is late.
//! What is due is computed from a message's number, so nothing is kept for messages that wait.

mod batch;
mod drops;
mod exchange;
mod peer;
mod tag;

use std::{
    io,
    mem::MaybeUninit,
    sync::{Arc, mpsc},
};

use platform::event::EventKind;
use rustix::{
    event::{Timespec, epoll},
    io::Errno,
};

use self::{
    batch::{Incoming, Outgoing},
    peer::{NEVER, Peer},
    tag::Form,
};
use super::{
    BATCH, Commands, EVENTS, Report, Spec, TIMER_SLACK_NS, WAKER,
    report::{Outbox, Tally},
    socket,
};
use crate::{
    clock::{Clock, MS, ceil_ms},
    wheel::{Entry, Wheel},
};

pub(crate) struct DatagramWorker {
    spec: Spec,
    commands: Arc<Commands>,
    reports: Outbox,
    clock: Clock,
    epoll: rustix::fd::OwnedFd,
    peers: Vec<Peer>,
    wheel: Wheel,
    form: Form,
    outgoing: Outgoing,
    incoming: Incoming,
    tally: Tally,
    /// Peers that were opened; they are the first ones.
    started: usize,
    ramp_reported: bool,
    /// When the stages of the profile begin that have not been reported. One worker reports for all.
    stages_ms: Vec<u32>,
    stage: usize,
    /// Nothing is sent any more.
    closing: bool,
    next_report_ms: u32,
    next_sweep_ms: u32,
    /// Peers that had more to read than one turn takes.
    unfinished: Vec<u32>,
    warned: Warned,
    traces_dropped: u64,
}

/// What was warned of; once says it.
#[derive(Debug, Clone, Copy, Default)]
struct Warned {
    of_an_error: bool,
    of_lateness: bool,
}

/// When a message is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    At(u32),
    /// As soon as there is room for it.
    Now,
    Never,
}

impl DatagramWorker {
    pub(crate) fn new(
        spec: Spec,
        commands: Arc<Commands>,
        reports: mpsc::SyncSender<(u32, Report)>,
    ) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, commands.waker(), epoll::EventData::new_u64(WAKER), flags)?;
        let form = Form::new(spec.expect, &spec.payload);
        let stages_ms = match &spec.profile {
            Some(profile) if spec.worker == 0 => profile.begins_ms().collect(),
            _ => Vec::new(),
        };
        Ok(Self {
            clock: Clock::starting_at(spec.origin_ns),
            epoll,
            peers: std::iter::repeat_with(Peer::new).take(spec.share()).collect(),
            wheel: Wheel::new(),
            outgoing: Outgoing::new(&form),
            incoming: Incoming::new(),
            form,
            tally: Tally::of_peers(),
            started: 0,
            ramp_reported: false,
            stages_ms,
            stage: 0,
            closing: false,
            next_report_ms: spec.tick_ms,
            next_sweep_ms: 0,
            unfinished: Vec::new(),
            warned: Warned::default(),
            traces_dropped: 0,
            reports: Outbox::new(spec.worker, reports),
            spec,
            commands,
        })
    }

    /// Runs until all is sent and answered, or given up. The last report is [`Report::Done`].
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
            for event in super::wait::for_events(&self.epoll, &mut events, &timeout)? {
                if event.data.u64() != WAKER {
                    self.read(event.data.u64() as u32);
                }
            }
            for index in std::mem::take(&mut self.unfinished) {
                self.read(index);
            }
        }
        self.close();
        if self.traces_dropped > 0 {
            self.warn(format!("{} peer events were dropped: they came too fast", self.traces_dropped));
        }
        let measured = self.tally.take();
        self.reports.send(Report::Done { at_ms: self.now_ms(), measured });
        Ok(())
    }

    fn now_ms(&self) -> u32 {
        u32::try_from(self.clock.now_ns() / MS).unwrap_or(u32::MAX)
    }

    /// Does everything that is due by now.
    fn keep_schedule(&mut self, fired: &mut Vec<Entry>) {
        let now_ms = self.now_ms();
        if !self.closing && now_ms >= self.commands.close_time_ms() {
            // The state before the close is the one worth seeing.
            self.reports.progress(&mut self.tally, false);
            self.reports.send(Report::Closing { at_ms: now_ms });
            self.closing = true;
        }
        self.report_stages(now_ms);
        self.start_due();
        self.wheel.advance(now_ms, fired);
        for entry in fired.drain(..) {
            let peer = &mut self.peers[entry.connection as usize];
            if peer.wake_ms == entry.tick {
                peer.wake_ms = NEVER;
                self.advance(entry.connection);
            }
        }
        if now_ms >= self.next_sweep_ms {
            self.sweep();
            self.next_sweep_ms = now_ms + self.spec.sweep_ms();
        }
        if !self.ramp_reported && self.started == self.peers.len() && !self.closing {
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

    fn report_stages(&mut self, now_ms: u32) {
        while !self.closing
            && self.clock.until_origin_ns() == 0
            && self.stages_ms.get(self.stage).is_some_and(|begin_ms| *begin_ms <= now_ms)
        {
            self.reports.send(Report::Stage { index: self.stage });
            self.stage += 1;
        }
    }

    /// Opens the peers whose time has come.
    fn start_due(&mut self) {
        for _ in 0..BATCH {
            if self.closing
                || self.started >= self.peers.len()
                || self.clock.until_origin_ns() > 0
                || self.spec.start_due_ns(self.started) > self.clock.now_ns()
            {
                return;
            }
            let index = self.started as u32;
            self.started += 1;
            match self.open(index) {
                Ok(()) => self.advance(index),
                Err(error) => {
                    self.tally.totals.connect_errors += 1;
                    self.warn_once("opening a peer of", index, error);
                }
            }
        }
    }

    fn open(&mut self, index: u32) -> Result<(), Errno> {
        let at = index as usize;
        self.tally.totals.attempted += 1;
        let socket = socket::peer(self.spec.target(at), self.spec.source(at))?;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(u64::from(index)), flags)?;
        self.tally.totals.connected += 1;
        self.tally.totals.connected_first += 1;
        self.tally.opened();
        if self.spec.trace {
            let event = EventKind::ConnectionOpened {
                id: self.spec.number(at),
                local: rustix::net::getsockname(&socket)
                    .ok()
                    .and_then(|local| local.try_into().ok())
                    .unwrap_or_else(|| std::net::SocketAddr::from(([0, 0, 0, 0], 0))),
                connect_us: 0,
                replica: None,
            };
            self.traces_dropped += u64::from(!self.reports.try_send(Report::Trace(Box::new(event))));
        }
        let base_ms = ceil_ms(self.clock.now_ns());
        let peer = &mut self.peers[at];
        (peer.socket, peer.base_ms) = (Some(socket), base_ms);
        Ok(())
    }

    /// When a message of a peer is due.
    fn due_of(&self, index: u32, sequence: u32) -> Due {
        if let Some(profile) = &self.spec.profile {
            // Peers take turns.
            let number = u64::from(sequence) * self.spec.connections + self.spec.number(index as usize);
            return profile.due_ns(number).map_or(Due::Never, |ns| Due::At(ceil_ms(ns)));
        }
        if self.spec.every_ns == Some(0) {
            return Due::Now;
        }
        let base_ms = self.peers[index as usize].base_ms;
        self.spec.message_due_ms(base_ms, sequence).map_or(Due::Never, Due::At)
    }

    /// How long nothing will be due, if the network stays silent.
    fn time_to_next(&self) -> Timespec {
        if !self.unfinished.is_empty() {
            return Timespec { tv_sec: 0, tv_nsec: 0 };
        }
        let mut next_ms = self.next_report_ms.min(self.next_sweep_ms);
        next_ms = next_ms.min(self.wheel.next_due().unwrap_or(NEVER));
        let mut next_ns = u64::from(next_ms) * MS;
        if !self.closing {
            next_ns = next_ns.min(u64::from(self.commands.close_time_ms()) * MS);
            if self.started < self.peers.len() {
                next_ns = next_ns.min(self.spec.start_due_ns(self.started));
            }
            if let Some(begin_ms) = self.stages_ms.get(self.stage) {
                next_ns = next_ns.min(u64::from(*begin_ms) * MS);
            }
        }
        // Before the origin the clock stands at zero.
        let wait_ns = next_ns.saturating_sub(self.clock.now_ns()) + self.clock.until_origin_ns();
        Timespec { tv_sec: (wait_ns / 1_000_000_000) as i64, tv_nsec: (wait_ns % 1_000_000_000) as i64 }
    }

    fn is_done(&self) -> bool {
        self.closing && (self.commands.is_at_once() || self.peers.iter().all(|peer| peer.outstanding() == 0))
    }

    /// Closes all sockets, after asking the kernel what it dropped at them.
    fn close(&mut self) {
        match drops::count(self.peers.iter().filter_map(|peer| peer.socket.as_ref())) {
            Ok(drops) => self.tally.totals.receive_drops = drops,
            Err(error) => self.warn(format!("what the kernel dropped at our sockets is not known: {error}")),
        }
        for index in 0..self.peers.len() {
            let peer = &mut self.peers[index];
            self.tally.totals.messages_unanswered += u64::from(peer.outstanding());
            if peer.socket.take().is_none() {
                continue;
            }
            self.tally.totals.closed += 1;
            self.tally.ended(0);
            if self.spec.trace {
                let reason = "closed".to_owned();
                let event = EventKind::ConnectionClosed { id: self.spec.number(index), reason };
                self.traces_dropped += u64::from(!self.reports.try_send(Report::Trace(Box::new(event))));
            }
        }
    }

    fn warn(&self, message: String) {
        self.reports.send(Report::Warning(message));
    }

    fn warn_once(&mut self, what: &str, index: u32, error: impl std::fmt::Display) {
        if !self.warned.of_an_error {
            self.warned.of_an_error = true;
            let target = self.spec.target(index as usize);
            self.warn(format!("{what} {target} failed: {error}"));
        }
    }
}
