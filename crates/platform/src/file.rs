//! Reads a file that the user named.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

/// The whole file, if it is a regular one of at most `bytes_max`. A pipe would keep the reader waiting and can be read
/// only once, and a device may never end.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let about = fs::metadata(path)?;
    if about.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !about.is_file() {
        return Err(io::Error::other("it is a pipe or a device; save its content as a file first"));
    }
    let mut bytes = Vec::new();
    // Some files, such as those in /proc, are longer than their reported size.
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is larger than {bytes_max} bytes"),
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_up_to_a_bound_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "12345").unwrap();
        assert!(std::process::Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
        assert_eq!(read(&at("file"), 5).unwrap(), b"12345");
        for (path, said) in [
            (at("file"), "larger than 4 bytes"),
            (at("fifo"), "pipe or a device"),
            ("/dev/zero".into(), "pipe or a device"),
            (folder.path().to_owned(), "is a directory"),
            (at("none"), "No such file"),
        ] {
            let error = read(&path, 4).unwrap_err().to_string();
            assert!(error.contains(said), "{}: {error}", path.display());
        }
    }
}
