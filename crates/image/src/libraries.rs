//! Finds the libraries that a program links, as its loader does.
//!
//! The search follows ld.so(8): the program's own folders (`DT_RUNPATH`, or `DT_RPATH`), then the folders of
//! `/etc/ld.so.conf`, then the loader's own. In the image all libraries are in one folder that the loader searches by
//! default, because there is no `ld.so.cache` and `$ORIGIN` differs.

use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
};

use crate::{
    Error,
    elf::{Architecture, Elf},
    root,
};

/// More than any real program links.
const MAX_LIBRARIES: usize = 256;
const MAX_CONF_BYTES: usize = 64 * 1024;

/// The loader and the libraries, by their paths in the image.
#[derive(Debug, Default)]
pub(crate) struct Linked {
    pub(crate) loader: Option<(PathBuf, Vec<u8>)>,
    pub(crate) libraries: BTreeMap<PathBuf, Vec<u8>>,
    /// The C library is a glibc that still loads name resolution at run time.
    pub(crate) has_old_libc: bool,
}

/// A file whose libraries are to be found.
struct Needs {
    path: PathBuf,
    elf: Elf,
    /// `DT_RPATH` of every file on the way here.
    rpath: Vec<PathBuf>,
}

/// Everything that `program` at `path` links, directly or indirectly.
pub(crate) fn resolve(program: &Elf, path: &Path, root: &Path) -> Result<Linked, Error> {
    let Some(interpreter) = &program.interpreter else {
        // Linked statically; it may have a dynamic section for RELRO, but nothing is loaded.
        return Ok(Linked::default());
    };
    let missing = |name: &Path, searched| Error::LibraryMissing {
        name: name.display().to_string(),
        needed_by: path.display().to_string(),
        architecture: program.architecture,
        searched,
    };
    let loader =
        root::read_if_there(root, interpreter)?.ok_or_else(|| missing(interpreter, vec![root.to_owned()]))?;
    let folder = folder_of(&loader, program.architecture)
        .ok_or_else(|| Error::UnusualLoader { loader: interpreter.clone() })?;

    let usual = usual_folders(root, program.architecture);
    let mut found: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut queue = VecDeque::from([Needs {
        path: path.to_owned(),
        elf: program.clone(),
        rpath: expand(&program.rpath, path),
    }]);
    while let Some(Needs { path: needed_by, elf, rpath }) = queue.pop_front() {
        for name in &elf.needed {
            if found.contains_key(name)
                || interpreter.file_name().is_some_and(|loader| loader == name.as_str())
            {
                continue;
            }
            if found.len() >= MAX_LIBRARIES {
                return Err(Error::TooManyLibraries { path: path.to_owned(), limit: MAX_LIBRARIES });
            }
            let own = if elf.run_path.is_empty() { rpath.clone() } else { expand(&elf.run_path, &needed_by) };
            let candidates = candidates(name, &own, &usual);
            let library = first(root, &candidates, program.architecture)?;
            let Some((at, bytes, library)) = library else {
                return Err(Error::LibraryMissing {
                    name: name.clone(),
                    needed_by: needed_by.display().to_string(),
                    architecture: program.architecture,
                    searched: candidates.iter().filter_map(|path| Some(path.parent()?.to_owned())).collect(),
                });
            };
            let mut inherited = expand(&library.rpath, &at);
            inherited.extend(rpath.iter().cloned());
            queue.push_back(Needs { path: at, elf: library, rpath: inherited });
            found.insert(name.clone(), bytes);
        }
    }
    let has_old_libc = found.get("libc.so.6").is_some_and(|libc| !contains(libc, b"\0GLIBC_2.34\0"));
    // A name with a slash is a path, for the loader too.
    let place = |name: String| if name.contains('/') { PathBuf::from(name) } else { folder.join(name) };
    let libraries = found.into_iter().map(|(name, bytes)| (place(name), bytes)).collect();
    Ok(Linked { loader: Some((interpreter.clone(), loader)), libraries, has_old_libc })
}

fn candidates(name: &str, own: &[PathBuf], usual: &[PathBuf]) -> Vec<PathBuf> {
    if name.contains('/') {
        return vec![PathBuf::from(name)];
    }
    own.iter().chain(usual).map(|folder| folder.join(name)).collect()
}

/// The first candidate that is a library for this architecture; the loader skips the others too.
fn first(
    root: &Path,
    candidates: &[PathBuf],
    architecture: Architecture,
) -> Result<Option<(PathBuf, Vec<u8>, Elf)>, Error> {
    for candidate in candidates {
        let Some(bytes) = root::read_if_there(root, candidate)? else { continue };
        match Elf::parse(&bytes, candidate) {
            Ok(elf) if elf.architecture == architecture => return Ok(Some((candidate.clone(), bytes, elf))),
            Ok(_) | Err(Error::Machine { .. } | Error::NotLinux { .. }) => {}
            Err(damaged) => return Err(damaged),
        }
    }
    Ok(None)
}

/// Replaces `$ORIGIN` by the folder of the file that contains it.
fn expand(folders: &[String], file: &Path) -> Vec<PathBuf> {
    let origin = file.parent().unwrap_or(Path::new("/")).to_string_lossy();
    folders
        .iter()
        .map(|folder| PathBuf::from(folder.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin)))
        .collect()
}

/// The folders for libraries without a path: the configured ones, then those built into loaders.
fn usual_folders(root: &Path, architecture: Architecture) -> Vec<PathBuf> {
    let mut folders = configured(root);
    folders.extend(built_in(architecture));
    let mut seen = Vec::with_capacity(folders.len());
    folders.retain(|folder| {
        let is_new = !seen.contains(folder);
        seen.push(folder.clone());
        is_new
    });
    folders
}

fn built_in(architecture: Architecture) -> [PathBuf; 6] {
    let multiarch = architecture.multiarch();
    [
        format!("/lib/{multiarch}"),
        format!("/usr/lib/{multiarch}"),
        "/lib64".to_owned(),
        "/usr/lib64".to_owned(),
        "/lib".to_owned(),
        "/usr/lib".to_owned(),
    ]
    .map(PathBuf::from)
}

/// The folders of `/etc/ld.so.conf` and of the files in `ld.so.conf.d`, the only ones that it includes anywhere.
fn configured(root: &Path) -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from("/etc/ld.so.conf")];
    let directory = Path::new("/etc/ld.so.conf.d");
    if let Some(here) = root::locate(root, directory) {
        let mut included: Vec<_> = std::fs::read_dir(here)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| directory.join(entry.file_name()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
            .collect();
        included.sort();
        files.extend(included);
    }
    let mut folders = Vec::new();
    for file in files {
        let Ok(Some(text)) = root::read_if_there(root, &file) else { continue };
        if text.len() <= MAX_CONF_BYTES {
            folders.extend(
                String::from_utf8_lossy(&text)
                    .lines()
                    .map(|line| line.split('#').next().unwrap_or_default().trim())
                    .filter(|line| line.starts_with('/'))
                    .map(PathBuf::from),
            );
        }
    }
    folders
}

/// The folder that the loader searches by default. It is read from the loader itself: glibc has a list of folders, each
/// with a trailing slash and a zero byte; musl has one line separated by colons.
fn folder_of(loader: &[u8], architecture: Architecture) -> Option<PathBuf> {
    built_in(architecture).into_iter().find(|folder| {
        let folder = folder.to_string_lossy();
        [format!("\0{folder}/\0"), format!("\0{folder}:")]
            .iter()
            .any(|pattern| contains(loader, pattern.as_bytes()))
    })
}

fn contains(bytes: &[u8], pattern: &[u8]) -> bool {
    bytes.windows(pattern.len()).any(|window| window == pattern)
}

#[cfg(test)]
mod tests;
