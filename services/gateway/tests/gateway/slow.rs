//! Peers that do not read: their cost is bounded in bytes and in time.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use crate::support::{PATIENCE, Replica, Running, assert_echo, endpoint, pause, wait_until};

/// Maximum in flight from one end to the other while nobody reads: the test's own two buffers, the gateway's two, and
/// the block it holds. Without bounds, it would be about ten MiB.
const UNDER_WAY_MAX: u64 = 512 * 1024;

const CLIENTS: u64 = 20;

/// A client with a small buffer.
fn client(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.connect(&address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// How long a side may read nothing: longer than a busy machine delays a side that does read.
const STALL_TIMEOUT: (&str, &str) = ("STALL_TIMEOUT", "2s");

/// Writes until the connection breaks; returns how much was accepted.
fn write_for_ever(mut stream: &TcpStream) -> u64 {
    SockRef::from(stream).set_send_buffer_size(16 * 1024).unwrap();
    let mut taken = 0;
    while let Ok(bytes @ 1..) = stream.write(&[b'x'; 8 * 1024]) {
        taken += bytes as u64;
    }
    taken
}

/// A replica that writes for ever, and how many bytes each ended connection accepted.
fn talkative() -> (Replica, Receiver<u64>) {
    let (tell, told) = mpsc::channel();
    let replica = Replica::new(move |stream| {
        // The receiver is gone once the test is over.
        let _ = tell.send(write_for_ever(&stream));
    });
    (replica, told)
}

fn end_of(mut stream: &TcpStream) -> std::io::Result<u64> {
    std::io::copy(&mut stream, &mut std::io::sink())
}

#[test]
fn clients_that_never_read_cost_bounded_memory_and_are_reset() {
    let (replica, taken) = talkative();
    let running = Running::with(&[endpoint("tcp-0", replica.address)], &[STALL_TIMEOUT]);
    let clients: Vec<_> = (0..CLIENTS).map(|_| client(running.address)).collect();
    running.expect_metric("gateway_sessions_timed_out_total", CLIENTS);
    running.expect_metric("gateway_connections_active", 0);
    for client in clients {
        let taken = taken.recv_timeout(PATIENCE).expect("the replica was told");
        assert!(taken <= UNDER_WAY_MAX, "{taken} bytes were taken for a client that read none");
        assert_eq!(end_of(&client).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

#[test]
fn a_replica_that_never_reads_costs_bounded_memory_and_is_reset() {
    let (give, take) = mpsc::channel();
    let replica = Replica::new(move |stream| give.send(stream).unwrap());
    let running = Running::with(&[endpoint("tcp-0", replica.address)], &[STALL_TIMEOUT]);
    let taken = write_for_ever(&client(running.address));
    assert!(taken <= UNDER_WAY_MAX, "{taken} bytes were taken for a replica that read none");
    running.expect_metric("gateway_sessions_timed_out_total", 1);
    let backend = take.recv_timeout(PATIENCE).unwrap();
    assert_eq!(end_of(&backend).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_slow_reader_that_keeps_reading_stays() {
    let (replica, _) = talkative();
    let running = Running::with(&[endpoint("tcp-0", replica.address)], &[STALL_TIMEOUT]);
    let mut slow = client(running.address);
    let mut piece = vec![0; 64 * 1024];
    // The total takes longer than the time-out, but each pause is much shorter.
    for _ in 0..60 {
        slow.read_exact(&mut piece).unwrap();
        pause(Duration::from_millis(50));
    }
    running.expect_metric("gateway_sessions_timed_out_total", 0);
}

#[test]
fn bulk_data_arrives_whole_and_then_costs_bounded_memory_too() {
    const BULK: u64 = 64 << 20;
    let (replica, taken) = talkative();
    let running = Running::with(&[endpoint("tcp-0", replica.address)], &[STALL_TIMEOUT]);
    let mut reader = client(running.address);
    std::io::copy(&mut (&mut reader).take(BULK), &mut std::io::sink()).unwrap();
    running.expect_metric("gateway_sessions_timed_out_total", 1);
    let kept = taken.recv_timeout(PATIENCE).expect("the replica was told") - BULK;
    assert!(kept <= 4 << 20, "{kept} bytes were taken after the client stopped to read");
}

#[test]
fn a_session_that_ends_before_its_client_reads_leaves_nothing_behind() {
    let replica = Replica::new(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
        // Little enough for the gateway to hand all of it to the kernel and end the session.
        let _ = stream.write_all(&vec![b'x'; 12 * 1024]);
    });
    let running = Running::with(&[endpoint("tcp-0", replica.address)], &[STALL_TIMEOUT]);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(1).unwrap();
    socket.connect(&running.address.into()).unwrap();
    let client = TcpStream::from(socket);
    client.shutdown(Shutdown::Write).unwrap();
    running.expect_metric("gateway_connections_closed_total", 1);
    running.expect_metric("gateway_sessions_reset_total", 0);
    let client_port = client.local_addr().unwrap().port();
    wait_until("the kernel let go of it", || !is_kept(running.address.port(), client_port));
}

/// True if the kernel has a socket between these two ports of loopback addresses.
fn is_kept(local: u16, remote: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let ports = |line: &str| {
        let mut ends =
            line.split_whitespace().skip(1).map(|end| end.split_once(':').map(|(_, port)| port.to_owned()));
        (ends.next().flatten(), ends.next().flatten())
    };
    let wanted = (Some(format!("{local:04X}")), Some(format!("{remote:04X}")));
    table.lines().any(|line| ports(line) == wanted)
}

#[test]
fn silent_connections_are_closed_and_active_ones_are_not() {
    let replica = Replica::echo();
    // Longer than a busy machine delays the active client.
    let limits = [("TUNNEL_TIMEOUT", "3s"), ("STALL_TIMEOUT", "1h")];
    let running = Running::with(&[endpoint("tcp-0", replica.address)], &limits);
    let (silent, talking) = (client(running.address), client(running.address));
    let mut sent = 0;
    wait_until("the silent one is closed", || {
        assert_echo(&talking, "still here");
        sent += 1;
        running.metric("gateway_sessions_silent_total") == 1
    });
    assert_eq!(end_of(&silent).unwrap(), 0, "in order, not by a reset");
    assert_echo(&talking, "and after");
    assert!(sent > 1, "the other one was not silent meanwhile");
    running.expect_metric("gateway_connections_active", 1);
}
