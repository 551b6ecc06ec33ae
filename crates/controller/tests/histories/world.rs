//! A small model of the world that effects act on: processes that start, answer, crash and hang, endpoints whose writes
//! may fail, and messages that are late or repeated.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use controller::{
    Effect, Exit, Input, Launch, MetricAnswer, ProbeFailure, Probed, RunId, Sample, Started, Time, Usage,
};
use platform::{ServiceKind, services::PodsMetric, values::Protocol};
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;

/// The frequency of failures in one history, in thousandths.
#[derive(Debug, Clone, Copy)]
struct Temper {
    fails_to_start: u32,
    crashes: u32,
    starts_slowly: u32,
    falls_sick: u32,
    ignores_sigterm: u32,
    write_fails: u32,
    repeated: u32,
}

const CALM: Temper = Temper {
    fails_to_start: 0,
    crashes: 0,
    starts_slowly: 0,
    falls_sick: 0,
    ignores_sigterm: 0,
    write_fails: 0,
    repeated: 0,
};

pub(crate) struct World {
    random: Pcg64Mcg,
    temper: Temper,
    queue: BinaryHeap<Reverse<Scheduled>>,
    pushed: u64,
    processes: BTreeMap<RunId, Process>,
    /// The last version of the endpoints that was written.
    written: u64,
    /// The replicas' loads.
    load: u64,
}

/// Ordered by time, then randomly.
struct Scheduled {
    at: (Time, u64, u64),
    message: Message,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at)
    }
}

enum Message {
    Input(Input),
    /// A process ends, if it has not ended yet.
    Death(RunId, Exit),
    /// A gateway reads the endpoints.
    Read(RunId),
}

struct Process {
    kind: Kind,
    ready_at: Time,
    /// It answers nothing from the first of these times to the second.
    sick: (Time, Time),
    /// How long it takes to end; `None`: it ignores SIGTERM.
    ends_within: Option<Duration>,
    cpu: Duration,
    packets: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Replica(ServiceKind),
    Gateway,
    Part,
}

impl World {
    pub(crate) fn new(random: &mut Pcg64Mcg) -> Self {
        let random = Pcg64Mcg::seed_from_u64(random.random());
        let mut world = Self {
            random,
            temper: CALM,
            queue: BinaryHeap::new(),
            pushed: 0,
            processes: BTreeMap::new(),
            written: 0,
            load: 3_000,
        };
        if world.chance(900) {
            let mut up_to = |most| world.random.random_range(0..=most);
            world.temper = Temper {
                fails_to_start: up_to(40),
                crashes: up_to(250),
                starts_slowly: up_to(200),
                falls_sick: up_to(300),
                ignores_sigterm: up_to(300),
                write_fails: up_to(300),
                repeated: up_to(60),
            };
        }
        world
    }

    /// From now on, nothing fails.
    pub(crate) fn calm_down(&mut self, now: Time) {
        self.temper = CALM;
        for process in self.processes.values_mut() {
            process.sick = (now, now);
            process.ends_within.get_or_insert(Duration::from_millis(10));
        }
    }

    pub(crate) fn set_load(&mut self, load: u64) {
        self.load = load;
    }

    pub(crate) fn chance(&mut self, thousandths: u32) -> bool {
        self.random.random_range(0..1000) < thousandths
    }

    /// The time of the next event.
    pub(crate) fn next_at(&self) -> Option<Time> {
        self.queue.peek().map(|Reverse(next)| next.at.0)
    }

    /// The next event; `None`: one that the controller does not see.
    pub(crate) fn next(&mut self) -> Option<Input> {
        let Reverse(Scheduled { at: (now, ..), message }) = self.queue.pop()?;
        match message {
            Message::Input(input) => {
                if self.temper.repeated > 0 && self.chance(self.temper.repeated) && is_repeatable(&input) {
                    let later = self.within(3_000);
                    self.send(now + later, input.clone());
                }
                Some(input)
            }
            Message::Death(run, exit) => {
                self.processes.remove(&run)?;
                Some(Input::Ended { run, exit })
            }
            Message::Read(run) => {
                self.processes.get(&run).filter(|_| self.written > 0)?;
                Some(Input::CaughtUp { run, version: self.written })
            }
        }
    }

    /// A random event, independent of the controller.
    pub(crate) fn send(&mut self, at: Time, input: Input) {
        self.push(at, Message::Input(input));
    }

    pub(crate) fn carry_out(&mut self, now: Time, effect: &Effect) {
        match effect {
            Effect::Start { run, launch } => self.start(now, *run, launch),
            Effect::Probe { run, timeout } => self.probe(now, *run, *timeout),
            Effect::Terminate { run } => {
                if let Some(within) = self.processes.get(run).and_then(|process| process.ends_within) {
                    self.push(now + within, Message::Death(*run, Exit::Signal(15)));
                }
            }
            Effect::Kill { run } => {
                let soon = self.within(5);
                self.push(now + soon, Message::Death(*run, Exit::Signal(9)));
            }
            Effect::WriteEndpoints { version, .. } => self.write(now, *version),
            Effect::Scrape => self.scrape(now),
            Effect::AskMetrics { questions, patience, .. } => {
                let answers = questions.iter().map(|question| self.answer(question)).collect();
                let most = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX).min(800);
                let later = self.within(most);
                self.send(now + later, Input::MetricsAnswered { answers });
            }
            Effect::Emit(_) | Effect::Reply { .. } | Effect::Finished => {}
        }
    }

    /// The current runs.
    pub(crate) fn loads(&mut self) -> Vec<(RunId, u64)> {
        let runs: Vec<RunId> = self.processes.keys().copied().collect();
        runs.into_iter().map(|run| (run, self.random.random_range(0..100))).collect()
    }

    fn start(&mut self, now: Time, run: RunId, launch: &Launch) {
        let takes = if self.chance(self.temper.starts_slowly) { self.within(4_000) } else { self.within(30) };
        let started = now + takes;
        if self.chance(self.temper.fails_to_start) {
            let reason = "no such file".to_owned();
            self.send(started, Input::Started { run, result: Err(reason) });
            return;
        }
        let kind = match launch {
            Launch::Replica { service, .. } => Kind::Replica(*service),
            Launch::Gateway { .. } => Kind::Gateway,
            Launch::Part { .. } => Kind::Part,
        };
        let address = match launch {
            Launch::Part { template, .. } => Some(format!("{:?}:{:?}", template.kind, template.source)),
            Launch::Replica { .. } | Launch::Gateway { .. } => None,
        };
        self.send(started, Input::Started { run, result: Ok(Started { address, detail: String::new() }) });
        let warm_up =
            if self.chance(self.temper.starts_slowly) { self.within(9_000) } else { self.within(25) };
        let sick_from = started + self.within(10_000);
        let sick_for = if self.chance(self.temper.falls_sick) { self.within(20_000) } else { Duration::ZERO };
        let stubborn = self.chance(self.temper.ignores_sigterm);
        let ends_within = (!stubborn).then(|| self.within(6_000));
        let process = Process {
            kind,
            ready_at: started + warm_up,
            sick: (sick_from, sick_from + sick_for),
            ends_within,
            cpu: Duration::ZERO,
            packets: 0,
        };
        self.processes.insert(run, process);
        if kind == Kind::Gateway {
            let later = self.within(50);
            self.push(started + later, Message::Read(run));
        }
        if self.chance(self.temper.crashes) {
            // Some die before their start is reported.
            let after = if self.chance(300) { self.within(20) } else { self.within(15_000) };
            let exit = if self.chance(500) { Exit::Code(1) } else { Exit::Signal(11) };
            self.push(now + after, Message::Death(run, exit));
        }
    }

    fn probe(&mut self, now: Time, run: RunId, timeout: Duration) {
        let answers = self.processes.get(&run).is_some_and(|process| {
            let (from, to) = process.sick;
            process.ready_at <= now && !(from <= now && now < to)
        });
        let (later, result) = if answers {
            (self.within(8), Ok(Probed::default()))
        } else if self.chance(500) {
            (self.within(8), Err(ProbeFailure::Answered { status: 503, line: "starting".to_owned() }))
        } else {
            (timeout, Err(ProbeFailure::NoAnswer { error: "timed out".to_owned() }))
        };
        self.send(now + later, Input::Probed { run, result });
    }

    fn write(&mut self, now: Time, version: u64) {
        let later = self.within(20);
        if self.chance(self.temper.write_fails) {
            let result = Err("no space left on device".to_owned());
            self.send(now + later, Input::EndpointsWritten { version, result });
            return;
        }
        self.written = version;
        self.send(now + later, Input::EndpointsWritten { version, result: Ok(()) });
        let gateways: Vec<RunId> =
            self.processes.iter().filter(|(_, one)| one.kind == Kind::Gateway).map(|(run, _)| *run).collect();
        for run in gateways {
            let later = later + self.within(40);
            self.push(now + later, Message::Read(run));
        }
    }

    fn scrape(&mut self, now: Time) {
        let (load, random) = (self.load, &mut self.random);
        let samples = self
            .processes
            .iter_mut()
            .filter_map(|(run, process)| {
                let Kind::Replica(service) = process.kind else { return None };
                let count = random.random_range(0..=load);
                process.cpu += Duration::from_millis(random.random_range(0..1_500));
                process.packets += count;
                let is_udp = service.row().transport == Protocol::Udp;
                let usage = Usage { cpu: process.cpu, memory_bytes: 50_000_000 };
                let sample = Sample {
                    connections: (!is_udp).then_some(count),
                    packets: is_udp.then_some((now, process.packets)),
                    sessions: matches!(service.row().metric, Some(PodsMetric::Sessions | PodsMetric::Users))
                        .then_some(count),
                    usage: Some(usage),
                };
                Some((*run, sample))
            })
            .collect();
        let later = self.within(30);
        self.send(now + later, Input::Scraped { samples });
    }

    fn answer(&mut self, question: &controller::Question) -> MetricAnswer {
        let values =
            if self.chance(self.temper.write_fails) || PodsMetric::by_name(&question.metric).is_none() {
                Err("connection refused".to_owned())
            } else {
                let mut value = || self.random.random_range(0..=self.load) as i64 * 1000;
                Ok(question.replicas.iter().map(|name| (name.clone(), value())).collect())
            };
        MetricAnswer { service: question.service.clone(), metric: question.metric.clone(), values }
    }

    fn push(&mut self, at: Time, message: Message) {
        self.pushed += 1;
        // Simultaneous events happen in any order.
        let at = (at, self.random.random(), self.pushed);
        self.queue.push(Reverse(Scheduled { at, message }));
    }

    fn within(&mut self, milliseconds: u64) -> Duration {
        // Whole milliseconds, so that some events are simultaneous.
        Duration::from_millis(self.random.random_range(0..=milliseconds))
    }
}

/// Inputs that may be repeated. Scrapes and answers of Prometheus have no number that distinguishes them.
fn is_repeatable(input: &Input) -> bool {
    matches!(
        input,
        Input::Started { .. }
            | Input::Probed { .. }
            | Input::Ended { .. }
            | Input::CaughtUp { .. }
            | Input::EndpointsWritten { .. }
    )
}
