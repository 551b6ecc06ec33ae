//! Asks a Cassandra node for its version, with the necessary part of its native protocol (version 4).

use std::io;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const REQUEST: u8 = 0x04;
const RESPONSE: u8 = 0x84;
const STARTUP: u8 = 0x01;
const READY: u8 = 0x02;
const AUTHENTICATE: u8 = 0x03;
const QUERY: u8 = 0x07;
const RESULT: u8 = 0x08;
const STARTUP_OPTIONS: &[u8] = b"\x00\x01\x00\x0bCQL_VERSION\x00\x053.0.0";
const QUESTION: &str = "SELECT release_version FROM system.local";
/// Consistency ONE, and the answer without a description of its columns.
const QUESTION_OPTIONS: [u8; 3] = [0, 1, 2];
/// The start of rows without a description: their kind, flags, one column, one row. The flag for one table of all
/// columns, which Cassandra also sets, means nothing without them.
const ROWS: [u8; 4] = [0, 0, 0, 2];
const UNDESCRIBED: [[u8; 4]; 2] = [[0, 0, 0, 4], [0, 0, 0, 5]];
const ONE: [u8; 4] = [0, 0, 0, 1];
/// Maximum length of an answer.
const BODY_MAX: u32 = 4096;

/// `None`: it requires a login first.
pub(super) async fn version(address: &str) -> io::Result<Option<String>> {
    let mut stream = TcpStream::connect(address).await?;
    match ask(&mut stream, STARTUP, STARTUP_OPTIONS).await? {
        (READY, _) => {}
        (AUTHENTICATE, _) => return Ok(None),
        (opcode, body) => return Err(unexpected(opcode, &body)),
    }
    let mut question = (QUESTION.len() as u32).to_be_bytes().to_vec();
    question.extend_from_slice(QUESTION.as_bytes());
    question.extend_from_slice(&QUESTION_OPTIONS);
    let (opcode, body) = ask(&mut stream, QUERY, &question).await?;
    let text = one_value(&body).filter(|_| opcode == RESULT);
    text.map(|text| Some(text.to_owned())).ok_or_else(|| unexpected(opcode, &body))
}

/// The only value of the only row, as text.
fn one_value(body: &[u8]) -> Option<&str> {
    let rest = body.strip_prefix(&ROWS)?;
    let rest = UNDESCRIBED.iter().find_map(|flags| rest.strip_prefix(flags))?;
    let (length, value) = rest.strip_prefix(&ONE)?.strip_prefix(&ONE)?.split_first_chunk()?;
    let value = value.get(..u32::from_be_bytes(*length) as usize)?;
    std::str::from_utf8(value).ok()
}

/// The kind of the answer, and its body.
async fn ask(stream: &mut TcpStream, opcode: u8, body: &[u8]) -> io::Result<(u8, Vec<u8>)> {
    let mut frame = vec![REQUEST, 0, 0, 0, opcode];
    frame.extend_from_slice(&(body.len() as u32).to_be_bytes());
    frame.extend_from_slice(body);
    stream.write_all(&frame).await?;
    let mut head = [0; 9];
    stream.read_exact(&mut head).await?;
    let [version, _, _, _, opcode, length @ ..] = head;
    let length = u32::from_be_bytes(length);
    if version != RESPONSE || length > BODY_MAX {
        return Err(unexpected(opcode, &head));
    }
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body).await?;
    Ok((opcode, body))
}

fn unexpected(opcode: u8, body: &[u8]) -> io::Error {
    let beginning: String = String::from_utf8_lossy(body).chars().take(80).collect();
    let message = format!("answered {opcode:#04x} {beginning:?} to a question of Cassandra's protocol");
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A node with these answers, one per request; returns its address.
    async fn node<const N: usize>(answers: [(u8, &'static [u8]); N]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for (opcode, body) in answers {
                assert!(stream.read(&mut [0; 512]).await.unwrap() > 9);
                let mut frame = vec![RESPONSE, 0, 0, 0, opcode];
                frame.extend_from_slice(&(body.len() as u32).to_be_bytes());
                frame.extend_from_slice(body);
                stream.write_all(&frame).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn a_node_reports_its_version_unless_it_wants_a_login() {
        // The answer of Cassandra 5, and without the meaningless flag.
        for told in [
            b"\0\0\0\x02\0\0\0\x05\0\0\0\x01\0\0\0\x01\0\0\0\x055.0.5",
            b"\0\0\0\x02\0\0\0\x04\0\0\0\x01\0\0\0\x01\0\0\0\x055.0.5",
        ] {
            let open = node([(READY, b""), (RESULT, told)]).await;
            assert_eq!(version(&open).await.unwrap().as_deref(), Some("5.0.5"));
        }
        let closed = node([(AUTHENTICATE, b"\0\x05login")]).await;
        assert_eq!(version(&closed).await.unwrap(), None);
    }

    #[tokio::test]
    async fn any_other_answer_is_an_error_that_shows_it() {
        let refusing = node([(0, b"\0\0\0\x0a\0\x09no such v")]).await;
        let error = version(&refusing).await.unwrap_err().to_string();
        assert!(error.contains("no such v"), "{error}");
        for odd in [&b""[..], b"\0\0\0\x02", b"\0\0\0\x02\0\0\0\x04\0\0\0\x01\0\0\0\x01\0\0"] {
            assert!(version(&node([(READY, b""), (RESULT, odd)]).await).await.is_err(), "{odd:?}");
        }
        let closing = node([]).await;
        assert!(version(&closing).await.is_err());
    }
}
