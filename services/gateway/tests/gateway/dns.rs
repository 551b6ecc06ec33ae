//! Endpoints by DNS: answers are applied, and failures change nothing.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use crate::dns_server::{DnsServer, Say};
use crate::support::{PATIENCE, Readyz, Replica, Running, assert_echo, echo, settles, wait_until};

const NAME: &str = "tcp.playground.svc.cluster.local.";

fn ip(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

fn ips(last: &[u8]) -> Say {
    Say::Addresses(last.iter().copied().map(ip).collect())
}

/// Listeners at the same port of several addresses.
fn same_port<const N: usize>(addresses: [IpAddr; N]) -> [TcpListener; N] {
    loop {
        let port = TcpListener::bind((addresses[0], 0)).unwrap().local_addr().unwrap().port();
        let bound = addresses.map(|address| TcpListener::bind((address, port)));
        if bound.iter().all(Result::is_ok) {
            return bound.map(Result::unwrap);
        }
    }
}

/// Replicas at 127.0.0.1, 127.0.0.2, … and their port; each sends its address first.
fn replicas<const N: usize>() -> ([Replica; N], u16) {
    let listeners = same_port(std::array::from_fn(|index| ip(index as u8 + 1)));
    let port = listeners[0].local_addr().unwrap().port();
    (listeners.map(|listener| Replica::on(listener, echo)), port)
}

fn gateway(server: &DnsServer, port: u16, settings: &[(&str, &str)]) -> Running {
    let (name, address) = (format!("{NAME}:{port}"), server.address.to_string());
    let dns = [
        ("ENDPOINTS_DNS", name.as_str()),
        ("DNS_SERVER", address.as_str()),
        ("DNS_REFRESH", "20ms"),
        ("HEALTH_PORT", "0"),
    ];
    Running::start_with(&[&dns, settings].concat())
}

/// The endpoints in use, without those that only have old sessions.
fn in_use(running: &Running) -> BTreeSet<String> {
    let all = running.endpoints();
    let all = all["endpoints"].as_array().unwrap().iter().filter(|endpoint| endpoint["removed"] == false);
    all.map(|endpoint| endpoint["address"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn expect_in_use(running: &Running, addresses: &[SocketAddr]) {
    let addresses: BTreeSet<String> = addresses.iter().map(SocketAddr::to_string).collect();
    settles("the endpoints", addresses, || in_use(running));
}

/// Waits until a look-up that began after this call has ended, and one more has begun.
#[track_caller]
fn look_ups_go_on(server: &DnsServer) {
    let asked = server.asked();
    wait_until("two more look-ups", || server.asked() >= asked + 6);
}

#[test]
fn every_address_is_a_replica_and_changes_are_followed_despite_the_ttl() {
    let ([first, second], port) = replicas();
    let server = DnsServer::new(NAME, ips(&[1]));
    let running = gateway(&server, port, &[("POLICY", "round-robin")]);
    let kept = running.connect();
    assert_echo(&kept, "the first");
    running.expect_all_well();

    server.say(ips(&[1, 2]));
    expect_in_use(&running, &[first.address, second.address]);
    for _ in 0..10 {
        assert_echo(&running.connect(), "either");
    }
    assert_eq!(second.accepted(), 5);

    server.say(ips(&[2]));
    expect_in_use(&running, &[second.address]);
    let before = first.accepted();
    for _ in 0..10 {
        assert_echo(&running.connect(), "the second");
    }
    assert_eq!(first.accepted(), before, "it vanished");
    assert_echo(&kept, "what it has, it keeps");
    running.expect_backend("127.0.0.1", "removed", true);
    drop(kept);
    wait_until("it is forgotten with its last session", || running.backend("127.0.0.1").is_null());
    assert_eq!(running.metric("gateway_endpoints_version"), 3, "only changes are new versions");
}

#[test]
fn an_empty_or_missing_name_has_no_replicas() {
    let ([replica], port) = replicas();
    for says in [ips(&[]), Say::NoSuchName] {
        let server = DnsServer::new(NAME, ips(&[1]));
        let running = gateway(&server, port, &[]);
        let kept = running.connect();
        assert_echo(&kept, "before");
        server.say(says);
        expect_in_use(&running, &[]);
        running.expect_degraded(&format!("endpoints: {NAME} has no address"));
        assert_eq!(running.connect().read(&mut [0]).unwrap_or(0), 0, "it is closed");
        assert_echo(&kept, "what is there stays");
        server.say(ips(&[1]));
        expect_in_use(&running, &[replica.address]);
        running.expect_all_well();
        assert_echo(&running.connect(), "after");
    }
}

#[test]
fn a_failing_or_silent_dns_server_changes_nothing() {
    let ([replica], port) = replicas();
    let server = DnsServer::new(NAME, ips(&[1]));
    let running = gateway(&server, port, &[]);
    running.expect_all_well();
    for says in [Say::Fail, Say::Nothing] {
        server.say(says);
        running.expect_metric("gateway_endpoints_stale", 1);
        running.expect_degraded(&format!("endpoints: {NAME}: "));
        look_ups_go_on(&server);
        expect_in_use(&running, &[replica.address]);
        assert_echo(&running.connect(), "the last good state is in use");
        server.say(ips(&[1]));
        running.expect_metric("gateway_endpoints_stale", 0);
        running.expect_all_well();
    }
    assert_eq!(running.metric("gateway_endpoints_version"), 1);
}

#[test]
fn a_dns_failure_for_one_address_family_does_not_affect_the_other() {
    let ([first, second], port) = replicas();
    let server = DnsServer::new(NAME, Say::FailBeside(vec![ip(1)]));
    let running = gateway(&server, port, &[]);
    running.expect_all_well();
    expect_in_use(&running, &[first.address]);

    // Once the family has had addresses, a failure keeps them, and is reported.
    let v6: IpAddr = "::1".parse().unwrap();
    let at_v6 = SocketAddr::new(v6, port);
    server.say(Say::Addresses(vec![ip(1), v6]));
    expect_in_use(&running, &[first.address, at_v6]);
    server.say(Say::FailBeside(vec![ip(2)]));
    expect_in_use(&running, &[second.address, at_v6]);
    running.expect_degraded(&format!("endpoints: {NAME}: AAAA: "));
    server.say(ips(&[2]));
    expect_in_use(&running, &[second.address]);
    running.expect_all_well();
}

#[test]
fn long_dns_answers_arrive_over_tcp() {
    let addresses: Vec<IpAddr> = (0..1000_u16).map(|n| [127, 1, (n >> 8) as u8, n as u8].into()).collect();
    let server = DnsServer::new(NAME, Say::Addresses(addresses.clone()));
    let running = gateway(&server, 1, &[]);
    let expected: Vec<SocketAddr> = addresses.iter().map(|address| SocketAddr::new(*address, 1)).collect();
    expect_in_use(&running, &expected);
    assert!(server.streams() > 0);
}

#[test]
fn clients_wait_until_dns_has_answered() {
    let ([_replica], port) = replicas();
    let server = DnsServer::new(NAME, Say::Fail);
    let running = gateway(&server, port, &[]);
    let client = running.connect();
    running.expect_metric("gateway_endpoints_stale", 1);
    assert_eq!(running.get("/readyz").0, 503);
    server.say(ips(&[1]));
    assert_echo(&client, "it has");
    running.expect_all_well();
}

#[test]
fn a_drain_does_not_wait_for_a_silent_server() {
    let server = DnsServer::new(NAME, Say::Nothing);
    let running = gateway(&server, 1, &[]);
    wait_until("it was asked", || server.asked() > 0);
    running.shutdown.drain();
    running.join().unwrap();
}

#[test]
fn each_replica_is_checked_at_the_admin_port() {
    let ([first, second], port) = replicas();
    let [at_first, at_second] = same_port([ip(1), ip(2)]);
    let admin_port = at_first.local_addr().unwrap().port().to_string();
    let (_ready, unready) = (Readyz::on(at_first, 200), Readyz::on(at_second, 503));
    let server = DnsServer::new(NAME, ips(&[1, 2]));
    let running = gateway(&server, port, &[("HEALTH_PORT", &admin_port)]);
    running.expect_backend("127.0.0.1", "health", "healthy");
    running.expect_backend("127.0.0.2", "health", "unhealthy");
    for _ in 0..5 {
        assert_echo(&running.connect(), "the first");
    }
    assert_eq!((first.accepted(), second.accepted()), (5, 0));
    unready.answer(200);
    running.expect_backend("127.0.0.2", "health", "healthy");
}

#[test]
fn a_gateway_that_finds_itself_is_left_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let server = DnsServer::new(NAME, ips(&[1]));
    let port_text = port.to_string();
    let running = gateway(&server, port, &[("PORT", &port_text)]);
    running.expect_degraded("is this gateway itself");
    expect_in_use(&running, &[]);
}

#[test]
fn a_udp_session_leaves_a_replica_that_vanished() {
    let sockets = loop {
        let first = UdpSocket::bind("127.0.0.1:0").unwrap();
        if let Ok(second) = UdpSocket::bind(("127.0.0.2", first.local_addr().unwrap().port())) {
            break [first, second];
        }
    };
    let port = sockets[0].local_addr().unwrap().port();
    for (name, socket) in ["first", "second"].into_iter().zip(sockets) {
        std::thread::spawn(move || {
            let mut packet = [0; 64];
            while let Ok((_, client)) = socket.recv_from(&mut packet) {
                socket.send_to(name.as_bytes(), client).unwrap();
            }
        });
    }
    let server = DnsServer::new(NAME, ips(&[1]));
    let running = gateway(&server, port, &[("PROTOCOL", "UDP")]);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(running.address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let ask = || {
        client.send(b"who").unwrap();
        let mut answer = [0; 64];
        let length = client.recv(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    };
    assert_eq!(ask(), "first");
    server.say(ips(&[1, 2]));
    expect_in_use(&running, &[SocketAddr::new(ip(1), port), SocketAddr::new(ip(2), port)]);
    assert_eq!(ask(), "first", "nothing moves without need");
    server.say(ips(&[2]));
    expect_in_use(&running, &[SocketAddr::new(ip(2), port)]);
    assert_eq!(ask(), "second");
}

#[test]
fn replicas_found_by_dns_are_reached_over_ipv6_too() {
    let v6: IpAddr = "::1".parse().unwrap();
    let Some(listener) = fixtures::over_ipv6(TcpListener::bind((v6, 0))) else { return };
    let port = listener.local_addr().unwrap().port();
    let _replica = Replica::on(listener, echo);
    let server = DnsServer::new(NAME, Say::Addresses(vec![v6]));
    let running = gateway(&server, port, &[]);
    assert_echo(&TcpStream::connect(running.address).unwrap(), "over IPv6");
}
