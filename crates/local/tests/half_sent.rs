//! Ten thousand clients that send half a request, at each embedded part in turn, cost little memory and do not block
//! others. A separate test binary, because the test measures the whole process.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]
#![expect(clippy::print_stdout, reason = "the figures are shown with --nocapture")]

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use local::embedded::{elasticsearch, kafka, memcached, redis};
use rustix::process::{Resource, getrlimit};
use socket2::{Domain, Socket, Type};

const CLIENTS: usize = 10_000;
/// Open files of the servers in addition to the clients' own: each of Kafka's 2,048 clients takes one until it has
/// completed a request.
const FILES_BESIDE: usize = 5_000;
/// How much each client sends of the mebibyte that it announces.
const HALF: usize = 100_000;
const MEBIBYTE: u64 = 1024 * 1024;
const ALLOWED: u64 = 64 * MEBIBYTE;
const PATIENCE: Duration = Duration::from_mins(1);

/// A value of `/proc/self/status`, in bytes.
fn memory(key: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Sends as much as the server takes. It is no error if the server has dropped the client.
fn push(stream: &mut TcpStream, mut bytes: &[u8]) {
    let deadline = clock::now() + PATIENCE;
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                assert!(clock::now() < deadline, "a server that neither reads nor closes");
                std::thread::yield_now();
            }
            Err(_) => return,
        }
    }
}

/// `request`: the beginning of one. `is_served`: whether a well-behaved client is served.
fn attack(name: &str, address: SocketAddr, request: &[u8], is_served: impl Fn()) {
    is_served();
    let files = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |most| most as usize);
    let clients = CLIENTS.min(files.saturating_sub(FILES_BESIDE));
    assert!(clients >= 1000, "{files} open files are too few for this test");
    let idle = memory("VmRSS");
    // Resets the peak.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let mut attackers = Vec::with_capacity(clients);
    for number in 0..clients {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nonblocking(true).unwrap();
        push(&mut stream, request);
        attackers.push(stream);
        if number % 1000 == 999 {
            is_served();
        }
    }
    is_served();
    // The first clients were dropped long ago; none of the others keeps its place for ever.
    let first = &mut attackers[0];
    first.set_nonblocking(false).unwrap();
    first.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(
        !matches!(first.read(&mut [0; 64]), Err(error) if error.kind() == ErrorKind::WouldBlock),
        "{name}"
    );
    drop(attackers);
    is_served();
    check_peak(name, idle);
}

/// `idle`: the memory of the process before.
fn check_peak(name: &str, idle: u64) {
    let above_idle = |key| memory(key).saturating_sub(idle) / MEBIBYTE;
    let (peak, now) = (above_idle("VmHWM"), above_idle("VmRSS"));
    assert!(peak <= ALLOWED / MEBIBYTE, "{name}: {peak} MiB above idle");
    println!("{name}: at most {peak} MiB above idle, {now} MiB afterwards");
}

/// Clients that subscribe and never read, each to its own channel.
fn attack_by_subscribing(address: SocketAddr) {
    // Without a bound, far more than the allowed bytes would wait for them.
    const SUBSCRIBERS: usize = 5;
    const MESSAGES: usize = 400;
    let payload = vec![b'x'; 60_000];
    let idle = memory("VmRSS");
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let mut publisher = TcpStream::connect(address).unwrap();
    publisher.set_read_timeout(Some(PATIENCE)).unwrap();
    publisher.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut subscribers = Vec::new();
    for number in 0..SUBSCRIBERS {
        let subscriber = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        // The kernel buffers little for it.
        subscriber.set_recv_buffer_size(64 * 1024).unwrap();
        subscriber.set_read_timeout(Some(PATIENCE)).unwrap();
        subscriber.connect(&address.into()).unwrap();
        let mut subscriber = TcpStream::from(subscriber);
        subscriber.write_all(format!("SUBSCRIBE channel-{number}\r\n").as_bytes()).unwrap();
        // It is subscribed once its answer has arrived.
        assert!(subscriber.read(&mut [0; 256]).unwrap() > 0);
        subscribers.push(subscriber);
        let head =
            format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\nchannel-{number}\r\n", format!("channel-{number}").len());
        let publish = [head.as_bytes(), b"$60000\r\n", &payload, b"\r\n"].concat();
        for _ in 0..MESSAGES {
            publisher.write_all(&publish).unwrap();
            assert!(publisher.read(&mut [0; 64]).unwrap() > 0);
        }
    }
    drop(subscribers);
    check_peak("Redis' subscribers", idle);
}

/// A command's name that is not text and has the maximum length of a word.
fn attack_by_a_name(address: SocketAddr) {
    const LENGTH: usize = 8_000_000;
    let idle = memory("VmRSS");
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(format!("*1\r\n${LENGTH}\r\n").as_bytes()).unwrap();
    client.write_all(&vec![0xff; LENGTH]).unwrap();
    client.write_all(b"\r\n").unwrap();
    let mut answer = [0; 1024];
    let read = client.read(&mut answer).unwrap();
    assert!(answer[..read].ends_with(b"\r\n"), "a short answer");
    check_peak("Redis' long names", idle);
}

/// Sends a request; returns whether its answer contains this.
fn answers(address: SocketAddr, request: &[u8], expected: &str) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = [0; 4096];
    let read = stream.read(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(answer.contains(expected), "{answer:?}");
}

#[test]
fn half_sent_requests_cost_little_memory_and_block_no_client() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let filling = vec![b'x'; HALF];

    let memcached = memcached::Server::bind(any).unwrap();
    let address = memcached.address();
    attack("memcached", address, &[b"set a 0 0 1000000\r\n", &filling[..]].concat(), || {
        answers(address, b"ms mine 1\r\n1\r\n", "HD\r\n");
    });
    drop(memcached);

    let directory = tempfile::tempdir().unwrap();
    let elasticsearch = elasticsearch::Server::bind(any, directory.path().join("documents")).unwrap();
    let address = elasticsearch.address();
    let head = b"POST /_bulk HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n";
    attack("Elasticsearch", address, &[head, &filling[..]].concat(), || {
        answers(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "x-elastic-product");
    });
    // A client with an incomplete head holds the part that was read.
    attack(
        "Elasticsearch's heads",
        address,
        &[&head[..head.len() - 2], b"X: ", &filling[..12_000]].concat(),
        || {
            answers(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "x-elastic-product");
        },
    );
    drop(elasticsearch);

    let redis = redis::Server::bind(any).unwrap();
    let address = redis.address();
    let ping = || answers(address, b"PING\r\n", "+PONG");
    attack("Redis", address, &[b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1000000\r\n", &filling[..]].concat(), ping);
    attack_by_subscribing(address);
    attack_by_a_name(address);
    ping();
    drop(redis);

    let kafka = kafka::Broker::start(&["general-logs"]).unwrap();
    let address: SocketAddr = kafka.bootstrap_servers().parse().unwrap();
    let header =
        |length: u32, key: u8| [&length.to_be_bytes()[..], &[0, key, 0, 0, 0, 0, 0, 7, 0, 0]].concat();
    attack("Kafka", address, &[&header(1_048_576, 0)[..], &filling[..]].concat(), || {
        // Asks for the versions of its requests.
        answers(address, &header(10, 18), "\0\0\0\x07");
    });
}
