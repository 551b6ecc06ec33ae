//! Datagrams: the schedule of the peers.
//!
//! As over TCP, everything due in one millisecond is sent in one go when it begins, and latencies count from then. A
//! message waits for no answer, unless its peer's window is full; it then goes as soon as there is room, and is late.
//! Due times are computed from a message's number, so waiting messages need no memory.

mod batch;
mod exchange;
mod peer;
mod tag;

use platform::event::EventKind;
use rustix::{
    event::epoll::{self, EventFlags},
    io::Errno,
};

use udp_drops::KernelDrops;

use self::{
    batch::{Incoming, Outgoing},
    peer::Peer,
    tag::Form,
};
use super::{NEVER, Report, Spec, Transport, Worker, local_address, socket};
use crate::{clock::ceil_ms, wheel::Entry};

/// The peers of a worker.
pub(crate) struct Datagram {
    peers: Vec<Peer>,
    form: Form,
    outgoing: Outgoing,
    incoming: Incoming,
    /// Start times of the profile's stages that have not been reported. One worker reports for all.
    stages_ms: Vec<u32>,
    stage: usize,
}

/// When a message is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    At(u32),
    /// As soon as there is room for it.
    Now,
    Never,
}

impl Transport for Datagram {
    fn new(spec: &Spec) -> Self {
        let form = match spec.answer() {
            Some(answer) => Form::answered_by(answer, spec.payload()),
            None => Form::new(spec.scenario.messages.expect, spec.payload()),
        };
        let stages_ms = match spec.scenario.profile() {
            Some(profile) if spec.worker == 0 => profile.begins_ms().collect(),
            _ => Vec::new(),
        };
        Self {
            peers: std::iter::repeat_with(Peer::new).take(spec.share()).collect(),
            outgoing: Outgoing::new(&form),
            incoming: Incoming::new(),
            form,
            stages_ms,
            stage: 0,
        }
    }

    fn start(worker: &mut Worker<Self>, index: u32) {
        match worker.open(index) {
            Ok(()) => worker.advance(index),
            Err(error) => {
                worker.tally.totals.connect_errors += 1;
                worker.say_error("opening a peer of", index, error);
            }
        }
    }

    fn on_event(worker: &mut Worker<Self>, index: u32, _flags: EventFlags) {
        worker.read(index);
    }

    fn on_due(worker: &mut Worker<Self>, entry: Entry) {
        let peer = &mut worker.transport.peers[entry.connection as usize];
        if peer.wake_ms == entry.tick {
            peer.wake_ms = NEVER;
            worker.advance(entry.connection);
        }
    }

    fn read_on(worker: &mut Worker<Self>, index: u32) {
        worker.read(index);
    }

    fn sweep(worker: &mut Worker<Self>, _now_ms: u32) {
        worker.sweep();
    }

    /// Reports the stages of the profile that begin.
    fn turn(worker: &mut Worker<Self>, now_ms: u32) {
        // Orders are only for TCP.
        drop(worker.commands.take_tasks());
        while !worker.is_closing()
            && worker.clock.until_origin_ns() == 0
            && Self::next_turn_ms(worker) <= now_ms
            && worker.transport.stage < worker.transport.stages_ms.len()
        {
            worker.reports.send(Report::Stage { index: worker.transport.stage });
            worker.transport.stage += 1;
        }
    }

    fn next_turn_ms(worker: &Worker<Self>) -> u32 {
        let Self { stages_ms, stage, .. } = &worker.transport;
        stages_ms.get(*stage).copied().filter(|_| !worker.is_closing()).unwrap_or(NEVER)
    }

    fn is_ramp_done(worker: &Worker<Self>) -> bool {
        worker.started == worker.count
    }

    fn close_some(_worker: &mut Worker<Self>, _at_once: bool) {}

    fn is_closing_more(_worker: &Worker<Self>) -> bool {
        false
    }

    fn is_done(worker: &Worker<Self>) -> bool {
        worker.is_settled(worker.now_ms())
            || worker.transport.peers.iter().all(|peer| peer.outstanding() == 0)
    }

    /// Closes all sockets, after reading the kernel's drop counts.
    fn finish(worker: &mut Worker<Self>) {
        let sockets = worker.transport.peers.iter().filter_map(|peer| peer.socket.as_ref());
        match KernelDrops::of(sockets).and_then(|drops| drops.count()) {
            Ok(drops) => worker.tally.totals.receive_drops = drops,
            Err(error) => {
                worker.warn(format!("cannot count what the kernel dropped at our sockets: {error}"));
            }
        }
        for index in 0..worker.transport.peers.len() {
            worker.close(index);
        }
    }
}

impl Worker<Datagram> {
    fn open(&mut self, index: u32) -> Result<(), Errno> {
        let at = index as usize;
        self.tally.totals.attempted += 1;
        let socket = socket::peer(self.spec.target(at), self.spec.source(at))?;
        let flags = EventFlags::IN | EventFlags::ET;
        epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(u64::from(index)), flags)?;
        self.tally.totals.connected += 1;
        self.tally.totals.connected_first += 1;
        self.tally.opened();
        let base_ms = ceil_ms(self.clock.now_ns());
        let peer = &mut self.transport.peers[at];
        (peer.socket, peer.base_ms) = (Some(socket), base_ms);
        self.trace(|worker| EventKind::ConnectionOpened {
            id: worker.spec.number(at),
            local: local_address(worker.transport.peers[at].socket.as_ref()),
            connect_us: 0,
            replica: None,
        });
        Ok(())
    }

    fn close(&mut self, index: usize) {
        let peer = &mut self.transport.peers[index];
        let (outstanding, sequence) = (u64::from(peer.outstanding()), peer.sequence);
        if peer.socket.take().is_none() {
            return;
        }
        let until_ms = self.closing_ms.unwrap_or(0);
        let mut due = sequence;
        while let Due::At(ms) = self.due_of(index as u32, due)
            && ms < until_ms
        {
            due += 1;
        }
        let totals = &mut self.tally.totals;
        totals.messages_due += u64::from(due);
        totals.messages_never_sent += u64::from(due - sequence);
        totals.messages_cut_off += outstanding;
        totals.messages_unanswered += outstanding;
        totals.closed += 1;
        self.tally.ended(0);
        self.trace(|worker| EventKind::ConnectionClosed {
            id: worker.spec.number(index),
            reason: "closed".to_owned(),
        });
    }

    /// When a message of a peer is due.
    fn due_of(&self, index: u32, sequence: u32) -> Due {
        let scenario = &self.spec.scenario;
        if let Some(profile) = scenario.profile() {
            // Peers take turns.
            let number = u64::from(sequence) * self.spec.connections() + self.spec.number(index as usize);
            return profile.due_ns(number).map_or(Due::Never, |ns| Due::At(ceil_ms(ns)));
        }
        if scenario.every().is_some_and(|every| every.is_zero()) {
            return Due::Now;
        }
        let base_ms = self.transport.peers[index as usize].base_ms;
        self.spec.message_due_ms(base_ms, sequence).map_or(Due::Never, Due::At)
    }
}
