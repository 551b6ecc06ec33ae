//! Unix sockets by path, however long the path is.
//!
//! The kernel accepts at most 107 bytes. A longer path is reached through a descriptor of its directory, whose name in
//! `/proc/self/fd` is short.

use std::{
    fs::File,
    io,
    os::{
        fd::AsRawFd as _,
        unix::net::{UnixDatagram, UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use socket2::{Domain, SockAddr, Socket, Type};

const PATH_MAX: usize = 107;

/// Listens at `path`, which must not exist.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    by_short_path(path, |path| UnixListener::bind(path))
}

/// Does not block: if the other side accepts no connections and its queue is full, the error is
/// [`io::ErrorKind::WouldBlock`].
pub(crate) fn connect(path: &Path) -> io::Result<UnixStream> {
    by_short_path(path, |path| {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)?;
        socket.set_nonblocking(false)?;
        Ok(socket.into())
    })
}

/// Receives datagrams at `path`, which must not exist.
pub(crate) fn bind_datagram(path: &Path) -> io::Result<UnixDatagram> {
    by_short_path(path, |path| UnixDatagram::bind(path))
}

/// Sends datagrams to the process that receives them at `path`.
pub(crate) fn connect_datagram(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    by_short_path(path, |path| socket.connect(path))?;
    Ok(socket)
}

fn by_short_path<T>(path: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the socket's path has no directory or no name",
        ));
    };
    if path.as_os_str().len() <= PATH_MAX {
        return act(path);
    }
    let directory = File::open(directory)?;
    act(&PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    fn meets(directory: &Path) {
        let path = directory.join("p.sock");
        let listener = bind(&path).unwrap();
        let mut client = connect(&path).unwrap();
        client.write_all(b"x").unwrap();
        let mut byte = [0];
        listener.accept().unwrap().0.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
        assert!(path.exists());
    }

    #[test]
    fn a_full_queue_fails_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("p.sock");
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        listener.listen(1).unwrap();
        let error = (0..1000).find_map(|_| connect(&path).err()).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
        drop(listener.accept().unwrap());
        drop(connect(&path).unwrap());
    }

    #[test]
    fn short_and_long_paths_work_alike() {
        let directory = tempfile::tempdir().unwrap();
        meets(directory.path());
        let deep = directory.path().join("d".repeat(200));
        std::fs::create_dir(&deep).unwrap();
        meets(&deep);
    }
}
