//! One connection to a memcached, with a limit on how much of its replies is kept.
//!
//! The commands and the reply lines are the `memcache` crate's; its own transport would buffer a line without an end
//! until the deadline, and allocate whatever length a reply announces, up to 1 GiB.

use std::io;
use std::net::SocketAddr;

use memcache::exp::{Error as ClientError, MetaCommand, MetaResponse, ReturnCode, build_noop};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// Maximum length of a reply line: a return code and a few flags, or an error in words.
const LINE_BYTES_MAX: u64 = 1024;
/// Maximum length of a value to read. No service sends back that much.
pub(super) const VALUE_BYTES_MAX: usize = 4096;

/// Why a command got no reply.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The server is up but refused this command, most likely because it is out of memory.
    #[error("refused: {0}")]
    Refused(String),
    /// The connection can no longer be used.
    #[error("{0}")]
    Broken(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

/// A server's answer to a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Done, or nothing found, without a value.
    Code(ReturnCode),
    Value(Vec<u8>),
    /// A value above [`VALUE_BYTES_MAX`], which was not read: the connection is no longer usable.
    ValueTooLong,
}

pub(super) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects and waits for a first answer from the server.
    pub(super) async fn open(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut connection = Self { stream: BufReader::new(stream) };
        connection.exchange(&build_noop()).await?;
        Ok(connection)
    }

    /// Whether it can be reused: the server has neither closed it nor sent anything unsolicited.
    pub(super) fn is_quiet(&self) -> bool {
        let nothing_there = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        self.stream.buffer().is_empty() && self.stream.get_ref().try_read(&mut [0]).is_err_and(nothing_there)
    }

    pub(super) async fn exchange(&mut self, command: &MetaCommand) -> Result<Reply, Failure> {
        let request = command.encode().map_err(|error| Failure::Refused(error.to_string()))?;
        self.stream.write_all(&request).await?;
        read_reply(&mut self.stream).await
    }
}

/// For fuzzing, since servers are not trusted: how much of a value is kept if `bytes` is the reply.
#[doc(hidden)]
pub async fn fuzz_reply(bytes: &[u8]) -> Option<usize> {
    match read_reply(&mut &*bytes).await.ok()? {
        Reply::Value(value) => Some(value.len()),
        Reply::Code(_) | Reply::ValueTooLong => None,
    }
}

async fn read_reply(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<Reply, Failure> {
    let line = read_line(stream).await?;
    let code = match MetaResponse::parse_header(&line) {
        Ok(header) => header.rc(),
        Err(ClientError::Server(reason) | ClientError::Rejected(reason)) => {
            return Err(Failure::Refused(reason));
        }
        Err(error) => return Err(Failure::Broken(error.to_string())),
    };
    if code != ReturnCode::Va {
        return Ok(Reply::Code(code));
    }
    let length = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).nth(1);
    let length = length.and_then(|word| std::str::from_utf8(word).ok()?.parse::<usize>().ok());
    let length = length.ok_or_else(|| Failure::Broken("a reply without its value's length".into()))?;
    if length > VALUE_BYTES_MAX {
        return Ok(Reply::ValueTooLong);
    }
    let mut value = vec![0; length + 2];
    stream.read_exact(&mut value).await?;
    if !value.ends_with(b"\r\n") {
        return Err(Failure::Broken("a value that is not as long as announced".into()));
    }
    value.truncate(length);
    Ok(Reply::Value(value))
}

/// The next line, without its end.
async fn read_line(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<Vec<u8>, Failure> {
    let mut line = Vec::new();
    stream.take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
    if line.pop_if(|last| *last == b'\n').is_none() {
        return Err(Failure::Broken(match line.len() as u64 {
            LINE_BYTES_MAX => format!("a reply line longer than {LINE_BYTES_MAX} bytes"),
            _ => "it closed the connection".into(),
        }));
    }
    line.pop_if(|last| *last == b'\r');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn reply(bytes: &[u8]) -> Result<Reply, String> {
        read_reply(&mut &*bytes).await.map_err(|failure| failure.to_string())
    }

    #[tokio::test]
    async fn replies_are_read() {
        assert_eq!(reply(b"HD\r\n").await, Ok(Reply::Code(ReturnCode::Hd)));
        assert_eq!(reply(b"EN\r\n").await, Ok(Reply::Code(ReturnCode::En)));
        assert_eq!(reply(b"VA 3 t20\r\na\r\n\r\n").await, Ok(Reply::Value(b"a\r\n".to_vec())));
        assert_eq!(reply(b"VA 0\r\n\r\n").await, Ok(Reply::Value(Vec::new())));
        assert_eq!(reply(b"SERVER_ERROR out of memory\r\n").await, Err("refused: out of memory".into()));
    }

    #[tokio::test]
    async fn the_kept_part_of_a_reply_is_bounded() {
        let endless = vec![b'x'; 1 << 20];
        assert_eq!(reply(&endless).await, Err("a reply line longer than 1024 bytes".into()));
        for length in ["4097", "1073741824"] {
            assert_eq!(reply(format!("VA {length}\r\n").as_bytes()).await, Ok(Reply::ValueTooLong));
        }
        assert!(reply(b"VA 18446744073709551616\r\n").await.is_err());
    }

    #[tokio::test]
    async fn replies_out_of_step_break_the_connection() {
        for bytes in [&b""[..], b"HD", b"VA 3\r\nabcdef", b"VA\r\n", b"VA x\r\n\r\n", b"STORED\r\n", b"\r\n"]
        {
            assert!(
                read_reply(&mut &*bytes).await.is_err_and(|failure| matches!(failure, Failure::Broken(_)))
            );
        }
    }
}
