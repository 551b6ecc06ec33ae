//! Locks as files: held by an open file description (`flock`), so that the kernel releases them when their
//! holder dies, however it dies.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use crate::paths::open_regular;

/// More than any holder writes.
const HOLDER_BYTES_MAX: u64 = 1024;

/// What the holder of a platform's lock writes into it.
pub(crate) fn held_by(pid: u32) -> String {
    format!("pid {pid}")
}

/// A held lock; dropping it removes the file and releases it.
#[derive(Debug)]
pub(crate) struct FileLock {
    path: PathBuf,
    _file: File,
}

impl FileLock {
    /// Takes the lock, or returns `None` at once if somebody holds it. `holder` is written into the file, to identify
    /// the holder.
    pub(crate) fn try_take(path: &Path, holder: &str) -> io::Result<Option<Self>> {
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            let mut file = open_regular(&mut options, path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            // Between open and flock, the former holder may have removed the file: that lock guards nothing.
            let Ok(named) = fs::metadata(path) else { continue };
            if named.ino() != file.metadata()?.ino() {
                continue;
            }
            // The lock holds without these words, also on a full disk, which `down` may be about to empty.
            let _ = file.set_len(0).and_then(|()| file.write_all(holder.as_bytes()));
            return Ok(Some(Self { path: path.to_owned(), _file: file }));
        }
    }

    /// What the current holder wrote; `None` if nobody holds the lock.
    pub(crate) fn holder(path: &Path) -> io::Result<Option<String>> {
        let file = match open_regular(OpenOptions::new().read(true), path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // A shared lock is free exactly when nobody holds the exclusive one; it is released with `file`.
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(None),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                file.take(HOLDER_BYTES_MAX).read_to_string(&mut holder)?;
                Ok(Some(holder))
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // While still locked, so that nobody can take the old file after the name is free.
        drop(fs::remove_file(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_has_one_holder_and_leaves_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.lock");
        assert_eq!(FileLock::holder(&path).unwrap(), None);

        let lock = FileLock::try_take(&path, "me").unwrap().expect("free");
        assert!(FileLock::try_take(&path, "you").unwrap().is_none());
        assert_eq!(FileLock::holder(&path).unwrap().as_deref(), Some("me"));
        drop(lock);
        assert!(!path.exists());
        assert!(FileLock::try_take(&path, "you").unwrap().is_some());
    }

    #[test]
    fn a_file_left_by_a_dead_holder_is_not_a_lock() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.lock");
        fs::write(&path, "somebody who died").unwrap();
        assert_eq!(FileLock::holder(&path).unwrap(), None);
        let lock = FileLock::try_take(&path, "x").unwrap().expect("nobody holds it");
        assert_eq!(fs::read_to_string(&path).unwrap(), "x");
        drop(lock);
    }
}
