//! A client for tests: blocking, with a deadline for each read.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use super::DEADLINE;

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

impl Client {
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).expect("the server accepts"))
    }

    /// A client with a small receive buffer, so that the kernel holds little unread data.
    #[track_caller]
    pub(crate) fn narrow(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        socket.connect(&address.into()).expect("the server accepts");
        Self::over(socket.into())
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Self { stream }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the server takes what is sent");
    }

    /// Expects `bytes` next.
    #[track_caller]
    pub(crate) fn expect(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let mut got = vec![0; bytes.len()];
        let result = self.stream.read_exact(&mut got);
        assert!(result.is_ok(), "{result:?} while waiting for {:?}", String::from_utf8_lossy(bytes));
        assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(bytes));
    }

    /// Sends a packet and returns the result of one read.
    #[track_caller]
    pub(crate) fn ask(&mut self, packet: impl AsRef<[u8]>) -> String {
        self.send(packet);
        self.packet()
    }

    /// The result of one read.
    #[track_caller]
    pub(crate) fn packet(&mut self) -> String {
        let mut buffer = vec![0; 64 * 1024];
        let count = self.stream.read(&mut buffer).expect("a reply");
        assert!(count > 0, "the connection was closed");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    }

    /// The next line, without its end.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        loop {
            self.stream.read_exact(&mut byte).expect("a line");
            if byte[0] == b'\n' {
                return String::from_utf8_lossy(&line).into_owned();
            }
            line.push(byte[0]);
        }
    }

    /// Checks that nothing unread was sent to this client: the next thing it gets is the answer to a message.
    #[track_caller]
    pub(crate) fn expect_nothing_waits(&mut self) {
        assert_eq!(self.ask("msg:marker").trim_end(), "marker");
    }

    /// Requests a token.
    #[track_caller]
    pub(crate) fn login(&mut self) -> String {
        let token = self.ask("login").trim_end().to_owned();
        assert_eq!(token.len(), 36, "{token}");
        token
    }

    /// Expects that the server closes the connection, with nothing left to read.
    #[track_caller]
    pub(crate) fn expect_closed(&mut self) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}"),
        }
    }

    pub(crate) fn finish_sending(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Closes with a reset instead of a clean end.
    pub(crate) fn abort(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }
}
