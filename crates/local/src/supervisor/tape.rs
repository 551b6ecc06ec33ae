//! Records the controller's inputs and effects on request: `PLAYCTL_RECORD=/absolute/FILE playctl up`.
//!
//! The controller's tests replay such files (`crates/controller/tests/replay.rs`).

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use controller::{Effect, Header, Input, Recording, Time};

use crate::paths::open_regular;

/// Names the file to write.
pub(crate) const VARIABLE: &str = "PLAYCTL_RECORD";

#[derive(Debug)]
pub(crate) struct Tape(Option<BufWriter<File>>);

impl Tape {
    /// Starts a recording if [`VARIABLE`] asks for one.
    pub(crate) fn from_env(header: &Header) -> Result<Self, (PathBuf, io::Error)> {
        let Some(path) = std::env::var_os(VARIABLE).map(PathBuf::from) else { return Ok(Self(None)) };
        let open = || -> io::Result<BufWriter<File>> {
            // Inputs contain the environment from the values.
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            let file = open_regular(&mut options, &path)?;
            let mut file = BufWriter::new(file);
            writeln!(file, "{}", header.line()?)?;
            Ok(file)
        };
        open().map(|file| Self(Some(file))).map_err(|error| (path, error))
    }

    /// Call it before a step, which takes the input.
    pub(crate) fn begin(&self, now: Time, input: &Input) -> Option<Recording> {
        self.0.as_ref().and_then(|_| Recording::begin(now, input).ok())
    }

    /// Call it after the step. A recording that cannot be written ends.
    pub(crate) fn end(&mut self, step: Option<Recording>, effects: &[Effect]) {
        let (Some(file), Some(step)) = (&mut self.0, step) else { return };
        let written = step.end(effects).map_err(io::Error::from).and_then(|line| writeln!(file, "{line}"));
        if let Err(error) = written {
            tracing::warn!(%error, "the recording of {VARIABLE} ends here");
            self.0 = None;
        }
    }
}
