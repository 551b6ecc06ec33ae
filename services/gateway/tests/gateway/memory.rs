//! The kernel's memory for clients of the real `tcp` service that send commands and never read.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use fixtures::{Sockets, kernel_memory};
use service::Shutdown;
use service::settings::Host;
use socket2::SockRef;

use crate::support::{PATIENCE, Running, endpoint, pause, wait_until};

const CLIENTS: usize = 200;

/// Limit per client, over the platform's sockets that serve it: one of the service or, behind a gateway, three. Without
/// bounds, it would be several MiB.
const BYTES_MAX: u64 = 256 * 1024;

/// A `tcp` service that never closes slow clients.
fn replica() -> fixtures::Running {
    let settings = tcp::Settings {
        host: Host::LOOPBACK,
        port: 0,
        admin_port: 0,
        write_timeout: 60 * PATIENCE,
        ..tcp::Settings::default()
    };
    let shutdown = Shutdown::new();
    let server = tcp::Server::bind(settings, shutdown.clone()).unwrap();
    let addresses = (server.address(), server.admin_address());
    fixtures::Running::start(addresses, server.readiness().clone(), shutdown, || server.run())
}

/// Clients that have sent requests until the server accepted no more.
fn never_reading(server: SocketAddr) -> Vec<TcpStream> {
    let clients: Vec<_> = (0..CLIENTS).map(|_| TcpStream::connect(server).unwrap()).collect();
    for client in &clients {
        client.set_nonblocking(true).unwrap();
        // The clients' own memory does not count.
        SockRef::from(client).set_send_buffer_size(16 * 1024).unwrap();
    }
    let questions = "WHERE\n".repeat(2_000);
    let taken = |mut client: &TcpStream| {
        std::iter::from_fn(|| client.write(questions.as_bytes()).ok()).sum::<usize>()
    };
    wait_until("every buffer on the way is full", || {
        let more: usize = clients.iter().map(taken).sum();
        pause(Duration::from_millis(300));
        more == 0
    });
    clients
}

/// Adds up the average memory of each kind of socket, because it is unknown which sockets belong to one client.
#[track_caller]
fn assert_bounded(kinds: &[(&str, Sockets)]) {
    let (mut sum, mut words) = (0, Vec::new());
    for (kind, sockets) in kinds {
        let memory = kernel_memory(*sockets);
        assert_eq!(memory.len(), CLIENTS, "{kind}");
        let average = memory.iter().sum::<u64>() / CLIENTS as u64;
        let most = memory.iter().max().unwrap();
        sum += average;
        words.push(format!("{kind}: {average}, at most {most}"));
    }
    assert!(sum <= BYTES_MAX, "{sum} bytes for each client: {}", words.join("; "));
}

#[test]
fn clients_of_the_service_that_never_read_cost_little_kernel_memory() {
    let replica = replica();
    let _clients = never_reading(replica.address);
    assert_bounded(&[("replica", Sockets::AcceptedAt(replica.address))]);
}

#[test]
fn clients_behind_the_gateway_that_never_read_cost_little_kernel_memory() {
    let replica = replica();
    let running = Running::with(&[endpoint("tcp-0", replica.address)], &[("STALL_TIMEOUT", "1h")]);
    let _clients = never_reading(running.address);
    let kinds = [
        ("gateway, client's side", Sockets::AcceptedAt(running.address)),
        ("gateway, replica's side", Sockets::ConnectedTo(replica.address)),
        ("replica", Sockets::AcceptedAt(replica.address)),
    ];
    assert_bounded(&kinds);
}
