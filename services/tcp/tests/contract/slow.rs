//! Clients that do not read.

use std::io::{ErrorKind, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Client, Connect as _, Kafka, eventually, settings, start};

const BROADCAST_BYTES: usize = 4096;
/// 4 MiB in all: far more than the kernel should hold for a client that does not read, and less than the mock broker
/// keeps.
const BROADCASTS: u64 = 1000;

#[test]
fn queues_for_slow_readers_are_bounded_and_excess_is_dropped_and_counted() {
    const CLIENTS: u64 = 10;
    let kafka = Kafka::start();
    let server = start(tcp::Settings {
        kafka: Some(kafka.settings()),
        write_timeout: Duration::from_hours(1),
        ..settings()
    });
    server.expect_all_well();
    let mut slow: Vec<Client> = (0..CLIENTS).map(|_| Client::narrow(server.address)).collect();
    slow.iter_mut().for_each(Client::expect_nothing_waits);
    let already_sent = server.metric("tcp_sent_bytes_total");
    let value = vec![b'x'; BROADCAST_BYTES];
    for _ in 0..BROADCASTS {
        kafka.publish(&value);
    }
    kafka.flush();
    eventually("all broadcasts are dealt with", || {
        let delivered = server.metric("tcp_broadcast_deliveries_total");
        delivered + server.metric("tcp_broadcast_drops_total") == CLIENTS * BROADCASTS
    });
    assert!(server.metric("tcp_broadcast_drops_total") > 0);
    let delivered = server.metric("tcp_broadcast_deliveries_total") * BROADCAST_BYTES as u64;
    let sent = server.metric("tcp_sent_bytes_total") - already_sent;
    let waiting = (delivered - sent) / CLIENTS;
    assert!(waiting <= 64 * 1024, "{waiting} bytes wait for each");
    let arrived: u64 = slow.iter().map(|client| rustix::io::ioctl_fionread(&client.stream).unwrap()).sum();
    let in_kernel = (sent - arrived) / CLIENTS;
    assert!(in_kernel <= 128 * 1024, "{in_kernel} bytes are in the server's send buffer for each");

    // Their commands wait meanwhile, and continue once they read.
    for client in &mut slow {
        client.send("WHY");
    }
    // Later commands of others are answered; by the second answer, the counts of earlier events are up to date.
    let mut other = server.client();
    other.expect_nothing_waits();
    other.expect_nothing_waits();
    assert_eq!(server.metric("tcp_commands_total{command=\"WHY\"}"), 0);
    for client in &mut slow {
        let mut reply = vec![0; BROADCAST_BYTES];
        loop {
            client.stream.read_exact(&mut reply[..2]).expect("a broadcast, or the reply");
            if &reply[..2] == b"42" {
                break;
            }
            client.stream.read_exact(&mut reply[2..]).expect("the rest of a broadcast");
            assert!(reply == value);
        }
    }
}

#[test]
fn a_slow_reader_is_closed_and_the_others_get_everything() {
    const COUNT: usize = 600;
    /// Twice as many are at most 48 KiB.
    const AT_ONCE: usize = 6;
    let kafka = Kafka::start();
    let server = start(tcp::Settings {
        kafka: Some(kafka.settings()),
        // Longer than a busy machine can delay the other readers.
        write_timeout: Duration::from_secs(4),
        ..settings()
    });
    server.expect_all_well();
    let mut slow = Client::narrow(server.address);
    let mut others: Vec<Client> = (0..3).map(|_| server.client()).collect();
    slow.expect_nothing_waits();
    others.iter_mut().for_each(Client::expect_nothing_waits);
    let value = vec![b'y'; BROADCAST_BYTES];
    let got: Arc<[AtomicUsize]> = others.iter().map(|_| AtomicUsize::new(0)).collect();
    let readers: Vec<_> = others
        .into_iter()
        .enumerate()
        .map(|(reader, mut other)| {
            let (value, got) = (value.clone(), Arc::clone(&got));
            std::thread::spawn(move || {
                for _ in 0..COUNT {
                    other.expect(&value);
                    got[reader].fetch_add(1, Ordering::Relaxed);
                }
                other.expect_nothing_waits();
            })
        })
        .collect();
    for number in 0..COUNT {
        // At the readers' pace, so that their queues do not fill up.
        if number % AT_ONCE == 0 {
            kafka.flush();
            let follows = |got: &AtomicUsize| got.load(Ordering::Relaxed) + AT_ONCE >= number;
            eventually("the others follow", || got.iter().all(follows));
        }
        kafka.publish(&value);
    }
    for reader in readers {
        reader.join().expect("the others got everything");
    }
    server.expect_metric("tcp_connections_closed_total{reason=\"slow\"}", 1);
    // Reset, so that the kernel keeps no unread output.
    let rest = std::io::copy(&mut slow.stream, &mut std::io::sink());
    assert_eq!(rest.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_broadcast_larger_than_the_queue_reaches_no_client_and_breaks_nothing() {
    let kafka = Kafka::start();
    let server = start(tcp::Settings { kafka: Some(kafka.settings()), ..settings() });
    server.expect_all_well();
    let mut client = server.client();
    client.expect_nothing_waits();
    kafka.publish(&vec![b'z'; 70_000]);
    server.expect_metric("tcp_broadcast_drops_total", 1);
    client.expect_nothing_waits();
}
