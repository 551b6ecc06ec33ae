//! Files that a command writes in addition to its output.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use crate::failure::Failure;

/// Checks that they can be written, before work whose result would be lost. The command's inputs must not be
/// overwritten, and two outputs cannot share a file.
pub(crate) fn check<'a>(
    inputs: impl IntoIterator<Item = &'a Path>,
    outputs: impl IntoIterator<Item = &'a Path>,
) -> Result<(), Failure> {
    let mut taken: Vec<(File, String)> = inputs
        .into_iter()
        .filter_map(|path| Some((File::of(path)?, format!("{} is read by this command", path.display()))))
        .collect();
    for path in outputs {
        if path == Path::new("-") {
            let message = "cannot write -: standard output has the time line; name a file, or `./-` for one of this name";
            return Err(Failure::usage(message));
        }
        let existed = path.exists();
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map_err(|error| Failure::usage(format!("cannot write {}: {error}", path.display())))?;
        let file = File::of(path);
        if !existed {
            // It was only created as a test.
            let _ = fs::remove_file(path);
        }
        let Some(file) = file else { continue };
        if let Some((_, why)) = taken.iter().find(|(other, _)| *other == file) {
            return Err(Failure::usage(format!("cannot write {}: {why}; name another file", path.display())));
        }
        taken.push((file, format!("{} is written already", path.display())));
    }
    Ok(())
}

/// Identifies a regular file, whatever path leads to it.
#[derive(Debug, PartialEq, Eq)]
struct File(PathBuf);

impl File {
    /// `None`: it does not exist, or is not a regular file.
    fn of(path: &Path) -> Option<Self> {
        let path = path.canonicalize().ok()?;
        path.is_file().then_some(Self(path))
    }
}

/// Writes a file completely or not at all: after a failure, the old file is unchanged.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let written = match fs::metadata(path) {
        // Pipes and terminals cannot be replaced.
        Ok(metadata) if !metadata.is_file() => fs::write(path, text),
        present => replace(path, text, present.ok().map(|metadata| metadata.mode())),
    };
    written.map_err(|error| Failure::failed(format!("could not write {}: {error}", path.display())))
}

fn replace(path: &Path, text: &str, mode: Option<u32>) -> io::Result<()> {
    // A link stays a link: its target is replaced.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The umask applies, as for every new file.
    let everybody = Permissions::from_mode(0o666);
    let mut unfinished =
        tempfile::Builder::new().prefix(".playctl-").permissions(everybody).tempfile_in(folder)?;
    unfinished.write_all(text.as_bytes())?;
    if let Some(mode) = mode {
        unfinished.as_file().set_permissions(Permissions::from_mode(mode & 0o7777))?;
    }
    unfinished.persist(&path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn outputs_never_overwrite_an_input_or_another_output() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("run"), "kept").unwrap();
        fs::hard_link(at("run"), at("other")).unwrap();
        symlink(at("run"), at("link")).unwrap();
        let dotted = folder.path().join(".").join("run");
        let refused = |inputs: &[&Path], outputs: &[&Path]| {
            check(inputs.iter().copied(), outputs.iter().copied()).unwrap_err().message
        };
        for output in [at("run"), at("link"), dotted] {
            let error = refused(&[&at("run")], &[&output]);
            assert!(error.contains("is read by this command"), "{error}");
        }
        assert!(refused(&[&at("link")], &[&at("run")]).contains("is read by this command"));
        assert!(refused(&[], &[&at("run"), &at("link")]).contains("is written already"));
        check([at("gone").as_path(), &at("run")], [at("new").as_path(), &at("newer")]).unwrap();
        assert!(!at("new").exists());
        check([], [Path::new("/dev/null"), Path::new("/dev/null")]).unwrap();
        assert_eq!(fs::read_to_string(at("run")).unwrap(), "kept");
    }

    #[test]
    fn two_new_outputs_with_one_name_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (new, same) = (folder.path().join("new"), folder.path().join(".").join("new"));
        assert!(check([], [new.as_path(), &same]).is_err());
    }

    #[test]
    fn a_file_is_replaced_whole_and_keeps_its_mode_and_its_links() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        write(&file, "one").unwrap();
        let usual = folder.path().join("usual");
        fs::write(&usual, "").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode(), fs::metadata(&usual).unwrap().mode());
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        symlink(&file, &link).unwrap();
        write(&link, "two").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "two");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
        assert!(link.is_symlink());
        // No unfinished file is left behind.
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
        write(Path::new("/dev/null"), "x").unwrap();
    }
}
