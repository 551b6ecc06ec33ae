//! Finds and builds the measured program.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};

use crate::{install::repository, printer, process::this_program};

/// `playctl` next to this program. Cargo rebuilds it if it is missing or older than its sources.
pub(crate) fn program(build: bool) -> Result<PathBuf> {
    let folder = this_program()?.parent().context("this program lies in no folder")?.to_owned();
    let program = folder.join("playctl");
    if build {
        let release = folder.file_name().is_some_and(|name| name == "release");
        if !release {
            printer::note("this is not a release build: the figures mean nothing");
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .current_dir(repository())
            .args(["build", "--package", "playctl", "--bin", "playctl"])
            .args(release.then_some("--release"))
            .status()
            .context("cannot start cargo")?;
        if !status.success() {
            bail!("building playctl failed ({status})");
        }
    }
    if !program.is_file() {
        bail!("{} does not exist; leave out --no-build", program.display());
    }
    Ok(program)
}
