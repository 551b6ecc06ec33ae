//! Side-by-side measurements of everything here that carries connections, and of the autoscaler's engine.
//!
//! One *work* ([`work`]) is one row of the table: a load, the contestants that take it in turn, what is measured
//! and the goal. Contestants are separate processes ([`contestant`]); the load comes from this process ([`traffic`]),
//! with the same code for all of them. Nothing is compared across runs: a ratio compares two contestants that
//! alternated within one run, so that a slow or busy machine slows both.
//!
//! The measure is work per CPU-second of the contestant, read from the kernel ([`measure`]), not work per second: on a
//! small machine the load shares the CPUs with what it loads.

mod args;
mod cassandra;
mod contestant;
mod document;
mod figures;
mod install;
mod loopback;
mod machine;
mod measure;
mod playctl;
mod poll;
mod printer;
mod process;
mod reference;
mod results;
mod run;
mod stats;
mod strace;
mod traffic;
mod work;

use std::process::ExitCode;

fn main() -> ExitCode {
    match args::parse().and_then(run::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            printer::note(&format!("bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
