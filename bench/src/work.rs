//! The rows of the table.

mod broadcast;
mod gateway;
mod gateway_idle;
mod histories;
mod kafka;
mod load;
mod load_many;
mod never_reading;
mod profiles;
mod slow_reader;
mod steps;
mod streams;
mod tcp;
mod tcp_drain;
mod tcp_idle;
mod udp;
mod ws;

use std::{
    any::Any,
    cell::RefCell,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{
    contestant::{Contestant, Programs},
    figures::Figure,
    measure,
    process::Dialogue,
    traffic::Traffic,
};

/// One row: a load that contestants take in turn.
pub(crate) struct Work {
    pub(crate) name: &'static str,
    /// A description for the document.
    pub(crate) about: String,
    pub(crate) contestants: Vec<Contestant>,
    /// Shows that something works and what it costs; more rounds would add nothing.
    pub(crate) once: bool,
    pub(crate) figures: Vec<Figure>,
    /// Starts the contestant, puts it under load, and gives one value for each figure.
    pub(crate) turn: Turn,
}

pub(crate) type Turn = Box<dyn Fn(&Programs, Contestant, Duration) -> Result<Vec<f64>>>;

/// All rows, in the order of the table.
pub(crate) fn all() -> Vec<Work> {
    vec![
        tcp_idle::work(),
        tcp::ping_pong(1),
        tcp::ping_pong(2),
        tcp::trickle(),
        tcp::aborts(),
        tcp_drain::work(),
        broadcast::work(),
        slow_reader::work(),
        never_reading::direct(),
        gateway::ping_pong(1),
        gateway::ping_pong(2),
        gateway::connects(1),
        gateway::connects(2),
        gateway::aborts(),
        gateway::blocks(),
        gateway::stream(),
        gateway_idle::work(),
        never_reading::through_gateway(),
        ws::idle(),
        ws::ping_pong(),
        streams::bytes(),
        streams::memory(),
        udp::echo(),
        udp::through_gateway(udp::FEW),
        udp::through_gateway(udp::MANY),
        load::work(),
        load_many::direct(),
        load_many::through_gateways(),
        steps::work(),
        histories::work(),
        // Last: the Cassandra that they start runs until the end.
        profiles::get(),
        profiles::get_many(),
        profiles::list(),
    ]
}

/// A contestant under load, or one that generates the load.
pub(crate) struct Scene {
    // Ends before the contestant does: fields are dropped in order.
    progress: Progress,
    /// The contestant's process.
    pub(crate) process: u32,
    /// Resources that must live as long.
    _props: Box<dyn Any>,
}

/// Counts the work done.
enum Progress {
    Counted(Traffic),
    /// The contestant generates the load and counts itself.
    Asked(RefCell<Dialogue>),
    /// The contestant generates the load, and its schedule determines the count.
    Scheduled {
        since: Instant,
        per_second: f64,
    },
}

impl Scene {
    fn new(traffic: Traffic, process: u32, props: impl Any) -> Self {
        Self { progress: Progress::Counted(traffic), process, _props: Box::new(props) }
    }

    /// Each line that the contestant prints on request is its count so far.
    fn asked(dialogue: Dialogue, process: u32, props: impl Any) -> Self {
        Self { progress: Progress::Asked(RefCell::new(dialogue)), process, _props: Box::new(props) }
    }

    /// From now on this much is done each second.
    fn scheduled(per_second: f64, process: u32, props: impl Any) -> Self {
        let progress = Progress::Scheduled { since: clock::now(), per_second };
        Self { progress, process, _props: Box::new(props) }
    }

    /// Messages, connections or bytes so far; fails if the load has.
    pub(crate) fn units(&self) -> Result<f64> {
        match &self.progress {
            Progress::Counted(traffic) => {
                traffic.check()?;
                Ok(traffic.units() as f64)
            }
            Progress::Asked(dialogue) => {
                let told = dialogue.borrow_mut().ask("")?;
                told.parse().with_context(|| format!("a contestant says {told:?}, which is not a number"))
            }
            Progress::Scheduled { since, per_second } => Ok(since.elapsed().as_secs_f64() * per_second),
        }
    }

    /// Lets it warm up and measures it.
    fn window(&self, length: Duration) -> Result<Window> {
        measure::wait(WARM_UP);
        let (cpu, units) = (measure::cpu_time(self.process)?, self.units()?);
        measure::wait(length);
        let units = self.units()? - units;
        Ok(Window { units, cpu: measure::cpu_time(self.process)?.saturating_sub(cpu) })
    }
}

/// The difference between two readings.
#[derive(Debug, Clone, Copy)]
struct Window {
    /// Messages, connections or bytes, whatever the traffic counts.
    units: f64,
    /// CPU time of the contestant's process, all threads, user and system.
    cpu: Duration,
}

impl Window {
    fn units_per_cpu_second(&self) -> f64 {
        self.units / self.cpu.as_secs_f64()
    }

    fn cpu_seconds_per_unit(&self) -> f64 {
        self.cpu.as_secs_f64() / self.units
    }
}

/// A load under which system calls are counted.
pub(crate) struct Traced {
    /// The name of the row.
    pub(crate) name: &'static str,
    pub(crate) contestants: Vec<Contestant>,
    pub(crate) unit: &'static str,
    /// How many counted units make one unit here.
    pub(crate) per: f64,
    pub(crate) scene: SceneOf,
}

type SceneOf = Box<dyn Fn(&Programs, Contestant) -> Result<Scene>>;

/// The loads under which system calls are counted.
pub(crate) fn traced() -> Vec<Traced> {
    let mut all = vec![tcp::traced()];
    all.extend(gateway::traced());
    all.extend(udp::traced());
    all.push(load::traced());
    all
}

/// How long traffic flows before it is measured: branch predictors, allocator and socket buffers settle.
const WARM_UP: Duration = Duration::from_secs(1);

/// `name` for one thread, `name-2` for two.
const fn by_threads(threads: usize, one: &'static str, two: &'static str) -> &'static str {
    if threads == 1 { one } else { two }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn rows_are_complete() {
        let works = all();
        let names: BTreeSet<_> = works.iter().map(|work| work.name).collect();
        assert_eq!(names.len(), works.len(), "two rows have the same name");
        for work in &works {
            assert!(work.contestants.contains(&Contestant::Playctl), "{}: nobody to measure", work.name);
            for goal in work.figures.iter().flat_map(|figure| &figure.goals) {
                let against = goal.against();
                assert!(
                    against.is_none_or(|other| work.contestants.contains(&other)),
                    "{}: the goal is relative to a contestant that does not take part",
                    work.name
                );
            }
        }
    }
}
