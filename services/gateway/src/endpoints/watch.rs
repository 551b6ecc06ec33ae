//! Notices that a file was replaced, by watching its directory.
//!
//! It watches the directory and not the file: a rename puts another file in its place, and a watch on the old one would
//! stay silent. It also notices a switched directory of links, which is how Kubernetes updates a `ConfigMap`.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify;
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Distinguishes states of a file without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    bytes: u64,
}

impl Identity {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            bytes: metadata.size(),
        })
    }
}

/// A watch on one file. It starts when it is created, so that no change after a later read goes unnoticed.
#[derive(Debug)]
pub(crate) struct Watch {
    path: PathBuf,
    inotify: OwnedFd,
}

impl Watch {
    /// Watches the directory of `path`, which must exist; the file need not yet.
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        let inotify = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let changes = inotify::WatchFlags::CLOSE_WRITE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::MOVED_FROM
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::DELETE
            | inotify::WatchFlags::ONLYDIR;
        inotify::add_watch(&inotify, directory, changes)?;
        Ok(Self { path: path.to_owned(), inotify })
    }

    /// Joins the asynchronous runtime in which it is called.
    pub(crate) fn start(self) -> io::Result<Changes> {
        #[expect(
            deprecated,
            reason = "unsound only for types that do not own their file; the new one is `unsafe`"
        )]
        let inotify = AsyncFd::with_interest(self.inotify, Interest::READABLE)?;
        Ok(Changes { path: self.path, inotify, last: None })
    }
}

/// The changes of a watched file.
#[derive(Debug)]
pub(crate) struct Changes {
    path: PathBuf,
    inotify: AsyncFd<OwnedFd>,
    last: Option<Identity>,
}

impl Changes {
    /// Waits until the file differs from the last call, or is gone. Cancel-safe.
    pub(crate) async fn next(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.inotify.readable().await?;
            // The event's kind does not matter: look at the file itself.
            match discard_events(self.inotify.get_ref()) {
                Err(Errno::WOULDBLOCK) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
                Ok(()) => {}
            }
            if self.look() {
                return Ok(());
            }
        }
    }

    /// Checks the file; true if it differs from the last check.
    pub(crate) fn look(&mut self) -> bool {
        let now = Identity::of(&self.path);
        let changed = now != self.last;
        self.last = now;
        changed
    }
}

/// Reads events until there are none (`WOULDBLOCK`).
fn discard_events(inotify: &OwnedFd) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(inotify, &mut space);
    loop {
        reader.next()?;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;
    use std::time::Duration;

    use super::*;

    async fn change(changes: &mut Changes) {
        tokio::time::timeout(Duration::from_secs(10), changes.next()).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn creation_replacement_rewriting_and_removal_are_seen() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("endpoints.json");
        let mut changes = Watch::new(&path).unwrap().start().unwrap();
        assert!(!changes.look());

        fs::write(&path, "1").unwrap();
        change(&mut changes).await;
        fs::write(directory.path().join("other"), "22").unwrap();
        fs::rename(directory.path().join("other"), &path).unwrap();
        change(&mut changes).await;
        fs::write(&path, "333").unwrap();
        change(&mut changes).await;
        fs::remove_file(&path).unwrap();
        change(&mut changes).await;
        assert!(!changes.look());
    }

    #[tokio::test]
    async fn other_files_in_the_directory_are_ignored() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("endpoints.json");
        let mut changes = Watch::new(&path).unwrap().start().unwrap();
        fs::write(directory.path().join("other"), "1").unwrap();
        // The kernel has reported everything about it.
        drop(changes.inotify.readable().await.unwrap());
        let mut next = pin!(changes.next());
        assert!(poll_fn(|context| Poll::Ready(next.as_mut().poll(context).is_pending())).await);
        fs::write(&path, "1").unwrap();
        tokio::time::timeout(Duration::from_secs(10), next).await.unwrap().unwrap();
    }

    #[test]
    fn the_directory_must_exist() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Watch::new(&directory.path().join("missing/endpoints.json")).is_err());
    }
}
