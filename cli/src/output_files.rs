//! Files that a command leaves beside what it prints.

use std::{fs::OpenOptions, path::Path};

use crate::commands::Failure;

/// Whether they can be written, before work whose result could not be kept.
pub(crate) fn check<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Result<(), Failure> {
    for path in paths {
        let existed = path.exists();
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map_err(|error| Failure::usage(format!("cannot write {}: {error}", path.display())))?;
        if !existed {
            // It was made to see whether it can be.
            let _ = std::fs::remove_file(path);
        }
    }
    Ok(())
}

pub(crate) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text)
        .map_err(|error| Failure::failed(format!("could not write {}: {error}", path.display())))
}
