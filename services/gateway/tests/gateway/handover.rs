//! Listeners that a supervisor keeps: a successor serves the connections that a gateway leaves queued.

use std::net::{SocketAddr, TcpListener};

use rustix::process::Signal;

use crate::process::Process;
use crate::support::{EndpointsFile, Replica, assert_echo, connect, endpoint};

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[test]
fn a_killed_gateways_queue_is_served_by_its_successor() {
    let replica = Replica::echo();
    let file = EndpointsFile::new(&[endpoint("tcp-0", replica.address)]);
    let (listener, address) = listener();
    let listeners = [listener];
    let mut first = Process::start(&listeners, &file);
    assert_echo(&connect(address), "by the first");

    first.kill();
    let waiting = connect(address);
    let _second = Process::start(&listeners, &file);
    assert_echo(&waiting, "by the second");
}

#[test]
fn a_draining_gateway_leaves_the_queue_to_its_successor() {
    let replica = Replica::echo();
    let file = EndpointsFile::new(&[endpoint("tcp-0", replica.address)]);
    let (listener, address) = listener();
    let listeners = [listener];
    let mut first = Process::start(&listeners, &file);
    let kept = connect(address);
    assert_echo(&kept, "by the first");

    first.signal(Signal::TERM);
    // The successor takes all new connections; the draining gateway keeps its own.
    let _second = Process::start(&listeners, &file);
    for _ in 0..20 {
        assert_echo(&connect(address), "by either, but by one");
    }
    assert_echo(&kept, "still by the first");
    drop(kept);
    first.assert_ends_well();
    assert_echo(&connect(address), "by the second");
}

#[test]
fn several_listeners_lead_to_the_same_cluster() {
    let replica = Replica::echo();
    let file = EndpointsFile::new(&[endpoint("tcp-0", replica.address)]);
    let ((one, first), (other, second)) = (listener(), listener());
    let _process = Process::start(&[one, other], &file);
    assert_echo(&connect(first), "one");
    assert_echo(&connect(second), "other");
}

#[test]
fn a_gateway_does_not_outlive_its_supervisor() {
    let replica = Replica::echo();
    let file = EndpointsFile::new(&[endpoint("tcp-0", replica.address)]);
    let (listener, address) = listener();
    let mut process = Process::start(&[listener], &file);
    let client = connect(address);
    assert_echo(&client, "while it lives");
    process.lose_supervisor();
    process.assert_ends_well();
    assert!(crate::support::is_closed(&client));
}
