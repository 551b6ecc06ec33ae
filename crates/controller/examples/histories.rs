//! Plays random histories until one breaks a rule:
//! `cargo run --release -p controller --example histories -- --seeds 10000 [--from N] [--seconds S]`,
//! and shows one of them: `--seed N [--trace]`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

#[path = "../tests/histories/mod.rs"]
mod histories;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use histories::{Plans, play};

const USAGE: &str = "usage: histories [--seeds N] [--from N] [--seconds S] | --seed N [--trace]";

struct Arguments {
    from: u64,
    seeds: u64,
    seconds: Option<u64>,
    trace: bool,
}

fn arguments() -> Result<Arguments, String> {
    let mut arguments = Arguments { from: 0, seeds: 10_000, seconds: None, trace: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || {
            let value =
                words.next().ok_or_else(|| format!("{word}: expected a number behind it; {USAGE}"))?;
            value.parse::<u64>().map_err(|_| format!("{word} {value}: expected a number; {USAGE}"))
        };
        match word.as_str() {
            "--seeds" => arguments.seeds = number()?,
            "--from" => arguments.from = number()?,
            "--seconds" => arguments.seconds = Some(number()?),
            "--seed" => (arguments.from, arguments.seeds) = (number()?, 1),
            "--trace" => arguments.trace = true,
            _ => return Err(format!("{word}: unknown; {USAGE}")),
        }
    }
    Ok(arguments)
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let (plans, began, mut inputs, mut played) = (Plans::new(), Instant::now(), 0, 0);
    for seed in arguments.from..arguments.from.saturating_add(arguments.seeds) {
        if arguments.seconds.is_some_and(|most| began.elapsed() >= Duration::from_secs(most)) {
            break;
        }
        let result = play(seed, &plans, &mut |now, input, effects| {
            if arguments.trace {
                println!("{:>10.3} s  {input:?}", now.as_millis() as f64 / 1000.0);
                for effect in effects {
                    println!("              → {effect:?}");
                }
            }
        });
        match result {
            Ok(told) => (inputs, played) = (inputs + told, played + 1),
            Err(fault) => {
                eprintln!("{fault}");
                return ExitCode::FAILURE;
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{played} histories with {inputs} inputs in {seconds:.1} s: {:.0} histories/s, {:.0} inputs/s",
        played as f64 / seconds,
        inputs as f64 / seconds
    );
    ExitCode::SUCCESS
}
