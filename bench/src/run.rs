//! Carries out the command line.

use std::{collections::BTreeMap, io, net::TcpListener, time::Duration};

use anyhow::{Context, Result};

use crate::{
    args::{Output, Plan, Request},
    contestant::{Contestant, Programs},
    document::{self, table},
    loopback,
    machine::Machine,
    measure, printer, reference,
    results::{Outcome, Results, Row},
    strace,
    work::{self, Work},
};

pub(crate) fn run(request: Request) -> Result<()> {
    match request {
        Request::Reference(program) => reference::run(program),
        Request::List => {
            for work in work::all() {
                printer::result(&format!("{:20} {}", work.name, work.about))?;
            }
            printer::result(&format!("{:20} {}", strace::NAME, strace::ABOUT))?;
            Ok(())
        }
        Request::Document => document::rewrite(),
        Request::Measure(plan) => measure_rows(&plan),
    }
}

fn measure_rows(plan: &Plan) -> Result<()> {
    let _alone = turn_on_this_machine()?;
    let programs = Programs::new(plan.build);
    let mut results = Results { machine: Machine::this(), rows: Vec::new(), system_calls: Vec::new() };
    for work in &plan.works {
        let row = measure_row(work, plan, &programs).with_context(|| work.name)?;
        if plan.output == Output::Human {
            printer::result(&table::row_in_words(&row))?;
        }
        results.rows.push(row);
    }
    if plan.system_calls {
        results.system_calls = strace::count_all(&programs)?;
        if plan.output == Output::Human {
            printer::result(&table::system_calls(&results.system_calls))?;
        }
    }
    if plan.output == Output::Json {
        printer::result(&serde_json::to_string_pretty(&results)?)?;
    }
    if plan.is_full() {
        document::update(results)
    } else {
        printer::note("fewer than 5 rounds or less than 10 s: docs/performance.md is left as it is");
        Ok(())
    }
}

/// Waits until no other bench runs on this machine: two would measure each other. The listener is the lock; the kernel
/// releases it when its owner ends.
fn turn_on_this_machine() -> Result<TcpListener> {
    let address = loopback::address(255, 254, 9);
    let mut said = false;
    loop {
        match TcpListener::bind(address) {
            Ok(lock) => return Ok(lock),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if !said {
                    printer::note("another bench runs on this machine; waiting for its end");
                    said = true;
                }
                measure::wait(Duration::from_millis(200));
            }
            Err(error) => return Err(error).with_context(|| format!("cannot listen at {address}")),
        }
    }
}

/// All rounds of a row. Contestants alternate, and each round starts with a different one, so that no contestant always
/// follows the same one.
fn measure_row(work: &Work, plan: &Plan, programs: &Programs) -> Result<Row> {
    let count = work.contestants.len();
    // By figure, then by contestant, then by round.
    let mut samples: Vec<Vec<(Contestant, Vec<f64>)>> = (work.figures.iter())
        .map(|_| work.contestants.iter().map(|&contestant| (contestant, Vec::new())).collect())
        .collect();
    let rounds = if work.once { 1 } else { plan.rounds };
    for round in 0..rounds {
        for turn in 0..count {
            let index = (turn + round as usize) % count;
            let contestant = work.contestants[index];
            let values = (work.turn)(programs, contestant, plan.length)
                .with_context(|| format!("{} in round {}", contestant.name(), round + 1))?;
            let words: Vec<_> = (work.figures.iter().zip(&values))
                .map(|(figure, &value)| format!("{} {}", figure.title, figure.unit.format(value)))
                .collect();
            printer::note(&format!(
                "{} {}/{} {}: {}",
                work.name,
                round + 1,
                rounds,
                contestant.name(),
                words.join(", ")
            ));
            for (figure, value) in samples.iter_mut().zip(values) {
                figure[index].1.push(value);
            }
        }
    }
    let figures = (work.figures.iter().zip(&samples))
        .map(|(figure, samples)| Outcome::new(figure, samples))
        .collect::<Result<_>>()?;
    Ok(Row {
        name: work.name.to_owned(),
        about: work.about.clone(),
        taken: clock::wall().strftime("%Y-%m-%d %H:%M").to_string(),
        machine: None,
        rounds,
        seconds: plan.length.as_secs(),
        versions: versions(work, programs),
        figures,
    })
}

fn versions(work: &Work, programs: &Programs) -> BTreeMap<String, String> {
    let versions = programs.versions().into_iter();
    versions
        .filter(|(contestant, _)| work.contestants.contains(contestant))
        .map(|(contestant, version)| (contestant.name().to_owned(), version))
        .collect()
}
