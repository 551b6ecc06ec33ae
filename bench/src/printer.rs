//! The one place that prints: results on standard output, progress on standard error.

use std::io::{self, Write};

/// Writes a result. A reader that went away (`| head`) does not fail the measurement.
pub(crate) fn result(text: &str) -> io::Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Writes a line of progress. If standard error is closed, there is nowhere to report it.
pub(crate) fn note(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}
