use std::net::Ipv6Addr;
use std::time::Duration;

use super::*;

/// Two sockets of one family; loopback delivers before the sender's call returns.
fn pair(ip: &str) -> (UdpSocket, UdpSocket) {
    let bind = || UdpSocket::bind((ip, 0)).unwrap();
    let (ours, theirs) = (bind(), bind());
    theirs.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    (ours, theirs)
}

fn echo<P: Peer>(ip: &str) {
    let (ours, theirs) = pair(ip);
    let (mut inbound, mut outbound) = (Inbound::<P>::new(32), Outbound::<P>::new());
    for round in 0..3 {
        let count = [1, BATCH, 5][round];
        for number in 0..count {
            theirs.send_to(format!("{round} {number}").as_bytes(), ours.local_addr().unwrap()).unwrap();
        }
        assert_eq!(inbound.receive(&ours).unwrap(), count);
        let mut batch = outbound.batch();
        assert!(batch.is_empty());
        for datagram in inbound.datagrams() {
            assert_eq!(datagram.peer.address(), theirs.local_addr().unwrap());
            assert!(!datagram.truncated);
            assert!(batch.push(datagram.bytes, datagram.peer));
        }
        let sent = batch.send(&ours);
        assert_eq!((sent.datagrams, sent.failed), (count as u64, 0));
        let mut bytes = 0;
        for number in 0..count {
            let mut buffer = [0; 64];
            let length = theirs.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], format!("{round} {number}").as_bytes());
            bytes += length as u64;
        }
        assert_eq!(sent.bytes, bytes);
    }
    assert_eq!(inbound.receive(&ours).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(inbound.datagrams().len(), 0);
}

#[test]
fn batches_of_any_size_are_sent_and_received() {
    echo::<SocketAddrV4>("127.0.0.1");
    echo::<SocketAddr>("127.0.0.1");
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        echo::<SocketAddrV6>("::1");
        echo::<SocketAddr>("::1");
    }
}

#[test]
fn too_long_packets_are_cut_and_marked_as_cut() {
    let (ours, theirs) = pair("127.0.0.1");
    let mut inbound = Inbound::<SocketAddrV4>::new(4);
    for bytes in [&b""[..], b"1234", b"12345"] {
        theirs.send_to(bytes, ours.local_addr().unwrap()).unwrap();
    }
    assert_eq!(inbound.receive(&ours).unwrap(), 3);
    let seen: Vec<_> = inbound.datagrams().map(|datagram| (datagram.bytes, datagram.truncated)).collect();
    assert_eq!(seen, [(&b""[..], false), (b"1234", false), (b"1234", true)]);
}

#[test]
fn an_unsendable_packet_does_not_block_the_others() {
    let (ours, theirs) = pair("127.0.0.1");
    let peer = SocketAddrV4::of(theirs.local_addr().unwrap()).unwrap();
    let nobody = SocketAddrV4::new(*peer.ip(), 0);
    let mut outbound = Outbound::<SocketAddrV4>::new();
    let mut batch = outbound.batch();
    for (bytes, peer) in [(b"a", nobody), (b"b", peer), (b"c", nobody), (b"d", peer), (b"e", nobody)] {
        assert!(batch.push(bytes, peer));
    }
    assert_eq!(batch.send(&ours), Sent { datagrams: 2, bytes: 2, failed: 3 });
    for expected in [b"b", b"d"] {
        let mut buffer = [0; 8];
        assert_eq!(theirs.recv(&mut buffer).unwrap(), 1);
        assert_eq!(&buffer[..1], expected);
    }
}

#[test]
fn a_full_batch_rejects_packets() {
    let (ours, theirs) = pair("127.0.0.1");
    let mut outbound = Outbound::<SocketAddrV4>::new();
    let peer = SocketAddrV4::of(theirs.local_addr().unwrap()).unwrap();
    let mut batch = outbound.batch();
    for _ in 0..BATCH {
        assert!(batch.push(b"x", peer));
    }
    assert!(!batch.push(b"x", peer));
    assert_eq!(batch.send(&ours).datagrams, BATCH as u64);
}
