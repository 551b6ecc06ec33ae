//! Errors, and where in a file they are.

use std::fmt;

/// A position in a text; both numbers count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why a file could not be read: `state.yaml:3:9: metrics[0].pods: expected a mapping, got 5`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The file; empty if the caller named none.
    pub origin: String,
    pub position: Option<Position>,
    /// Such as `metrics[0].pods`; empty if the error concerns the text as a whole.
    pub path: String,
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, position, path, message } = self;
        f.write_str(origin)?;
        if let Some(position) = position {
            let separator = if origin.is_empty() { "" } else { ":" };
            write!(f, "{separator}{position}")?;
        }
        if !origin.is_empty() || position.is_some() {
            f.write_str(": ")?;
        }
        if !path.is_empty() {
            write!(f, "{path}: ")?;
        }
        f.write_str(message)
    }
}

impl std::error::Error for Error {}
