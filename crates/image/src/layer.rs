//! Layers: tars whose bytes depend only on the files.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::{Path, PathBuf},
};

use ring::digest::{Context, SHA256};
use tar::{Builder, EntryType, Header};

/// A digest as written in manifests.
pub(crate) fn digest(bytes: &[u8]) -> String {
    shown(ring::digest::digest(&SHA256, bytes).as_ref())
}

fn shown(hash: &[u8]) -> String {
    use std::fmt::Write as _;
    hash.iter().fold(String::from("sha256:"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Counts and hashes what is written.
struct Meter {
    context: Context,
    bytes: u64,
}

impl Write for Meter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.context.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct File {
    mode: u32,
    bytes: Vec<u8>,
}

/// The files of a layer by their absolute paths. They are kept once; the tar is generated whenever it is written.
#[derive(Debug, Default)]
pub(crate) struct Files(BTreeMap<PathBuf, File>);

impl Files {
    pub(crate) fn add(&mut self, path: impl Into<PathBuf>, is_executable: bool, bytes: Vec<u8>) {
        let mode = if is_executable { 0o755 } else { 0o644 };
        self.0.insert(path.into(), File { mode, bytes });
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = (&Path, u64)> {
        self.0.iter().map(|(path, file)| (path.as_path(), file.bytes.len() as u64))
    }

    /// Writes the tar: folders first, everything owned by root and dated 1970.
    pub(crate) fn write(&self, out: impl Write) -> io::Result<()> {
        let mut folders: Vec<&Path> = self
            .0
            .keys()
            .flat_map(|path| path.ancestors().skip(1))
            .filter(|folder| folder.parent().is_some())
            .collect();
        folders.sort_unstable();
        folders.dedup();
        let mut tar = Builder::new(out);
        for folder in folders {
            append(&mut tar, folder, EntryType::Directory, 0o755, &[])?;
        }
        for (path, File { mode, bytes }) in &self.0 {
            append(&mut tar, path, EntryType::Regular, *mode, bytes)?;
        }
        tar.finish()
    }

    /// Digest and size of the tar.
    pub(crate) fn measure(&self) -> io::Result<(String, u64)> {
        let mut meter = Meter { context: Context::new(&SHA256), bytes: 0 };
        self.write(&mut meter)?;
        Ok((shown(meter.context.finish().as_ref()), meter.bytes))
    }
}

/// Appends an entry to a tar.
pub(crate) fn append(
    tar: &mut Builder<impl Write>,
    path: &Path,
    kind: EntryType,
    mode: u32,
    bytes: &[u8],
) -> io::Result<()> {
    let mut header = header(kind, mode, bytes.len() as u64);
    tar.append_data(&mut header, path.strip_prefix("/").unwrap_or(path), bytes)
}

pub(crate) fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    // The owner, group and time of a new header are 0.
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_hold_only_the_added_files() {
        let mut files = Files::default();
        files.add("/usr/local/bin/playctl", true, b"program".to_vec());
        files.add("/lib/libc.so.6", false, b"library".to_vec());
        let mut tar = Vec::new();
        files.write(&mut tar).unwrap();
        assert_eq!(files.measure().unwrap(), (digest(&tar), tar.len() as u64));
        let mut listed = Vec::new();
        for entry in tar::Archive::new(&tar[..]).entries().unwrap() {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!(
                (header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()),
                (0, 0, 0),
                "{:?}",
                entry.path()
            );
            listed.push((entry.path().unwrap().display().to_string(), header.mode().unwrap()));
        }
        let listed: Vec<_> = listed.iter().map(|(path, mode)| (path.trim_end_matches('/'), *mode)).collect();
        assert_eq!(
            listed,
            [
                ("lib", 0o755),
                ("usr", 0o755),
                ("usr/local", 0o755),
                ("usr/local/bin", 0o755),
                ("lib/libc.so.6", 0o644),
                ("usr/local/bin/playctl", 0o755),
            ]
        );
    }
}
