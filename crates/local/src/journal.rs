//! A bounded file of lines that can be read from the start and followed while it grows.
//!
//! Two segments: the file itself and, once it was full, its predecessor beside it (`.1`); older ones are
//! dropped. Readers read their lines from the files and are only *woken* by the writer, so that a slow reader costs
//! no memory and delays nobody; one that falls behind by two whole segments continues with the oldest line left.
//!
//! Writer and readers live on one thread: no segment changes between two steps of a reader. If somebody removes,
//! truncates or replaces the file, the next line starts a new segment, and later readers do not see the contents of the
//! old one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use tokio::sync::watch;

use crate::paths::open_regular;

/// More than any line written here; a foreign file may have longer ones.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// The amount written so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Written {
    /// Number of the segment that is being written, from 0.
    segment: u64,
    /// Bytes in it.
    bytes: u64,
}

/// The writing end.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    /// Distinguishes the file from another one in its place.
    inode: u64,
    segment_max: u64,
    written: watch::Sender<Written>,
    /// The file contains a part of a failed line.
    torn: bool,
    /// Number of lines that could not be written.
    lost: u64,
    /// Why the last one failed.
    losing: Option<String>,
}

impl Journal {
    /// Starts an empty journal; removes earlier contents. `segment_max`: bytes per segment.
    pub(crate) fn create(path: PathBuf, segment_max: u64) -> io::Result<Self> {
        let (file, inode) = open_new(&path)?;
        clear(&predecessor(&path))?;
        let written = watch::Sender::new(Written::default());
        Ok(Self { path, file, inode, segment_max, written, torn: false, lost: 0, losing: None })
    }

    /// Appends a line, or drops it entirely and counts it if that fails.
    pub(crate) fn append_or_drop(&mut self, line: &str) {
        match self.append(line) {
            Ok(()) => self.losing = None,
            Err(error) => {
                self.lost += 1;
                self.losing = Some(error.to_string());
            }
        }
    }

    /// How many lines were dropped so far, and why the last one was, if no line has been written since.
    pub(crate) fn lost(&self) -> (u64, Option<&str>) {
        (self.lost, self.losing.as_deref())
    }

    /// Appends a line, which must not contain a line end. After an error, no part of it remains, and the next line can
    /// be appended as if it had not been tried.
    pub(crate) fn append(&mut self, line: &str) -> io::Result<()> {
        let mut written = *self.written.borrow();
        let is_in_place = self.is_in_place(written.bytes);
        // The remains of a failed write would become the start of this line.
        if self.torn && is_in_place {
            self.file.set_len(written.bytes)?;
        }
        self.torn &= !is_in_place;
        if written.bytes >= self.segment_max || !is_in_place {
            self.rotate(is_in_place)?;
            written = Written { segment: written.segment + 1, bytes: 0 };
            self.written.send_replace(written);
        }
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        if let Err(error) = self.file.write_all(&bytes) {
            self.torn = self.file.set_len(written.bytes).is_err();
            return Err(error);
        }
        written.bytes += bytes.len() as u64;
        self.written.send_replace(written);
        Ok(())
    }

    /// Whether the file is still in its place, with everything that was written.
    fn is_in_place(&self, bytes: u64) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode && found.len() >= bytes)
    }

    /// Continues in a new file. Removes anything that somebody else put in its place.
    fn rotate(&mut self, is_in_place: bool) -> io::Result<()> {
        let before = predecessor(&self.path);
        clear(&before)?;
        if is_in_place {
            fs::rename(&self.path, &before)?;
        }
        match open_new(&self.path) {
            Ok((file, inode)) => (self.file, self.inode, self.torn) = (file, inode, false),
            Err(error) if is_in_place => {
                fs::rename(before, &self.path)?;
                return Err(error);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Number of the current segment, from 0: it and its predecessor exist.
    pub(crate) fn segment(&self) -> u64 {
        self.written.borrow().segment
    }

    /// Writes to another file from now on: `/dev/full` stands for a full disk.
    #[cfg(test)]
    pub(crate) fn swap_file(&mut self, path: impl AsRef<Path>) {
        self.file = OpenOptions::new().append(true).open(path).unwrap();
    }

    /// For future readers.
    pub(crate) fn source(&self) -> Source {
        Source { path: self.path.clone(), written: self.written.subscribe() }
    }
}

/// Creates readers.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    path: PathBuf,
    written: watch::Receiver<Written>,
}

impl Source {
    /// Reads from the oldest remaining line.
    pub(crate) fn tail(&self) -> Tail {
        Tail { source: self.clone(), open: None, next_segment: 0 }
    }
}

/// The reading end.
#[derive(Debug)]
pub(crate) struct Tail {
    source: Source,
    open: Option<BufReader<File>>,
    next_segment: u64,
}

impl Tail {
    /// The next line, waiting for it if necessary; `None` when the journal has ended.
    pub(crate) async fn next(&mut self) -> io::Result<Option<String>> {
        loop {
            // Marked as seen before the read, so that later writes wake the wait below.
            self.source.written.borrow_and_update();
            if let Some(line) = self.next_present()? {
                return Ok(Some(line));
            }
            if self.source.written.changed().await.is_err() {
                return self.next_present();
            }
        }
    }

    /// The next line, if it already exists.
    pub(crate) fn next_present(&mut self) -> io::Result<Option<String>> {
        let newest = self.source.written.borrow().segment;
        loop {
            if let Some(open) = &mut self.open {
                let mut line = String::new();
                if open.take(LINE_BYTES_MAX).read_line(&mut line)? > 0 {
                    line.truncate(line.trim_end_matches('\n').len());
                    return Ok(Some(line));
                }
            }
            if self.next_segment > newest {
                return Ok(None);
            }
            // Segments before the predecessor are gone.
            let segment = self.next_segment.max(newest.saturating_sub(1));
            let path =
                if segment == newest { self.source.path.clone() } else { predecessor(&self.source.path) };
            self.open = match open_regular(OpenOptions::new().read(true), &path) {
                Ok(file) => Some(BufReader::new(file)),
                // Somebody removed or replaced it; the writer continues in a new one.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) =>
                {
                    None
                }
                Err(error) => return Err(error),
            };
            self.next_segment = segment + 1;
        }
    }
}

/// A new file, and its inode.
fn open_new(path: &Path) -> io::Result<(File, u64)> {
    // A new file each time, because readers may still have the old one open.
    clear(path)?;
    let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
    let inode = file.metadata()?.ino();
    Ok((file, inode))
}

fn clear(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => fs::remove_dir_all(path),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn predecessor(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(segment_max: u64) -> (tempfile::TempDir, Journal) {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::create(directory.path().join("lines"), segment_max).unwrap();
        (directory, journal)
    }

    fn present(tail: &mut Tail) -> Vec<String> {
        std::iter::from_fn(|| tail.next_present().unwrap()).collect()
    }

    #[test]
    fn a_reader_sees_past_and_future_lines() {
        let (_directory, mut journal) = journal(1000);
        journal.append("one").unwrap();
        let mut tail = journal.source().tail();
        assert_eq!(present(&mut tail), ["one"]);
        journal.append("two").unwrap();
        journal.append("").unwrap();
        assert_eq!(present(&mut tail), ["two", ""]);
        assert_eq!(present(&mut journal.source().tail()), ["one", "two", ""]);
    }

    #[test]
    fn a_journal_stays_bounded_and_a_reader_that_keeps_up_misses_nothing() {
        let (directory, mut journal) = journal(100);
        let mut tail = journal.source().tail();
        let mut seen = Vec::new();
        for number in 0..100 {
            journal.append(&format!("line {number:04}")).unwrap();
            seen.extend(present(&mut tail));
        }
        assert_eq!(seen, (0..100).map(|number| format!("line {number:04}")).collect::<Vec<_>>());
        let bytes: u64 =
            fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
        assert!(bytes <= 220, "{bytes}");
        let late = present(&mut journal.source().tail());
        assert_eq!(late.last().unwrap(), "line 0099");
        assert!((10..=20).contains(&late.len()), "{late:?}");
    }

    #[test]
    fn a_failed_append_leaves_no_trace() {
        let (directory, mut journal) = journal(100);
        journal.append("one").unwrap();
        journal.swap_file("/dev/full");
        assert!(journal.append("two").is_err());
        journal.swap_file(directory.path().join("lines"));
        // Half a line was written before the disk was full.
        fs::write(directory.path().join("lines"), "one\ntw").unwrap();
        journal.append("three").unwrap();
        assert_eq!(present(&mut journal.source().tail()), ["one", "three"]);
    }

    #[test]
    fn tampering_with_the_file_loses_no_later_line() {
        type Swap = fn(&Path);
        let swaps: [(&str, Swap); 6] = [
            ("removed", |_| {}),
            ("cut", |path| fs::write(path, "").unwrap()),
            ("garbage", |path| fs::write(path, [0xff; 100]).unwrap()),
            ("a folder", |path| fs::create_dir(path).unwrap()),
            ("a link", |path| std::os::unix::fs::symlink("/dev/zero", path).unwrap()),
            ("a pipe", |path| {
                assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
            }),
        ];
        for (name, swap) in swaps {
            for place in ["lines", "lines.1"] {
                let (directory, mut journal) = journal(40);
                let mut tail = journal.source().tail();
                for number in 0..8 {
                    journal.append(&format!("before {number}")).unwrap();
                }
                assert_eq!(present(&mut tail).len(), 8);
                let path = directory.path().join(place);
                if name != "cut" {
                    fs::remove_file(&path).unwrap();
                }
                swap(&path);
                let mut late = journal.source().tail();
                let _ = late.next_present();
                for number in 0..9 {
                    let line = format!("after {number}");
                    journal.append(&line).unwrap();
                    assert_eq!(present(&mut tail), [line], "{name} instead of {place}");
                }
                let last = present(&mut journal.source().tail()).pop();
                assert_eq!(last.as_deref(), Some("after 8"), "{name} instead of {place}");
            }
        }
    }

    #[test]
    fn a_reader_that_was_overtaken_continues_with_the_oldest_line() {
        let (_directory, mut journal) = journal(100);
        let mut tail = journal.source().tail();
        journal.append("line 0000").unwrap();
        assert_eq!(present(&mut tail), ["line 0000"]);
        for number in 1..100 {
            journal.append(&format!("line {number:04}")).unwrap();
        }
        let rest = present(&mut tail);
        assert!(rest.len() < 40, "{rest:?}");
        assert!(rest.windows(2).all(|pair| pair[0] < pair[1]), "{rest:?}");
        assert_eq!(rest.last().unwrap(), "line 0099");
    }

    #[tokio::test]
    async fn a_waiting_reader_is_woken_by_lines_and_by_the_end() {
        let (_directory, mut journal) = journal(100);
        let mut tail = journal.source().tail();
        let reader = tokio::spawn(async move {
            let mut lines = Vec::new();
            while let Some(line) = tail.next().await.unwrap() {
                lines.push(line);
            }
            lines
        });
        for number in 0..50 {
            journal.append(&number.to_string()).unwrap();
            tokio::task::yield_now().await;
        }
        drop(journal);
        assert_eq!(reader.await.unwrap().len(), 50);
    }
}
