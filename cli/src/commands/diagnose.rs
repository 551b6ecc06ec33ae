//! `playctl diagnose`

use std::{
    io,
    path::{Path, PathBuf},
    sync::mpsc,
    time::Duration,
};

use cluster::install::{Archive, Diagnosed, Redactor};
use platform::{
    Target, TargetError, exit,
    target::{EventsFrom, LogQuery},
};

use crate::{
    context::Context,
    failure::{Failure, Outcome},
    installing,
    options::TargetKind,
    platform_source,
};

/// Maximum number of log lines of a platform on this machine.
const LINES: usize = 20_000;
/// Maximum number of its events.
const EVENTS: usize = 100_000;
/// What was left out comes with the most important first; the archive has all of it.
const LEFT_OUT_SHOWN: usize = 5;
/// After this long without an event, all recorded ones have arrived.
const SILENCE: Duration = Duration::from_millis(500);

/// Collect a support bundle, without secrets
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl diagnose -o bundle.tar.gz
  playctl diagnose --target cluster -n chat -o bundle.tar.gz

Versions, objects, events, logs and the release's values. Secrets are never in
it; variables, annotations and log lines that look like one are blanked out.
Review it before you share it.")]
pub(crate) struct Args {
    /// The file to write
    #[arg(long = "output-file", short = 'o', value_name = "FILE.tar.gz")]
    file: PathBuf,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let version = env!("CARGO_PKG_VERSION");
    let diagnosed = match context.global.target {
        TargetKind::Cluster | TargetKind::Minikube => {
            installing::connect(context)?.diagnose(&args.file, version, &mut installing::teller(context))?
        }
        TargetKind::Local => here(context, &args.file, version)?,
    };
    context.printer.progress().clear();
    let Diagnosed { file, bytes, entries, left_out } = &diagnosed;
    context.printer.line(&format!(
        "{} written: {} entries, {} KiB",
        file.display(),
        entries.len(),
        bytes.div_ceil(1024)
    ));
    for line in shown(left_out) {
        context.printer.line(&format!("  left out: {line}"));
    }
    context.printer.document(&diagnosed);
    Ok(exit::DONE)
}

/// The lines about what was left out: for an account that may only read there is one for each kind and each log.
fn shown(left_out: &[String]) -> Vec<String> {
    let few = if left_out.len() > LEFT_OUT_SHOWN + 1 { LEFT_OUT_SHOWN } else { left_out.len() };
    let mut lines = left_out[..few].to_vec();
    if let more @ 1.. = left_out.len() - few {
        lines.push(format!("… and {more} more; LEFT-OUT.txt in the archive has them all"));
    }
    lines
}

/// A platform on this machine: its state, its events and its log.
fn here(context: &Context, file: &Path, version: &str) -> Result<Diagnosed, Failure> {
    let target = platform_source::target(context)?;
    let snapshot = target.snapshot()?;
    let events = recorded(target.as_ref())?;
    let query = LogQuery { tail: Some(LINES), ..LogQuery::default() };
    let lines = target
        .logs(&query)?
        .map(|line| line.map(|line| format!("{} {} {}", line.time, line.replica, line.text)));
    let lines: Vec<String> = lines.collect::<Result<_, TargetError>>()?;
    let written = || -> io::Result<Diagnosed> {
        let mut archive = Archive::create(file, Redactor::default())?;
        let versions = serde_json::json!({"playctl": version, "platform": snapshot.platform});
        archive.json("versions.json", &versions)?;
        archive.json("snapshot.json", &serde_json::to_value(&snapshot)?)?;
        archive.text("events.jsonl", &events.join("\n"))?;
        archive.text("log.txt", &lines.join("\n"))?;
        #[cfg(feature = "local")]
        archive.json("doctor.json", &serde_json::to_value(local::doctor::checks())?)?;
        archive.finish()
    };
    written().map_err(|error| Failure::failed(format!("could not write {}: {error}", file.display())))
}

/// The events so far, one line each. The stream ends only with the platform, so we stop when it falls silent.
fn recorded(target: &dyn Target) -> Result<Vec<String>, Failure> {
    let stream = target.events(EventsFrom::Start)?;
    let (sender, receiver) = mpsc::sync_channel(1024);
    platform_source::spawn("events", move || {
        for event in stream {
            if sender.send(event).is_err() {
                break;
            }
        }
    })?;
    let mut lines = Vec::new();
    while let Ok(event) = receiver.recv_timeout(SILENCE) {
        lines.push(serde_json::to_string(&event?).map_err(Failure::failed)?);
        if lines.len() >= EVENTS {
            break;
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_what_was_left_out_is_cut_and_counted() {
        let left_out = |count: usize| (0..count).map(|at| at.to_string()).collect::<Vec<_>>();
        assert_eq!(shown(&left_out(0)), left_out(0));
        assert_eq!(shown(&left_out(6)), left_out(6));
        let shown = shown(&left_out(70));
        assert_eq!(shown[..5], left_out(5));
        assert_eq!(shown[5..], ["… and 65 more; LEFT-OUT.txt in the archive has them all"]);
    }
}
