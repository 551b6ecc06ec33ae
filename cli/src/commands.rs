//! The commands, one file each: its arguments and what it does with the engines.

#[cfg(not(feature = "local"))]
pub(crate) mod absent;
pub(crate) mod argocd;
pub(crate) mod completion;
#[cfg(feature = "local")]
pub(crate) mod dashboard;
#[cfg(feature = "local")]
pub(crate) mod demo;
pub(crate) mod diagnose;
pub(crate) mod doctor;
pub(crate) mod down;
pub(crate) mod explain;
pub(crate) mod image;
pub(crate) mod kill;
pub(crate) mod load;
#[cfg(feature = "local")]
pub(crate) mod load_worker;
pub(crate) mod logs;
pub(crate) mod minikube;
pub(crate) mod node;
pub(crate) mod report;
#[cfg(feature = "local")]
pub(crate) mod run_child;
pub(crate) mod scale;
#[cfg(feature = "local")]
pub(crate) mod serve;
pub(crate) mod status;
pub(crate) mod stop;
#[cfg(feature = "local")]
pub(crate) mod supervisor;
pub(crate) mod up;
pub(crate) mod watch;

use std::{
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::CommandFactory as _;
use platform::exit;

use crate::{
    args::{Cli, Command, UsageError},
    context::Context,
    failure::{Failure, Outcome},
    interrupt::Interrupt,
    options::{Output, TargetKind},
    printer::Printer,
    results,
};

/// Ends an invocation without a command to run: prints the help, or the usage error.
pub(crate) fn misused(usage: &UsageError) -> ExitCode {
    if usage.is_answer() {
        let text = usage.text(std::io::stdout().is_terminal());
        return match std::io::stdout().lock().write_all(text.as_bytes()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                let _ = writeln!(std::io::stderr().lock(), "playctl: could not write the help: {error}");
                exit::FAILED.into()
            }
            _ => exit::DONE.into(),
        };
    }
    // If stderr is gone too, there is nowhere to report it.
    let _ = write!(std::io::stderr().lock(), "{}", usage.text(std::io::stderr().is_terminal()));
    if usage.wants != Output::Human {
        let text = usage.text(false);
        let message = text.strip_prefix("error: ").unwrap_or(&text);
        let message = message.split("\n\nUsage:").next().unwrap_or(message).trim();
        if let Ok(line) = serde_json::to_string(&results::Failure::of_usage(message)) {
            let _ = writeln!(std::io::stdout().lock(), "{line}");
        }
    }
    exit::USAGE.into()
}

/// Runs the command and turns its outcome into an exit code.
pub(crate) fn run(cli: Cli) -> ExitCode {
    let Cli { mut global, command } = cli;
    // It always acts on a cluster.
    if matches!(command, Command::Argocd(_)) && global.target == TargetKind::Local {
        global.target = TargetKind::Cluster;
    }
    // These run as long as their process and handle signals themselves.
    let command = match command {
        #[cfg(feature = "local")]
        Command::Serve(args) => return conclude(&Printer::new(&global), serve::run(args)),
        #[cfg(feature = "local")]
        Command::Supervisor(args) => return conclude(&Printer::new(&global), supervisor::run(&args)),
        #[cfg(feature = "local")]
        Command::RunChild(args) => return conclude(&Printer::new(&global), run_child::run(args)),
        #[cfg(feature = "local")]
        Command::LoadWorker(args) => return conclude(&Printer::new(&global), load_worker::run(&args)),
        Command::Completion(args) => {
            return conclude(&Printer::new(&global), completion::run(&args, Cli::command()));
        }
        other => other,
    };
    let printer = Printer::new(&global);
    let interrupt = match Interrupt::install() {
        Ok(interrupt) => interrupt,
        Err(error) => {
            return conclude(&printer, Err(Failure::failed(format!("could not take signals: {error}"))));
        }
    };
    let context = Context { global, printer, interrupt };
    let outcome = match command {
        #[cfg(not(feature = "local"))]
        Command::Demo(_) | Command::Dashboard(_) | Command::Serve(_) => absent::outcome(),
        #[cfg(feature = "local")]
        Command::Demo(args) => demo::run(&context, args),
        Command::Up(args) => up::run(&context, &args),
        Command::Down(args) => down::run(&context, &args),
        Command::Status(args) => status::run(&context, &args),
        Command::Load(args) => load::run(&context, args),
        Command::Watch(args) => watch::run(&context, &args),
        Command::Report(args) => report::run(&context, &args),
        #[cfg(feature = "local")]
        Command::Dashboard(args) => dashboard::run(&context, &args),
        Command::Scale(args) => scale::run(&context, &args),
        Command::Kill(args) => kill::run(&context, &args),
        Command::Stop(args) => stop::stop(&context, &args),
        Command::Start(args) => stop::start(&context, &args),
        Command::Drain(args) => stop::drain(&context, &args),
        Command::Logs(args) => logs::run(&context, &args),
        Command::Doctor(args) => Ok(doctor::run(&context, &args)),
        Command::Explain(args) => explain::run(&context, &args),
        Command::Diagnose(args) => diagnose::run(&context, &args),
        Command::Node(args) => node::run(&context, &args),
        Command::Image(args) => image::run(&context, &args),
        Command::Keep(args) => minikube::keep(&context, &args),
        Command::Argocd(args) => argocd::run(&context, &args),
        #[cfg(feature = "local")]
        Command::Serve(_) | Command::Supervisor(_) | Command::RunChild(_) | Command::LoadWorker(_) => {
            Ok(exit::DONE)
        }
        Command::Completion(_) => Ok(exit::DONE),
    };
    context.printer.progress().clear();
    conclude(&context.printer, outcome)
}

fn conclude(printer: &Printer, outcome: Outcome) -> ExitCode {
    let outcome = match printer.lost() {
        // An unreadable result is a failure, whatever it says; and a command that ended because of it was not
        // interrupted.
        Some(error) if !outcome.as_ref().is_err_and(|failure| failure.code != exit::INTERRUPTED) => {
            Err(Failure::failed(format!("could not write to standard output: {error}")))
        }
        _ => outcome,
    };
    match outcome {
        Ok(code) => code.into(),
        Err(failure) => {
            if !failure.is_told {
                printer.failure(&results::Failure::new(&failure, printer));
            }
            printer.error(&format!("playctl: {}", failure.message));
            failure.code.into()
        }
    }
}
