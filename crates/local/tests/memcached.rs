//! The embedded memcached over real sockets: with the client that the services use, and as it is typed by hand.
//!
//! The transcripts say what memcached 1.6 answers; with `MEMCACHED=host:port` in the environment they run against
//! that server instead (it must be empty), which keeps them honest.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use local::embedded::memcached::Server;
use memcache::exp::{AsyncMemcache, Ttl};

fn server() -> Server {
    Server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Sends each text and reads as many bytes as the expected answer has; at the end nothing more may come.
fn transcript(steps: &[(&str, &str)]) {
    let embedded;
    let address = if let Ok(real) = std::env::var("MEMCACHED") {
        real.parse().unwrap()
    } else {
        embedded = server();
        embedded.address()
    };
    let mut stream = connect(address);
    for (text, expected) in steps.iter().chain(&[("mn\r\n", "MN\r\n")]) {
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = vec![0; expected.len()];
        let read = stream.read_exact(&mut answer);
        assert_eq!(String::from_utf8_lossy(&answer), *expected, "to {text:?} ({read:?})");
    }
    stream.write_all(b"flush_all\r\nquit\r\n").unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "OK\r\n");
}

#[tokio::test]
async fn the_services_client_works() {
    let server = server();
    let cache = AsyncMemcache::connect([server.address().to_string()]).await.unwrap();
    let minute = Ttl::secs(60);
    assert_eq!(cache.get::<String>("a").await.unwrap(), None);
    cache.set("a", "1", minute).await.unwrap();
    assert_eq!(cache.get::<String>("a").await.unwrap().as_deref(), Some("1"));
    assert!(!cache.add("a", "2", minute).await.unwrap());
    assert!(cache.add("b", "2", minute).await.unwrap());
    assert!(!cache.replace("c", "3", minute).await.unwrap());
    assert_eq!(cache.get_many::<String, _>(["a", "b", "c"]).await.unwrap().len(), 2);
    cache.append("b", b"x", minute).await.unwrap();
    assert_eq!(cache.take::<String>("b").await.unwrap().as_deref(), Some("2x"));
    assert_eq!(cache.get::<String>("b").await.unwrap(), None);
    assert_eq!(cache.incr("n", 5, minute).await.unwrap(), 5);
    assert_eq!(cache.incr("n", 5, minute).await.unwrap(), 10);
    assert_eq!(cache.decr("n", 100, minute).await.unwrap(), 0);
    let updated = cache.update("u", minute, |old: Option<u64>| old.unwrap_or(40) + 1).await.unwrap();
    assert_eq!(updated, 41);
    cache.delete("a").await.unwrap();
    assert_eq!(cache.get::<String>("a").await.unwrap(), None);
    cache.set(b"bytes \x00\xff".as_slice(), "binary key", minute).await.unwrap();
    assert_eq!(
        cache.get::<String>(b"bytes \x00\xff".as_slice()).await.unwrap().as_deref(),
        Some("binary key")
    );
    assert!(cache.inspect("u").await.unwrap().is_some());
}

/// Two clients, so that the server's leases have to keep them apart.
#[tokio::test]
async fn a_stampede_is_one_computation() {
    let server = server();
    let computed = Arc::new(AtomicU32::new(0));
    let fetch = async |cache: &AsyncMemcache| {
        let computed = Arc::clone(&computed);
        let compute = async move {
            computed.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok::<_, std::io::Error>("done".to_owned())
        };
        cache.fetch::<String, _, _>("report", Ttl::secs(60), compute).await.unwrap()
    };
    let one = AsyncMemcache::connect([server.address().to_string()]).await.unwrap();
    let two = AsyncMemcache::connect([server.address().to_string()]).await.unwrap();
    let results = tokio::join!(fetch(&one), fetch(&two), fetch(&two));
    assert_eq!(results, ("done".to_owned(), "done".to_owned(), "done".to_owned()));
    assert_eq!(computed.load(Ordering::SeqCst), 1);
}

#[test]
fn classic_commands() {
    transcript(&[
        ("get a\r\n", "END\r\n"),
        ("set a 7 0 5\r\nhello\r\n", "STORED\r\n"),
        ("get a b\r\n", "VALUE a 7 5\r\nhello\r\nEND\r\n"),
        ("add a 0 0 1\r\nx\r\n", "NOT_STORED\r\n"),
        ("replace b 0 0 1\r\nx\r\n", "NOT_STORED\r\n"),
        ("append a 0 0 1\r\n!\r\nprepend a 0 0 1\r\n>\r\n", "STORED\r\nSTORED\r\n"),
        ("get a\r\n", "VALUE a 7 7\r\n>hello!\r\nEND\r\n"),
        ("set n 0 0 2\r\n10\r\n", "STORED\r\n"),
        ("incr n 5\r\n", "15\r\n"),
        ("decr n 20\r\n", "0\r\n"),
        ("incr a 1\r\n", "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"),
        ("incr none 1\r\n", "NOT_FOUND\r\n"),
        ("touch a 100\r\n", "TOUCHED\r\n"),
        ("touch none 100\r\n", "NOT_FOUND\r\n"),
        ("gat 100 a\r\n", "VALUE a 7 7\r\n>hello!\r\nEND\r\n"),
        ("cas none 0 0 1 1\r\nx\r\n", "NOT_FOUND\r\n"),
        ("cas a 0 0 1 999999\r\nx\r\n", "EXISTS\r\n"),
        ("delete a\r\n", "DELETED\r\n"),
        ("delete a\r\n", "NOT_FOUND\r\n"),
        ("set q 0 0 1 noreply\r\nx\r\nget q\r\n", "VALUE q 0 1\r\nx\r\nEND\r\n"),
        ("set gone 0 -1 1\r\nx\r\n", "STORED\r\n"),
        ("get gone\r\n", "END\r\n"),
        ("verbosity 1\r\n", "OK\r\n"),
        ("nonsense\r\n", "ERROR\r\n"),
        ("flush_all\r\n", "OK\r\n"),
        ("get q n\r\n", "END\r\n"),
    ]);
}

#[test]
fn meta_commands() {
    transcript(&[
        ("mg a v\r\n", "EN\r\n"),
        ("mg a v q\r\nmn\r\n", "MN\r\n"),
        ("ms a 5 F7\r\nhello\r\n", "HD\r\n"),
        ("mg a\r\n", "HD\r\n"),
        ("mg a v f k Oxyz s t\r\n", "VA 5 f7 ka Oxyz s5 t-1\r\nhello\r\n"),
        ("ms a 1 ME\r\nx\r\n", "NS\r\n"),
        ("ms b 1 MR\r\nx\r\n", "NS\r\n"),
        ("ms a 1 MA\r\n!\r\nmg a v\r\n", "HD\r\nVA 6\r\nhello!\r\n"),
        ("ms a 1 MP\r\n>\r\nmg a v\r\n", "HD\r\nVA 7\r\n>hello!\r\n"),
        ("ms a 1 C999999\r\nx\r\n", "EX\r\n"),
        ("ms none 1 C1\r\nx\r\n", "NF\r\n"),
        ("ma n\r\n", "NF\r\n"),
        ("ma n N0 J13 v\r\n", "VA 2\r\n13\r\n"),
        ("ma n v D7\r\n", "VA 2\r\n20\r\n"),
        ("ma n v MD D100\r\n", "VA 1\r\n0\r\n"),
        ("ma a\r\n", "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"),
        ("md n q\r\nmn\r\n", "MN\r\n"),
        ("md n\r\n", "NF\r\n"),
        ("ms Zm9v 3 b\r\nbar\r\n", "HD\r\n"),
        ("mg foo v\r\n", "VA 3\r\nbar\r\n"),
        ("mg Zm9v v k b\r\n", "VA 3 kZm9v b\r\nbar\r\n"),
        // A lease: the first to miss makes the item, others are told that somebody does.
        ("mg lease N30 v\r\n", "VA 0 W\r\n\r\n"),
        ("mg lease N30 v\r\n", "VA 0 Z\r\n\r\n"),
        // Soft invalidation: the first reader renews, all get the old value meanwhile.
        ("ms stale 3 T100\r\nold\r\n", "HD\r\n"),
        ("md stale I T30\r\n", "HD\r\n"),
        ("mg stale v\r\n", "VA 3 X W\r\nold\r\n"),
        ("mg stale v\r\n", "VA 3 Z X\r\nold\r\n"),
        ("me none\r\n", "EN\r\n"),
    ]);
}

#[test]
fn commands_may_come_in_pieces_and_many_at_once() {
    let server = server();
    let mut stream = connect(server.address());
    for piece in [&b"set a 0"[..], b" 0 4\r", b"\nab", b"cd", b"\r\nget ", b"a\r\n"] {
        stream.write_all(piece).unwrap();
        stream.flush().unwrap();
    }
    let expected = "STORED\r\nVALUE a 0 4\r\nabcd\r\nEND\r\n";
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), expected);

    let many = 20_000;
    let writer = stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| (&writer).write_all("mg a v\r\n".repeat(many).as_bytes()).unwrap());
        let mut answers = vec![0; "VA 4\r\nabcd\r\n".len() * many];
        stream.read_exact(&mut answers).unwrap();
        assert_eq!(answers, "VA 4\r\nabcd\r\n".repeat(many).as_bytes());
    });
}

#[test]
fn what_is_too_large_is_refused_and_the_connection_goes_on() {
    let server = server();
    let mut stream = connect(server.address());
    stream.write_all(b"set big 0 0 2000000\r\n").unwrap();
    stream.write_all(&vec![b'x'; 2_000_000]).unwrap();
    stream.write_all(b"\r\nget big\r\n").unwrap();
    let expected = "SERVER_ERROR object too large for cache\r\nEND\r\n";
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), expected);

    stream.write_all(&vec![b'x'; 70_000]).unwrap();
    let mut rest = String::new();
    // The end may come as a reset, since not all was read.
    let _ = stream.read_to_string(&mut rest);
    assert_eq!(rest, "CLIENT_ERROR line too long\r\n");
}

#[test]
fn memory_stays_bounded() {
    let server = Server::with_memory(SocketAddr::from(([127, 0, 0, 1], 0)), 100_000).unwrap();
    let mut stream = connect(server.address());
    for number in 0..1000 {
        stream
            .write_all(format!("set key-{number} 0 0 1000 noreply\r\n{}\r\n", "x".repeat(1000)).as_bytes())
            .unwrap();
    }
    stream.write_all(b"get key-0\r\nget key-999\r\n").unwrap();
    let expected = format!("END\r\nVALUE key-999 0 1000\r\n{}\r\nEND\r\n", "x".repeat(1000));
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), expected);
    stream.write_all(b"stats\r\nquit\r\n").unwrap();
    let mut stats = String::new();
    stream.read_to_string(&mut stats).unwrap();
    let bytes = stats.lines().find_map(|line| line.strip_prefix("STAT bytes ")).unwrap();
    assert!(bytes.parse::<u32>().unwrap() <= 100_000, "{stats}");
}

#[test]
fn dropping_the_server_frees_its_address_and_ends_its_clients() {
    let server = server();
    let address = server.address();
    let mut stream = connect(address);
    stream.write_all(b"mn\r\n").unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
    let started = Instant::now();
    drop(server);
    assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0);
    assert!(started.elapsed() < Duration::from_secs(5));
    drop(stream);
    drop(Server::bind(address).unwrap());
}
