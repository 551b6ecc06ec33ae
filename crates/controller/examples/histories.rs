//! Plays random histories until one breaks a rule:
//! `cargo run --release -p controller --example histories -- --seeds 10000 [--from N] [--seconds S]`;
//! shows one of them with `--seed N --trace`, or records its last platform with `--seed N --record FILE.jsonl.gz`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

#[path = "../tests/histories/mod.rs"]
mod histories;

use std::{
    fs::File,
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use controller::{Effect, Header, Input, Recording, Time};
use flate2::{Compression, write::GzEncoder};
use histories::{Observer, Plans, play};
use rustix::time::{ClockId, clock_gettime};

const USAGE: &str =
    "usage: histories [--seeds N] [--from N] [--seconds S] | --seed N [--trace | --record FILE.jsonl.gz]";

struct Arguments {
    from: u64,
    seeds: u64,
    seconds: Option<u64>,
    trace: bool,
    record: Option<String>,
}

fn arguments() -> Result<Arguments, String> {
    let mut arguments = Arguments { from: 0, seeds: 10_000, seconds: None, trace: false, record: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word}: expected a value behind it; {USAGE}"));
        let number = |value: String| {
            value.parse::<u64>().map_err(|_| format!("{word} {value}: expected a number; {USAGE}"))
        };
        match word.as_str() {
            "--seeds" => arguments.seeds = number(value()?)?,
            "--from" => arguments.from = number(value()?)?,
            "--seconds" => arguments.seconds = Some(number(value()?)?),
            "--seed" => (arguments.from, arguments.seeds) = (number(value()?)?, 1),
            "--trace" => arguments.trace = true,
            "--record" => arguments.record = Some(value()?),
            _ => return Err(format!("{word}: unknown; {USAGE}")),
        }
    }
    Ok(arguments)
}

/// Prints every step.
struct Trace;

impl Observer for Trace {
    fn steps(&mut self, now: Time, input: &Input, effects: &[Effect]) {
        println!("{:>10.3} s  {input:?}", now.as_millis() as f64 / 1000.0);
        for effect in effects {
            println!("              → {effect:?}");
        }
    }
}

/// Keeps the lines of a recording.
#[derive(Default)]
struct Recorder {
    lines: Vec<String>,
}

impl Observer for Recorder {
    fn begins(&mut self, header: &Header) {
        self.lines = vec![header.line().expect("a header is plain JSON")];
    }

    fn steps(&mut self, now: Time, input: &Input, effects: &[Effect]) {
        let line = Recording::begin(now, input).and_then(|recording| recording.end(effects));
        self.lines.push(line.expect("an input is plain JSON"));
    }
}

fn write(path: &str, lines: &[String]) -> io::Result<()> {
    let mut file = GzEncoder::new(File::create(path)?, Compression::best());
    for line in lines {
        writeln!(file, "{line}")?;
    }
    file.finish().map(drop)
}

/// CPU time of this program, so that other programs on the machine do not count.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let (mut trace, mut recorder) = (Trace, Recorder::default());
    let plans = Plans::new();
    let (began, cpu_before, mut inputs, mut played) = (clock::now(), cpu_seconds(), 0, 0_u64);
    for seed in arguments.from..arguments.from.saturating_add(arguments.seeds) {
        if arguments.seconds.is_some_and(|most| began.elapsed() >= Duration::from_secs(most)) {
            break;
        }
        let observer: Option<&mut dyn Observer> = match (arguments.trace, &arguments.record) {
            (true, _) => Some(&mut trace),
            (false, Some(_)) => Some(&mut recorder),
            (false, None) => None,
        };
        match play(seed, &plans, observer) {
            Ok(told) => (inputs, played) = (inputs + told, played + 1),
            Err(fault) => {
                eprintln!("{fault}");
                return ExitCode::FAILURE;
            }
        }
    }
    if let Some(path) = &arguments.record {
        if let Err(error) = write(path, &recorder.lines) {
            eprintln!("{path}: {error}");
            return ExitCode::FAILURE;
        }
        println!("{path}: {} lines", recorder.lines.len());
    }
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu_before);
    println!(
        "{played} histories with {inputs} inputs in {seconds:.1} s ({cpu:.1} s of CPU): {:.0} histories/s of one core",
        played as f64 / cpu,
    );
    ExitCode::SUCCESS
}
