//! A DNS server with scripted answers, over UDP and TCP.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;

use parking_lot::Mutex;

/// The TTL of its records: long, because the gateway must ignore it.
const TTL: u32 = 3600;
/// A longer answer is truncated over UDP, so that the client retries over TCP.
const DATAGRAM_MAX: usize = 1232;

const A: u16 = 1;
const AAAA: u16 = 28;

#[derive(Debug, Clone)]
pub(crate) enum Say {
    /// The addresses of the name; only those of the queried family are sent, possibly none.
    Addresses(Vec<IpAddr>),
    NoSuchName,
    Fail,
    /// IPv4 addresses, and a failure for IPv6.
    FailBeside(Vec<IpAddr>),
    Nothing,
}

#[derive(Debug)]
struct State {
    says: Say,
    asked: u64,
    streams: u64,
}

/// Runs until the process ends. Knows one name and no other.
#[derive(Clone)]
pub(crate) struct DnsServer {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl DnsServer {
    pub(crate) fn new(name: &'static str, says: Say) -> Self {
        let (datagrams, streams) = sockets();
        let state = Arc::new(Mutex::new(State { says, asked: 0, streams: 0 }));
        let server = Self { address: datagrams.local_addr().unwrap(), state };
        let (over_udp, over_tcp) = (server.clone(), server.clone());
        std::thread::spawn(move || {
            let mut query = [0; 4096];
            while let Ok((length, client)) = datagrams.recv_from(&mut query) {
                let Some(mut answer) = over_udp.answer(name, &query[..length]) else { continue };
                if answer.len() > DATAGRAM_MAX {
                    // The header and the question, without records.
                    answer.truncate(question_end(&query[..length]));
                    answer[2] |= 2;
                    answer[6..8].fill(0);
                }
                let _ = datagrams.send_to(&answer, client);
            }
        });
        std::thread::spawn(move || {
            for stream in streams.incoming().map_while(Result::ok) {
                over_tcp.state.lock().streams += 1;
                let server = over_tcp.clone();
                std::thread::spawn(move || server.converse(name, stream));
            }
        });
        server
    }

    pub(crate) fn say(&self, says: Say) {
        self.state.lock().says = says;
    }

    /// Number of queries so far.
    pub(crate) fn asked(&self) -> u64 {
        self.state.lock().asked
    }

    /// Number of connections so far.
    pub(crate) fn streams(&self) -> u64 {
        self.state.lock().streams
    }

    fn converse(&self, name: &str, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut query)?;
            if let Some(answer) = self.answer(name, &query) {
                stream.write_all(&(answer.len() as u16).to_be_bytes())?;
                stream.write_all(&answer)?;
            }
        }
    }

    fn answer(&self, name: &str, query: &[u8]) -> Option<Vec<u8>> {
        let end = question_end(query);
        let kind = u16::from_be_bytes([query[end - 4], query[end - 3]]);
        let mut state = self.state.lock();
        state.asked += 1;
        let says =
            if asked_name(query).eq_ignore_ascii_case(name) { state.says.clone() } else { Say::NoSuchName };
        drop(state);
        let (code, addresses) = match says {
            Say::Addresses(addresses) => (0, addresses),
            Say::FailBeside(addresses) if kind == A => (0, addresses),
            Say::Fail | Say::FailBeside(_) => (2, Vec::new()),
            Say::NoSuchName => (3, Vec::new()),
            Say::Nothing => return None,
        };
        let records: Vec<Vec<u8>> = addresses.iter().filter_map(|address| record(*address, kind)).collect();
        let mut answer = query[..end].to_vec();
        // An answer, recursion available.
        answer[2] = 0x81;
        answer[3] = 0x80 | code;
        answer[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
        answer[8..12].fill(0);
        answer.extend(records.into_iter().flatten());
        Some(answer)
    }
}

/// Both on the same port.
fn sockets() -> (UdpSocket, TcpListener) {
    loop {
        let streams = TcpListener::bind("127.0.0.1:0").unwrap();
        if let Ok(datagrams) = UdpSocket::bind(streams.local_addr().unwrap()) {
            return (datagrams, streams);
        }
    }
}

/// The position after the question's name, type and class.
fn question_end(query: &[u8]) -> usize {
    let mut at = 12;
    while query[at] != 0 {
        at += usize::from(query[at]) + 1;
    }
    at + 5
}

fn asked_name(query: &[u8]) -> String {
    let (mut name, mut at) = (String::new(), 12);
    while query[at] != 0 {
        let length = usize::from(query[at]);
        name.push_str(&String::from_utf8_lossy(&query[at + 1..=at + length]));
        name.push('.');
        at += length + 1;
    }
    name
}

fn record(address: IpAddr, kind: u16) -> Option<Vec<u8>> {
    let data = match (address, kind) {
        (IpAddr::V4(address), A) => address.octets().to_vec(),
        (IpAddr::V6(address), AAAA) => address.octets().to_vec(),
        _ => return None,
    };
    // A pointer to the question's name.
    let mut record = vec![0xc0, 0x0c];
    record.extend(kind.to_be_bytes());
    record.extend(1_u16.to_be_bytes());
    record.extend(TTL.to_be_bytes());
    record.extend((data.len() as u16).to_be_bytes());
    record.extend(data);
    Some(record)
}
