//! Which replicas exist, according to a file or DNS.
//!
//! A file that cannot be read or parsed changes nothing: the last good state stays in use. The same holds for a name
//! that cannot be looked up.

pub(crate) mod dns;
pub(crate) mod watch;

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use platform::endpoints::{Endpoint, Endpoints, Invalid};
use rustix::fs::OFlags;

/// A larger file is not one of ours: it would list hundreds of thousands of replicas.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The replicas of one cluster.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Replicas {
    pub(crate) version: u64,
    /// None if the file has no such cluster.
    pub(crate) endpoints: Option<Vec<Endpoint>>,
    /// Endpoints that are this gateway itself, and are ignored.
    pub(crate) own: Vec<Endpoint>,
}

impl Replicas {
    /// For a gateway that listens at `listeners`.
    pub(crate) fn new(version: u64, endpoints: Option<Vec<Endpoint>>, listeners: &[SocketAddr]) -> Self {
        let is_own =
            |endpoint: &mut Endpoint| listeners.iter().any(|listener| reaches(endpoint.address, *listener));
        let mut endpoints = endpoints;
        let own = endpoints.iter_mut().flat_map(|all| all.extract_if(.., is_own)).collect();
        Self { version, endpoints, own }
    }
}

/// Why an endpoints file was not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Rejected {
    #[error("cannot read it: {0}")]
    Read(#[from] io::Error),
    #[error("it is not a regular file")]
    Irregular,
    #[error("it has more than {BYTES_MAX} bytes")]
    TooLong,
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// Reads what `path` says about `cluster`, for a gateway that listens at `listeners`.
pub(crate) fn read(path: &Path, cluster: &str, listeners: &[SocketAddr]) -> Result<Replicas, Rejected> {
    let mut text = Vec::new();
    if open(path)?.take(BYTES_MAX + 1).read_to_end(&mut text)? as u64 > BYTES_MAX {
        return Err(Rejected::TooLong);
    }
    let document = Endpoints::parse(&text)?;
    let named = document.clusters.into_iter().find(|candidate| candidate.name == cluster);
    Ok(Replicas::new(document.version, named.map(|cluster| cluster.endpoints), listeners))
}

/// Opens only a regular file: opening or reading a FIFO would block the whole control thread until a writer comes.
/// Follows links because Kubernetes mounts a `ConfigMap` as links.
fn open(path: &Path) -> Result<File, Rejected> {
    let without_waiting = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(without_waiting).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(Rejected::Irregular) }
}

/// True if connecting to `address` reaches `listener`.
fn reaches(address: SocketAddr, listener: SocketAddr) -> bool {
    let (ip, own) = (address.ip().to_canonical(), listener.ip().to_canonical());
    address.port() == listener.port() && (ip == own || own.is_unspecified() && is_local(address))
}

/// True if the address is one of this machine's: only those can be bound.
fn is_local(address: SocketAddr) -> bool {
    UdpSocket::bind((address.ip(), 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    const ONE: &str = r#"{"version":3,"clusters":[
        {"name":"tcp","endpoints":[{"name":"tcp-0","address":"127.77.2.1:40000"}]},{"name":"udp","endpoints":[]}]}"#;

    fn names(endpoints: &[Endpoint]) -> Vec<&str> {
        endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect()
    }

    #[test]
    fn a_cluster_is_found_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("endpoints.json");
        fs::write(&path, ONE).unwrap();
        let read = |cluster| read(&path, cluster, &[]).unwrap();
        assert_eq!(read("tcp").version, 3);
        assert_eq!(names(&read("tcp").endpoints.unwrap()), ["tcp-0"]);
        assert_eq!(read("udp").endpoints, Some(Vec::new()));
        assert_eq!(read("ws").endpoints, None);
    }

    #[test]
    fn only_regular_files_are_read_and_links_to_them() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let rejected = |path: &Path| read(path, "tcp", &[]).unwrap_err().to_string();

        mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        std::os::unix::fs::symlink(at("fifo"), at("link-to-fifo")).unwrap();
        for path in [at("fifo"), at("link-to-fifo"), directory.path().to_owned(), "/dev/zero".into()] {
            assert_eq!(rejected(&path), "it is not a regular file", "{}", path.display());
        }
        for path in [at("socket"), at("missing")] {
            assert!(rejected(&path).starts_with("cannot read it: "), "{}", path.display());
        }

        fs::write(at("file"), ONE).unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        assert!(read(&at("link"), "tcp", &[]).is_ok());
        File::create(at("long")).unwrap().set_len(BYTES_MAX + 1).unwrap();
        assert!(rejected(&at("long")).contains("more than 16777216 bytes"));
    }

    #[test]
    fn the_gateway_itself_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("endpoints.json");
        fs::write(&path, ONE).unwrap();
        for (listener, is_own) in [
            ("127.77.2.1:40000", true),
            ("127.77.2.1:40001", false),
            ("127.77.2.2:40000", false),
            ("0.0.0.0:40000", true),
            ("[::]:40000", true),
            ("[::ffff:127.77.2.1]:40000", true),
        ] {
            let replicas = read(&path, "tcp", &[listener.parse().unwrap()]).unwrap();
            let (own, others): (&[&str], &[&str]) =
                if is_own { (&["tcp-0"], &[]) } else { (&[], &["tcp-0"]) };
            assert_eq!(names(&replicas.own), own, "{listener}");
            assert_eq!(names(&replicas.endpoints.unwrap()), others, "{listener}");
        }
        // Another machine's address, with a listener on all addresses of this one.
        assert!(!reaches("192.0.2.1:40000".parse().unwrap(), "0.0.0.0:40000".parse().unwrap()));
    }
}
