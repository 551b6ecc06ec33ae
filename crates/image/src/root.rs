//! Reads files below a root: an absolute symbolic link of another system is resolved in that system, not in this one.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use crate::Error;

/// The maximum size of a file in an image.
pub(crate) const MAX_BYTES: u64 = 1_000_000_000;
/// As many as the kernel follows.
const MAX_LINKS: usize = 40;

/// Where `path`, as seen by that root's own programs, is on this machine; `None` if it does not exist.
pub(crate) fn locate(root: &Path, path: &Path) -> Option<PathBuf> {
    let mut inside = PathBuf::new();
    let mut left: Vec<_> = parts(path).rev().collect();
    let mut links = 0;
    while let Some(part) = left.pop() {
        if part == Path::new("..") {
            inside.pop();
            continue;
        }
        inside.push(&part);
        let here = root.join(&inside);
        if !fs::symlink_metadata(&here).ok()?.is_symlink() {
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return None;
        }
        let target = fs::read_link(&here).ok()?;
        inside.pop();
        if target.is_absolute() {
            inside = PathBuf::new();
        }
        left.extend(parts(&target).rev());
    }
    Some(root.join(inside))
}

fn parts(path: &Path) -> impl DoubleEndedIterator<Item = PathBuf> {
    path.components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .map(|part| PathBuf::from(part.as_os_str()))
}

/// The whole file; `None` if it does not exist or is not a regular file.
pub(crate) fn read_if_there(root: &Path, path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match locate(root, path) {
        Some(here) if here.is_file() => read(&here).map(Some),
        _ => Ok(None),
    }
}

/// The whole file, which must be a regular file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |error| Error::Read { path: path.to_owned(), error };
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(failed(io::Error::other("not a regular file")));
    }
    if metadata.len() > MAX_BYTES {
        return Err(Error::TooLarge { path: path.to_owned(), bytes: metadata.len() });
    }
    fs::read(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_stay_below_the_root() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::create_dir_all(root.join("usr/lib/deep")).unwrap();
        fs::write(root.join("usr/lib/libc.so"), "c").unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        symlink("/usr/lib/libc.so", root.join("usr/lib/deep/absolute")).unwrap();
        symlink("../../../../../../usr/lib/libc.so", root.join("usr/lib/deep/upward")).unwrap();
        symlink("/etc/passwd", root.join("outside")).unwrap();
        symlink("round", root.join("round")).unwrap();
        let library = Some(root.join("usr/lib/libc.so"));
        for path in ["/lib/libc.so", "/lib/deep/absolute", "/usr/lib/deep/upward", "/lib/deep/../libc.so"] {
            assert_eq!(locate(root, Path::new(path)), library, "{path}");
        }
        for path in ["/outside", "/round", "/lib/missing", "/../../etc/passwd"] {
            assert_eq!(locate(root, Path::new(path)), None, "{path}");
        }
        assert!(read_if_there(root, Path::new("/lib/deep")).unwrap().is_none(), "a folder is no file");
    }
}
