//! Ends a program when its starter ends.

use std::{ffi::OsString, os::unix::process::CommandExt, process::Command};

use anyhow::{Result, bail};
use rustix::process::{Signal, set_parent_process_death_signal};

/// Becomes `command`, with the kernel told to kill it when our parent's thread ends: the setting outlives `exec`.
/// Returns only if that fails.
pub(super) fn run(command: &[OsString]) -> Result<()> {
    let [program, arguments @ ..] = command else {
        bail!("no program given");
    };
    set_parent_process_death_signal(Some(Signal::KILL))?;
    Err(Command::new(program).args(arguments).exec().into())
}
