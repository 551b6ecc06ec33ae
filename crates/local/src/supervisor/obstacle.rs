//! Obstacles to what the values ask for.

use std::{io, path::PathBuf};

use crate::{kernel::port::Unusable, programs::Found, slot::SlotError};

/// Why the values cannot be fulfilled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Obstacle {
    #[error(transparent)]
    Slot(#[from] SlotError),
    #[error(transparent)]
    Entrance(#[from] Unusable),
    #[error("the supervisor's metrics cannot be served: {0}")]
    Telemetry(Unusable),
    #[error("the page cannot be served: {0}")]
    Page(Unusable),
    #[error("cannot write {}: {source}", file.display())]
    File { file: PathBuf, source: io::Error },
    #[error("Prometheus' configuration cannot be written: {0}")]
    Prometheus(io::Error),
    #[error(
        "HAProxy at {} is version {}: expected {}.{} or newer, which adds servers while it runs",
        found.executable.display(), found.version, oldest.0, oldest.1
    )]
    OldHaproxy { found: Found, oldest: (u32, u32) },
}
