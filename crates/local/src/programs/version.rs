//! Versions of programs: from their output, and from file names.

use std::{
    fs, io,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use crate::leftovers;

/// A program that has not printed its version by then does something else.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `program flag` and extracts the version from its output.
pub(super) fn told(program: &Path, flag: &str) -> Result<String, String> {
    let printed = output(program, flag).map_err(|error| error.to_string())?;
    in_text(&printed).ok_or_else(|| {
        let first = printed.lines().next().unwrap_or_default();
        format!("{flag} printed {first:?}")
    })
}

fn output(program: &Path, flag: &str) -> io::Result<String> {
    // The output goes into a pipe, which has room for any version's text.
    let mut child = Command::new(program)
        .arg(flag)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let started = clock::now();
    while child.try_wait()?.is_none() {
        if started.elapsed() >= PATIENCE {
            child.kill()?;
            child.wait()?;
            let message = format!("{flag} did not end within {} s", PATIENCE.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        leftovers::pause();
    }
    let output = child.wait_with_output()?;
    // Some versions of Prometheus print it on stderr.
    let both = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&both).into_owned())
}

/// The first dotted number after the word "version", or else anywhere.
fn in_text(text: &str) -> Option<String> {
    let after = text.find("version").map_or(text, |at| &text[at..]);
    dotted(after)
}

/// The first dotted number; suffixes (`-1+deb12u4`, `+ds`) are the packager's.
fn dotted(text: &str) -> Option<String> {
    let is_part = |c: char| c.is_ascii_digit() || c == '.';
    let mut words = text.split(|c| !is_part(c)).map(|word| word.trim_matches('.'));
    words.find(|word| word.contains('.')).map(str::to_owned)
}

/// The version in the name of a jar with the prefix `prefix`, such as `kafka_2.13-4.1.0.jar`.
pub(super) fn of_jar(folder: &Path, prefix: &str) -> Option<String> {
    let names = fs::read_dir(folder).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let versions = names.filter_map(|name| {
        // Between the last hyphen and the extension: `elasticsearch-core-8.16.6` is a different jar.
        let (name, version) = name.strip_suffix(".jar")?.rsplit_once('-')?;
        let rest = format!("{name}-");
        let rest = rest.strip_prefix(prefix)?;
        let only_scala = rest.trim_end_matches('-').chars().all(|c| c.is_ascii_digit());
        (only_scala && ordered(version).is_some()).then(|| version.to_owned())
    });
    versions.max_by_key(|version| ordered(version))
}

/// A version in comparable form; `None`: it does not consist of numbers.
pub(super) fn ordered(version: &str) -> Option<Vec<u64>> {
    version.split('.').map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_print() {
        for (text, version) in [
            ("memcached 1.6.18\n", "1.6.18"),
            ("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\n", "2.6.12"),
            ("prometheus, version 2.42.0+ds (branch: debian/sid)", "2.42.0"),
            ("\n/opt/envoy-1.2.3/envoy  version: 9e5580933739775e8/1.40.0/Clean/RELEASE", "1.40.0"),
        ] {
            assert_eq!(in_text(text).as_deref(), Some(version), "{text}");
        }
        assert_eq!(in_text("no number at all."), None);
    }

    #[test]
    fn jars_bear_versions() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["kafka_2.13-4.1.0.jar", "kafka-clients-4.1.0.jar", "kafka_2.13-4.1.0-sources.jar"] {
            fs::write(folder.path().join(name), b"").unwrap();
        }
        assert_eq!(of_jar(folder.path(), "kafka_2.").as_deref(), Some("4.1.0"));
        for name in ["elasticsearch-8.16.6.jar", "elasticsearch-core-9.9.9.jar"] {
            fs::write(folder.path().join(name), b"").unwrap();
        }
        assert_eq!(of_jar(folder.path(), "elasticsearch-").as_deref(), Some("8.16.6"));
        assert_eq!(of_jar(folder.path(), "cassandra-"), None);
        assert_eq!(of_jar(Path::new("/no/such/folder"), "kafka_2."), None);
    }

    #[test]
    fn a_program_without_a_version_is_reported_as_such() {
        let told = told(Path::new("/bin/echo"), "hello").unwrap_err();
        assert!(told.contains("\"hello\""), "{told}");
        assert!(super::told(Path::new("/no/such/program"), "-V").is_err());
    }
}
