//! The certificates of the common authorities, as one PEM file.

use std::path::{Path, PathBuf};

use crate::{Error, root};

/// Where Debian, Fedora, openSUSE and Alpine keep them.
const USUAL: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// From `given`, otherwise from the root, otherwise from this machine: they are the same for every architecture.
pub(crate) fn find(given: Option<&Path>, system: &Path) -> Result<Vec<u8>, Error> {
    if let Some(path) = given {
        return checked(root::read(path)?, path);
    }
    let mut searched: Vec<PathBuf> = Vec::new();
    for system in [system, Path::new("/")] {
        for path in USUAL.map(Path::new) {
            if let Some(bytes) = root::read_if_there(system, path)? {
                return checked(bytes, path);
            }
            let path = system.join(path.strip_prefix("/").unwrap_or(path));
            if !searched.contains(&path) {
                searched.push(path);
            }
        }
    }
    Err(Error::NoCertificates { searched })
}

fn checked(bytes: Vec<u8>, path: &Path) -> Result<Vec<u8>, Error> {
    if bytes.windows(BEGIN.len()).any(|window| window == BEGIN) {
        Ok(bytes)
    } else {
        Err(Error::NotCertificates { path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_given_file_comes_first_then_the_roots() {
        let root = tempfile::tempdir().unwrap();
        let pem = |name: &str| format!("{name}\n{}\n", String::from_utf8_lossy(BEGIN)).into_bytes();
        std::fs::create_dir_all(root.path().join("etc/pki/tls/certs")).unwrap();
        std::fs::write(root.path().join("etc/pki/tls/certs/ca-bundle.crt"), pem("fedora")).unwrap();
        let given = root.path().join("given.pem");
        std::fs::write(&given, pem("given")).unwrap();
        assert_eq!(find(Some(&given), root.path()).unwrap(), pem("given"));
        assert_eq!(find(None, root.path()).unwrap(), pem("fedora"));
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let given = root.path().join("given.pem");
        std::fs::write(&given, "-----BEGIN PRIVATE KEY-----\n").unwrap();
        let error = find(Some(&given), root.path()).unwrap_err().to_string();
        assert!(error.contains("given.pem holds no certificate"), "{error}");
        let error = find(Some(Path::new("/nowhere.pem")), root.path()).unwrap_err().to_string();
        assert!(error.starts_with("could not read /nowhere.pem"), "{error}");
    }
}
