//! Gateways that share a port: clients keep their replica, whichever gateway serves them.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};

use rustix::process::Signal;
use socket2::{Domain, Socket, Type};

use super::{Client, Replica, ask_all, clients, endpoints, replicas};
use crate::process::Process;
use crate::support::{EndpointsFile, wait_until};

/// The port that a supervisor keeps: one socket for each node.
struct Port {
    address: SocketAddr,
    file: EndpointsFile,
    sessions: tempfile::TempDir,
}

impl Port {
    fn new(replicas: &[Replica]) -> (Self, UdpSocket) {
        let socket = bind(([127, 0, 0, 1], 0).into());
        let address = socket.local_addr().unwrap();
        let file = EndpointsFile::new(&endpoints(replicas));
        (Self { address, file, sessions: tempfile::tempdir().unwrap() }, socket)
    }

    /// Another socket of the group.
    fn another(&self) -> UdpSocket {
        bind(self.address)
    }

    /// A node's gateway; its packets come from `own`.
    fn gateway(&self, socket: &UdpSocket, own: &str) -> Process {
        let sessions = self.sessions.path().join("sessions");
        let settings = [("SESSIONS_FILE", sessions.to_str().unwrap()), ("UPSTREAM_BIND", own)];
        Process::start_udp(std::slice::from_ref(socket), &self.file, &settings)
    }
}

fn bind(address: SocketAddr) -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.into()
}

fn names(answers: &[super::Answer]) -> Vec<&str> {
    answers.iter().map(|answer| answer.replica.as_str()).collect()
}

fn gateways(answers: &[super::Answer]) -> BTreeSet<String> {
    answers.iter().map(|answer| answer.source.ip().to_string()).collect()
}

#[test]
fn a_killed_gateways_successor_moves_no_client() {
    let mut replicas = replicas(3);
    let (mut port, socket) = Port::new(&replicas);
    let mut first = port.gateway(&socket, "127.66.5.1");
    let clients = clients(60, port.address);
    let before = ask_all(&clients, "x");
    // A replica that was added meanwhile must not attract existing clients.
    replicas.push(Replica::new(3));
    port.file.write(&endpoints(&replicas));

    first.kill();
    clients[0].say("x");
    let _second = port.gateway(&socket, "127.66.5.2");
    assert_eq!(clients[0].hear().replica, before[0].replica, "it waited in the kernel's queue");
    let after = ask_all(&clients, "x");
    assert_eq!(gateways(&after), BTreeSet::from(["127.66.5.2".to_owned()]));
    assert_eq!(names(&after), names(&before));
}

#[test]
fn a_draining_gateway_hands_its_clients_over_without_losing_a_packet() {
    let replicas = replicas(3);
    let (port, socket) = Port::new(&replicas);
    let mut first = port.gateway(&socket, "127.66.6.1");
    let clients = clients(40, port.address);
    let before = ask_all(&clients, "x");
    first.signal(Signal::TERM);
    let _second = port.gateway(&socket, "127.66.6.2");
    for round in 0..10 {
        assert_eq!(names(&ask_all(&clients, &format!("round {round}"))), names(&before));
    }
    first.assert_ends_well();
    let after = ask_all(&clients, "x");
    assert_eq!(gateways(&after), BTreeSet::from(["127.66.6.2".to_owned()]));
    assert_eq!(names(&after), names(&before));
}

#[test]
fn a_gateway_joining_or_leaving_the_group_moves_no_client() {
    let replicas = replicas(3);
    let (port, socket) = Port::new(&replicas);
    let _first = port.gateway(&socket, "127.66.7.1");
    let clients = clients(60, port.address);
    let before = ask_all(&clients, "x");

    let joined = port.another();
    let mut second = port.gateway(&joined, "127.66.7.2");
    let during = ask_all(&clients, "x");
    assert_eq!(gateways(&during).len(), 2, "the kernel reshuffled the clients");
    assert_eq!(names(&during), names(&before));

    second.signal(Signal::TERM);
    drop(joined);
    second.assert_ends_well();
    let after = ask_all(&clients, "x");
    assert_eq!(gateways(&after), BTreeSet::from(["127.66.7.1".to_owned()]));
    assert_eq!(names(&after), names(&before));
}

#[test]
fn a_successor_does_not_send_clients_back_to_a_vanished_replica() {
    let replicas = replicas(2);
    let (mut port, socket) = Port::new(&replicas);
    let mut first = port.gateway(&socket, "127.66.8.1");
    let clients = clients(20, port.address);
    ask_all(&clients, "x");
    first.kill();
    port.file.write(&[replicas[0].draining(), replicas[1].endpoint()]);
    let _second = port.gateway(&socket, "127.66.8.2");
    assert!(names(&ask_all(&clients, "x")).iter().all(|name| *name == "udp-1"));
}

#[test]
fn a_udp_gateway_does_not_outlive_its_supervisor() {
    let replicas = replicas(1);
    let (port, socket) = Port::new(&replicas);
    let mut process = port.gateway(&socket, "127.66.9.1");
    Client::new(port.address).ask("x");
    process.lose_supervisor();
    process.assert_ends_well();
    wait_until("the port is the supervisor's alone", || bind(port.address).local_addr().is_ok());
}
