//! The one place that prints: results on standard output, progress on standard error.

use std::io::{self, Write};

/// Writes a result. A reader that went away (`| head`) is no failure of the measurement.
pub(crate) fn result(text: &str) -> io::Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Writes a line of progress. There is nowhere to report that standard error is closed.
pub(crate) fn note(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}
