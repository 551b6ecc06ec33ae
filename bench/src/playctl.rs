//! Finds and builds the measured programs.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};

use crate::{install::repository, printer, process::this_program};

/// `playctl`, rebuilt first if `build`.
pub(crate) fn program(build: bool) -> Result<PathBuf> {
    built(build, &["--package", "playctl", "--bin", "playctl"], "playctl")
}

/// The player of random histories (`crates/controller/examples/histories.rs`).
pub(crate) fn histories(build: bool) -> Result<PathBuf> {
    built(build, &["--package", "controller", "--example", "histories"], "examples/histories")
}

/// The file next to this program. Cargo rebuilds it if it is missing or older than its sources.
fn built(build: bool, what: &[&str], path: &str) -> Result<PathBuf> {
    let folder = this_program()?.parent().context("this program lies in no folder")?.to_owned();
    let program = folder.join(path);
    if build {
        let release = folder.file_name().is_some_and(|name| name == "release");
        if !release {
            printer::note("this is not a release build: the figures mean nothing");
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .current_dir(repository())
            .arg("build")
            .args(what)
            .args(release.then_some("--release"))
            .status()
            .context("cannot start cargo")?;
        if !status.success() {
            bail!("building {path} failed ({status})");
        }
    }
    if !program.is_file() {
        bail!("{} does not exist; leave out --no-build", program.display());
    }
    Ok(program)
}
