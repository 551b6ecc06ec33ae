//! Seeded random histories of a platform: a client that sends any request at any time, a world with failures, and the
//! invariants. The same seed gives the same history.

mod checks;
mod plans;
mod world;

use std::{fmt, time::Duration};

use controller::{Apply, Capacity, Controller, Effect, Header, Input, Request, RequestId, Time};
use platform::target::{Balanced, Pick, Subject, Traffic};
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;

use checks::Checks;
pub(crate) use plans::Plans;
use world::World;

/// Minimum length of a history.
const INPUTS: u64 = 200;
/// A history without failures for this long has settled: back-off ends after 5 min.
const CALM: Duration = Duration::from_mins(7);
const PARTS: [&str; 8] =
    ["kafka", "memcached", "elasticsearch", "prometheus", "redis", "etcd01", "etcd02", "cassandra"];
/// Some of the services, those with more rules more often.
const SERVICES: [&str; 8] = ["tcp", "tcp", "tcp", "udp", "logger", "ws", "stream", "profiles"];
/// One in this many histories settles before its end.
const RESTS: u64 = 128;

/// Receives every step of a history, and the start of every platform in it.
pub(crate) trait Observer {
    fn begins(&mut self, header: &Header) {
        let _ = header;
    }

    fn steps(&mut self, now: Time, input: &Input, effects: &[Effect]);
}

/// A violated invariant.
#[derive(Debug)]
pub(crate) struct Fault {
    seed: u64,
    at: Time,
    inputs: u64,
    message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, at, inputs, message } = self;
        let seconds = at.as_millis() as f64 / 1000.0;
        write!(
            formatter,
            "seed {seed}, input {inputs}, after {seconds} s: {message}\nreplay it: \
             cargo run --release -p controller --example histories -- --seed {seed} --trace"
        )
    }
}

/// Plays one history to its end; returns how many inputs it had.
pub(crate) fn play(seed: u64, plans: &Plans, mut observer: Option<&mut dyn Observer>) -> Result<u64, Fault> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut inputs = 0;
    // A platform that does not come up ends soon; then another one is brought up.
    while inputs < INPUTS {
        // `as_deref_mut` would borrow it for longer than one iteration.
        let observer = observer.as_mut().map(|observer| &mut **observer as &mut dyn Observer);
        let mut life = Life::new(&mut random, plans, inputs, observer);
        let wanted = INPUTS + life.random.random_range(0..50);
        let result = life.run(wanted, seed.is_multiple_of(RESTS));
        let (at, told) = (life.now, life.inputs);
        result.map_err(|message| Fault { seed, at, inputs: told, message })?;
        inputs = told;
    }
    Ok(inputs)
}

/// Plays one platform from its bring-up to its end.
struct Life<'a> {
    random: Pcg64Mcg,
    plans: &'a Plans,
    now: Time,
    controller: Controller,
    world: World,
    checks: Checks,
    inputs: u64,
    next_request: u64,
    /// The mean time between two requests of a client.
    pace: Duration,
    observer: Option<&'a mut dyn Observer>,
}

impl<'a> Life<'a> {
    fn new(
        random: &mut Pcg64Mcg,
        plans: &'a Plans,
        inputs: u64,
        mut observer: Option<&'a mut dyn Observer>,
    ) -> Self {
        let few = random.random_range(0..10) == 0;
        let capacity =
            Capacity { ordinals: if few { 8 } else { 254 }, replicas: if few { 4 } else { 200 }, nodes: 3 };
        let began = "2026-11-28T06:00:00Z".parse().expect("a time stamp");
        let (platform, target) = ("playground".to_owned(), "this machine".to_owned());
        let header = Header { platform, target, began, capacity };
        if let Some(observer) = &mut observer {
            observer.begins(&header);
        }
        let world = World::new(random);
        Self {
            random: Pcg64Mcg::seed_from_u64(random.random()),
            plans,
            now: Time::ZERO,
            controller: header.controller(),
            world,
            checks: Checks::new(capacity),
            inputs,
            next_request: 0,
            pace: Duration::from_millis([20, 200, 1_000, 4_000][random.random_range(0..4)]),
            observer,
        }
    }

    fn run(&mut self, wanted: u64, rests: bool) -> Result<(), String> {
        let apply = self.apply(false);
        self.ask(apply)?;
        while self.inputs < wanted && !self.checks.is_stopping() {
            let pause = self.pace.mul_f64(self.random.random_range(0.0..2.0));
            self.pass(self.now + pause)?;
            self.act()?;
        }
        if rests && !self.checks.is_stopping() {
            self.world.calm_down(self.now);
            self.world.set_load(0);
            let apply = self.apply(false);
            self.ask(apply)?;
            self.pass(self.now + CALM)?;
            self.checks.converged(&self.controller)?;
        }
        self.end()
    }

    /// Lets time pass until then.
    fn pass(&mut self, until: Time) -> Result<(), String> {
        while !self.checks.finished {
            let due = self.controller.next_due().map(|at| at.max(self.now));
            let Some(next) = [due, self.world.next_at()].into_iter().flatten().min() else { break };
            if next > until {
                break;
            }
            if self.world.next_at() == Some(next) {
                self.now = next;
                if let Some(input) = self.world.next() {
                    self.step(input)?;
                }
                continue;
            }
            // Wake-ups are late.
            let late = Duration::from_micros(self.random.random_range(0..2_000));
            let world = self.world.next_at().unwrap_or(next + late);
            self.now = (next + late).min(world).max(self.now);
            self.step(Input::Tick)?;
        }
        self.now = self.now.max(until);
        Ok(())
    }

    fn step(&mut self, input: Input) -> Result<(), String> {
        self.inputs += 1;
        self.checks.note(self.now, &input);
        let effects = match &mut self.observer {
            None => self.controller.step(self.now, input),
            Some(observer) => {
                let effects = self.controller.step(self.now, input.clone());
                observer.steps(self.now, &input, &effects);
                effects
            }
        };
        self.checks.look(self.now, &effects, &self.controller)?;
        for effect in &effects {
            self.world.carry_out(self.now, effect);
        }
        Ok(())
    }

    fn ask(&mut self, request: Request) -> Result<(), String> {
        self.next_request += 1;
        self.step(Input::Request { id: RequestId(self.next_request), request })
    }

    fn act(&mut self) -> Result<(), String> {
        let service = SERVICES[self.random.random_range(0..SERVICES.len())];
        let loads = if self.random.random() { self.world.loads() } else { Vec::new() };
        let request = match self.random.random_range(0..122) {
            0..20 => self.apply(true),
            20..40 => {
                Request::Scale { service: service.to_owned(), replicas: self.random.random_range(0..6) }
            }
            40..55 => Request::Kill { what: self.one_of(service), restart: self.random.random(), loads },
            55..65 => Request::Drain { what: self.one_of(service), loads },
            65..72 => Request::Stop { what: self.whole(service) },
            72..85 => Request::Start { what: self.whole(service) },
            85..97 => {
                let load = self.random.random_range(0..20_000);
                self.world.set_load(load);
                return Ok(());
            }
            100..107 => {
                let traffic = if self.random.random() { Traffic::Active } else { Traffic::Inactive };
                Request::SetTraffic {
                    service: service.to_owned(),
                    replica: self.replica_of(service),
                    traffic,
                }
            }
            107..112 => {
                let cost = self.random.random_range(-2..3);
                Request::SetDeletionCost {
                    service: service.to_owned(),
                    replica: self.replica_of(service),
                    cost,
                }
            }
            112..122 => Request::Balanced { service: service.to_owned(), balanced: self.decision(service) },
            97 if self.random.random() => Request::Teardown { grace: self.random.random() },
            98 if self.random.random() => return self.step(Input::Abandoned),
            99 if self.random.random() => return self.step(Input::Interrupted),
            _ => Request::Scale { service: "tpc".to_owned(), replicas: 1 },
        };
        self.ask(request)
    }

    fn apply(&mut self, may_fail: bool) -> Request {
        let number = self.random.random_range(0..self.plans.count());
        let obstacle = may_fail && self.random.random_range(0..20) == 0;
        Request::Apply(Box::new(Apply {
            values: self.plans.values(number),
            nodes: self.random.random_range(1..=if may_fail { 4 } else { 3 }),
            programs: plans::programs(self.random.random_range(0..2)),
            obstacle: obstacle.then(|| "port 10000 is taken".to_owned()),
        }))
    }

    /// A balancer's decision, which sometimes is too long.
    fn decision(&mut self, service: &str) -> Balanced {
        let orders = if self.random.random_range(0..8) == 0 { 60..70 } else { 0..4 };
        let orders = (0..self.random.random_range(orders))
            .map(|_| match self.random.random_range(0..3) {
                0 => format!("{} sheds 3", self.replica_of(service)),
                _ => format!("{} → {}", self.random.random_range(0..6), self.random.random_range(0..6)),
            })
            .collect();
        let reason = "7 ".repeat(self.random.random_range(0..600));
        Balanced { orders, reason }
    }

    fn replica_of(&mut self, service: &str) -> String {
        format!("{service}-{}", self.random.random_range(0..6))
    }

    /// One replica of a service, a gateway, or a part.
    fn one_of(&mut self, service: &str) -> Subject {
        let name = match self.random.random_range(0..10) {
            0 => return Subject::replica("gateway", &format!("node-{}", self.random.random_range(0..3))),
            1 => return Subject::whole(self.part()),
            _ => service.to_owned(),
        };
        let replica = match self.random.random_range(0..5) {
            0 => Pick::Unnamed,
            1 => Pick::Fullest,
            2 => Pick::Emptiest,
            _ => Pick::Named(self.replica_of(service)),
        };
        Subject { name, replica }
    }

    fn whole(&mut self, service: &str) -> Subject {
        match self.random.random_range(0..3) {
            0 => Subject::whole(service),
            1 => self.one_of(service),
            _ => Subject::whole(self.part()),
        }
    }

    fn part(&mut self) -> &'static str {
        PARTS[self.random.random_range(0..PARTS.len())]
    }

    /// Takes it down in one of several ways, and continues with requests and inputs after its end.
    fn end(&mut self) -> Result<(), String> {
        match self.random.random_range(0..4) {
            0 => self.step(Input::Interrupted)?,
            1 => self.ask(Request::Teardown { grace: false })?,
            _ => self.ask(Request::Teardown { grace: true })?,
        }
        if self.random.random_range(0..3) == 0 {
            let pause = Duration::from_millis(self.random.random_range(0..5_000));
            self.pass(self.now + pause)?;
            let grace = self.random.random();
            self.ask(Request::Teardown { grace })?;
        }
        self.pass(self.now + Duration::from_secs(100))?;
        self.act()?;
        // Late messages change nothing.
        while let Some(at) = self.world.next_at() {
            self.now = self.now.max(at);
            if let Some(input) = self.world.next() {
                self.step(input)?;
            }
        }
        self.checks.end()
    }
}
