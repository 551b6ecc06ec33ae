//! System calls per message, connection or byte, as counted by `strace -c`.
//!
//! Counts, not times: a traced process takes many times as long for a call. A slower process also finds more to do at
//! each wake-up, so waits (`epoll_wait`) are fewer than untraced.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::{
    contestant::{Contestant, Programs},
    measure, printer,
    process::scratch,
    work::{self, Scene, Traced},
};

/// Its name on the command line, in addition to the names of rows.
pub(crate) const NAME: &str = "syscalls";
pub(crate) const ABOUT: &str = "system calls for each message, connection and MiB, by `strace -c`";

/// How long a process is traced.
const LENGTH: Duration = Duration::from_secs(3);

/// System calls of all contestants under one load.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// The row's name.
    pub(crate) work: String,
    /// What the counts are for: a message, a connection, a MiB.
    pub(crate) unit: String,
    pub(crate) parties: Vec<Party>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Party {
    pub(crate) contestant: Contestant,
    /// Calls for each unit, by name.
    pub(crate) calls: BTreeMap<String, f64>,
}

impl Party {
    pub(crate) fn total(&self) -> f64 {
        self.calls.values().sum()
    }
}

pub(crate) fn count_all(programs: &Programs) -> Result<Vec<Counts>> {
    if !is_there() {
        printer::note(
            "strace is not installed (Debian: apt-get install strace): system calls are not counted",
        );
        return Ok(Vec::new());
    }
    work::traced()
        .iter()
        .map(|traced| {
            let parties = (traced.contestants.iter())
                .map(|&contestant| {
                    printer::note(&format!("counting system calls: {} {}", traced.name, contestant.name()));
                    count(traced, programs, contestant)
                        .with_context(|| format!("strace of {} under {}", contestant.name(), traced.name))
                })
                .collect::<Result<_>>()?;
            Ok(Counts { work: traced.name.to_owned(), unit: traced.unit.to_owned(), parties })
        })
        .collect()
}

fn is_there() -> bool {
    let version = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

fn count(traced: &Traced, programs: &Programs, contestant: Contestant) -> Result<Party> {
    let scene: Scene = (traced.scene)(programs, contestant)?;
    measure::wait(Duration::from_secs(1));
    let file = scratch()?.join("strace.txt");
    let mut strace = Command::new("strace")
        .args(["-f", "-c", "-U", "calls,name", "-o"])
        .arg(&file)
        .args(["-p", &scene.process.to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start strace")?;
    // Keep it to the end: strace detaches if nobody reads its output.
    let mut stderr = BufReader::new(strace.stderr.take().context("no pipe from strace")?);
    // One line per thread that it attached to, or the reason why it cannot attach.
    let mut first = String::new();
    stderr.read_line(&mut first)?;
    if !first.contains("attached") {
        drop(strace.wait());
        bail!("{}", first.trim_end());
    }
    let before = scene.units()?;
    measure::wait(LENGTH);
    let units = (scene.units()? - before) / traced.per;
    // On an interrupt it detaches from the process and writes its table.
    kill_process(Pid::from_child(&strace), Signal::INT)?;
    strace.wait()?;
    drop(stderr);
    ensure!(units > 0.0, "nothing happened while it was traced");
    let table = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let calls = parse(&table).into_iter().map(|(name, calls)| (name, calls as f64 / units)).collect();
    Ok(Party { contestant, calls })
}

/// The lines `CALLS NAME` of a table, without headings, rules and the sum.
fn parse(table: &str) -> BTreeMap<String, u64> {
    table
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let calls = words.next()?.parse().ok()?;
            let name = words.next().filter(|name| *name != "total")?;
            Some((name.to_owned(), calls))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strace_tables_are_parsed() {
        let table = "    calls syscall\n--------- ----------------\n    54322 sendto\n      211 epoll_wait\n--------- ----------------\n    54533 total\n";
        let calls = parse(table);
        assert_eq!(calls.len(), 2);
        assert_eq!(calls["sendto"], 54_322);
        assert_eq!(calls["epoll_wait"], 211);
    }
}
