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
#[cfg(feature = "local")]
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

use platform::{TargetError, exit};

use crate::{
    args::{Cli, Command, Global, Output, TargetKind, UsageError},
    interrupt::Interrupt,
    printer::Printer,
    results,
};

/// What every command gets.
pub(crate) struct Context {
    pub global: Global,
    pub printer: Printer,
    pub interrupt: Interrupt,
}

impl Context {
    /// The outcome of a command that runs until nobody wants it any more.
    pub(crate) fn ended(&self) -> Outcome {
        if self.interrupt.is_set() { Err(Failure::interrupted()) } else { Ok(exit::DONE) }
    }
}

/// Why a command failed, with its exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub code: u8,
    /// For programs: what kind of failure it is.
    pub kind: String,
    pub message: String,
    /// Whether the same command may succeed later without anybody changing anything.
    pub retry: bool,
}

/// `Ok` carries the exit code, since an unmet expectation is a result and not an error.
pub(crate) type Outcome = Result<u8, Failure>;

impl Failure {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        let kind = match code {
            exit::USAGE => "usage",
            exit::EXPECTATION_NOT_MET => "expectation_not_met",
            exit::BRING_UP_FAILED => "bring_up",
            exit::TEARDOWN_LEFT_SOMETHING => "teardown_left",
            exit::INTERRUPTED => "interrupted",
            _ => "failed",
        };
        Self { code, kind: kind.to_owned(), message: message.into(), retry: false }
    }

    /// A wrong command line, setting or file.
    pub(crate) fn usage(message: impl std::fmt::Display) -> Self {
        Self::new(exit::USAGE, message.to_string())
    }

    pub(crate) fn failed(message: impl std::fmt::Display) -> Self {
        Self::new(exit::FAILED, message.to_string())
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(exit::INTERRUPTED, "interrupted")
    }
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Self {
        let failure = Self { retry: error.is_temporary(), ..Self::new(error.exit_code(), error.to_string()) };
        // The error's own tag says more than the exit code, except where it says nothing.
        match serde_json::to_value(&error)
            .ok()
            .and_then(|error| Some(error.get("kind")?.as_str()?.to_owned()))
        {
            Some(kind) if !matches!(error, TargetError::Other { .. }) => Self { kind, ..failure },
            _ => failure,
        }
    }
}

/// A command line that says nothing that can be done.
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
    // Nobody is left to tell when stderr is gone too.
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
    // It is about a cluster, whatever else is.
    if matches!(command, Command::Argocd(_)) && global.target == TargetKind::Local {
        global.target = TargetKind::Cluster;
    }
    // These run for as long as their process lives and take signals themselves.
    let command = match command {
        #[cfg(feature = "local")]
        Command::Serve(args) => return conclude(&Printer::new(&global), serve::run(args)),
        #[cfg(feature = "local")]
        Command::Supervisor(args) => return conclude(&Printer::new(&global), supervisor::run(&args)),
        #[cfg(feature = "local")]
        Command::RunChild(args) => return conclude(&Printer::new(&global), run_child::run(args)),
        #[cfg(feature = "local")]
        Command::LoadWorker(args) => return conclude(&Printer::new(&global), load_worker::run(&args)),
        Command::Completion(args) => return conclude(&Printer::new(&global), completion::run(&args)),
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
        Command::Demo(_) | Command::Load(_) | Command::Dashboard(_) | Command::Serve(_) => absent::outcome(),
        #[cfg(feature = "local")]
        Command::Demo(args) => demo::run(&context, args),
        Command::Up(args) => up::run(&context, &args),
        Command::Down(args) => down::run(&context, &args),
        Command::Status(args) => status::run(&context, &args),
        #[cfg(feature = "local")]
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
        // A result that nobody can read is none, whatever it says; and what was broken off because of that was not
        // interrupted.
        Some(error) if !outcome.as_ref().is_err_and(|failure| failure.code != exit::INTERRUPTED) => {
            Err(Failure::failed(format!("could not write to standard output: {error}")))
        }
        _ => outcome,
    };
    match outcome {
        Ok(code) => code.into(),
        Err(failure) => {
            // Only the user interrupts, who needs no document to know it.
            if failure.code != exit::INTERRUPTED {
                printer.failure(&results::Failure::new(&failure, printer));
            }
            printer.error(&format!("playctl: {}", failure.message));
            failure.code.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_learns_what_kind_of_failure_it_is_and_whether_to_try_again() {
        let message = || "words".to_owned();
        for (error, kind, retry) in [
            (TargetError::Other { message: message() }, "failed", false),
            (TargetError::Temporary { message: message() }, "temporary", true),
            (TargetError::NoAnswer { message: message() }, "no_answer", true),
            (TargetError::NotRunning { platform: message() }, "not_running", false),
            (TargetError::Invalid { message: message() }, "invalid", false),
        ] {
            let failure = Failure::from(error);
            assert_eq!((failure.kind.as_str(), failure.retry), (kind, retry));
        }
    }
}
