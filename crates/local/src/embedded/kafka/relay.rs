//! The relay between a client and the mock cluster.
//!
//! The mock cluster allocates whatever length a request announces, for any number of clients. So only complete requests
//! of a kind that it can handle ([`requests`]) reach it, one at a time per client (like a real broker), and the relay
//! bounds what clients hold. A slow reader keeps one answer waiting, not many.
//!
//! The mock cluster tells clients its own port in two kinds of answers; the relay replaces it with its own.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::TcpStream,
};

use super::requests;
use crate::embedded::guests::{Guest, Hold};

/// Maximum size of a request. Clients' own limits allow records of 1 MB.
const REQUEST_MAX: usize = 2 * 1024 * 1024;
/// Its header: API key, API version, correlation id.
const HEADER: usize = 8;
/// At most this much of an answer counts as held: a large one must find room beside others.
const ANSWER_HELD_MAX: usize = 4 * 1024 * 1024;
/// Requests whose answers name brokers (`Metadata`, `FindCoordinator`), and within how many bytes.
const NAMING: [i16; 2] = [3, 10];
const NAMED_WITHIN: usize = 64;
/// Maximum size of one read.
const CHUNK: usize = 64 * 1024;

/// Relays requests of `client` to `behind`, and the answers back.
pub(super) async fn serve(mut client: TcpStream, guest: Guest, behind: SocketAddr) -> io::Result<()> {
    let here = client.local_addr()?;
    let mut held = guest.hold();
    let mut broker = None;
    loop {
        // An idle client holds no buffer.
        client.readable().await?;
        let Some(request) = read_request(&mut client, &mut held).await? else { break };
        let asked = &request[size_of::<u32>()..];
        requests::check(asked).map_err(io::Error::other)?;
        if let Some(answer) = requests::versions_refused(asked) {
            drop(request);
            answer_whole(&mut client, &answer).await?;
            held.set(0).await?;
            guest.served();
            continue;
        }
        let is_about_versions = requests::asks_for_versions(asked);
        let names = NAMING.contains(&i16::from_be_bytes([request[4], request[5]]));
        let broker = match &mut broker {
            Some(broker) => broker,
            // Connect only when there is something to relay.
            none => none.insert(TcpStream::connect(behind).await?),
        };
        broker.write_all(&request).await?;
        drop(request);
        held.set(0).await?;
        guest.served();
        let length = tokio::select! {
            length = broker.read_u32() => length?,
            // Lets the cluster notice too: the client may be a member of a group.
            () = gone(&client) => return Ok(()),
        };
        held.set((length as usize).min(ANSWER_HELD_MAX)).await?;
        if is_about_versions {
            let mut answer = vec![0; length as usize];
            broker.read_exact(&mut answer).await?;
            let unreadable = || io::Error::other("the mock cluster's versions cannot be read");
            answer_whole(&mut client, &requests::passed_versions(&answer).ok_or_else(unreadable)?).await?;
        } else {
            relay_answer(broker, &mut client, length, names.then_some((behind, here))).await?;
        }
        held.set(0).await?;
        guest.served();
    }
    Ok(())
}

/// The next request, preceded by its length; `None`: the client has left.
pub(super) async fn read_request(
    client: &mut (impl AsyncRead + Unpin),
    held: &mut Hold,
) -> io::Result<Option<Vec<u8>>> {
    let mut request = Vec::new();
    let mut wanted = size_of::<u32>();
    while request.len() < wanted {
        if request.len() == request.capacity() {
            let more = (wanted - request.len()).min(CHUNK);
            held.grow(&mut request, more).await?;
        }
        let missing = (wanted - request.len()) as u64;
        if (&mut *client).take(missing).read_buf(&mut request).await? == 0 {
            return if request.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        if request.len() == size_of::<u32>() {
            let length = u32::from_be_bytes([request[0], request[1], request[2], request[3]]) as usize;
            if !(HEADER..=REQUEST_MAX).contains(&length) {
                return Err(io::Error::other(format!(
                    "a request of {length} bytes: the embedded Kafka takes {HEADER} to {REQUEST_MAX}"
                )));
            }
            wanted += length;
        }
    }
    Ok(Some(request))
}

async fn answer_whole(client: &mut TcpStream, answer: &[u8]) -> io::Result<()> {
    client.write_all(&[&(answer.len() as u32).to_be_bytes(), answer].concat()).await
}

/// An answer of `length` bytes; `renamed`: which address to replace by which.
async fn relay_answer(
    broker: &mut TcpStream,
    client: &mut TcpStream,
    length: u32,
    renamed: Option<(SocketAddr, SocketAddr)>,
) -> io::Result<()> {
    let mut head = vec![0; (length as usize).min(NAMED_WITHIN)];
    broker.read_exact(&mut head).await?;
    if let Some((from, to)) = renamed {
        rename(&mut head, from, to);
    }
    let rest = u64::from(length) - head.len() as u64;
    client.write_all(&[&length.to_be_bytes(), &head[..]].concat()).await?;
    if copy(&mut broker.take(rest), client).await? < rest {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// Replaces the port after a broker's name: all versions write it the same way. Both addresses have the same IP.
pub(super) fn rename(head: &mut [u8], from: SocketAddr, to: SocketAddr) {
    let wire = |address: SocketAddr| {
        [address.ip().to_string().as_bytes(), &u32::from(address.port()).to_be_bytes()].concat()
    };
    let (from, to) = (wire(from), wire(to));
    if let Some(place) = head.windows(from.len()).position(|window| window == from) {
        head[place..place + to.len()].copy_from_slice(&to);
    }
}

/// Waits until the client has left. Ignores a client that has sent more.
async fn gone(client: &TcpStream) {
    if let Ok(1..) = client.peek(&mut [0]).await {
        std::future::pending::<()>().await;
    }
}
