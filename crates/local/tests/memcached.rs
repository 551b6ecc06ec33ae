//! The embedded memcached over real sockets: with the services' client, and with commands typed by hand.
//!
//! The transcripts are memcached 1.6's answers. To check them, set `MEMCACHED=host:port`: they then run against that
//! server, which must be empty.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{
    io::{BufRead as _, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use local::embedded::memcached::Server;
use memcache::exp::{MetaClientBuilder, Ttl};

fn server() -> Server {
    Server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Sends each text and reads as many bytes as the expected answer has; nothing may follow at the end.
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
    stream.write_all(b"quit\r\n").unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
}

#[tokio::test]
async fn the_services_client_works() {
    let server = server();
    let client = MetaClientBuilder::new().connect_async(server.address().to_string()).await.unwrap();
    client.noop().await.unwrap();
    assert_eq!(client.get(b"a").send().await.unwrap().value, None);
    client.set("c-\u{fc}:", b"1").ttl(Ttl::secs(60)).send().await.unwrap();
    assert_eq!(client.get("c-\u{fc}:").send().await.unwrap().value.unwrap(), b"1");
    client.set("gone", b"2").ttl(Ttl::secs(1)).send().await.unwrap();
    let deadline = clock::now() + Duration::from_secs(10);
    while client.get("gone").send().await.unwrap().value.is_some() {
        assert!(clock::now() < deadline, "it expires");
        tokio::task::yield_now().await;
    }
}

#[test]
fn commands_people_type_are_answered() {
    transcript(&[
        ("get a\r\n", "END\r\n"),
        ("set a 7 0 5\r\nhello\r\n", "STORED\r\n"),
        ("get a b\r\n", "VALUE a 7 5\r\nhello\r\nEND\r\n"),
        ("get\r\n", "ERROR\r\n"),
        ("delete a\r\n", "DELETED\r\n"),
        ("delete a\r\n", "NOT_FOUND\r\n"),
        ("set q 0 0 1 noreply\r\nx\r\nget q\r\n", "VALUE q 0 1\r\nx\r\nEND\r\n"),
        ("set gone 0 -1 1\r\nx\r\n", "STORED\r\n"),
        ("get gone\r\n", "END\r\n"),
        ("nonsense\r\n", "ERROR\r\n"),
        ("delete q\r\n", "DELETED\r\n"),
    ]);
}

/// What the clients of other programs send to read (`gets`), and to replace only what they have seen (`cas`).
#[test]
fn an_item_is_replaced_only_while_it_is_the_one_seen() {
    let embedded;
    let address = if let Ok(real) = std::env::var("MEMCACHED") {
        real.parse().unwrap()
    } else {
        embedded = server();
        embedded.address()
    };
    let mut stream = std::io::BufReader::new(connect(address));
    let mut say = |text: &str, lines: usize| {
        stream.get_mut().write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        for _ in 0..lines {
            stream.read_line(&mut answer).unwrap();
        }
        answer
    };
    assert_eq!(say("gets seen none\r\n", 1), "END\r\n");
    assert_eq!(say("gets\r\n", 1), "ERROR\r\n");
    assert_eq!(say("cas seen 0 0 1 1\r\nx\r\n", 1), "NOT_FOUND\r\n");
    assert_eq!(say("set seen 7 0 5\r\nfirst\r\n", 1), "STORED\r\n");
    let first = say("gets seen none\r\n", 3);
    let unique = first.strip_prefix("VALUE seen 7 5 ").unwrap().strip_suffix("\r\nfirst\r\nEND\r\n").unwrap();
    assert_eq!(say("gets seen\r\n", 3), first, "reading changes nothing");
    assert_eq!(say(&format!("cas seen 8 0 6 {unique}\r\nsecond\r\n"), 1), "STORED\r\n");
    assert_eq!(say(&format!("cas seen 9 0 5 {unique}\r\nthird\r\n"), 1), "EXISTS\r\n");
    assert_eq!(say("get seen\r\n", 3), "VALUE seen 8 6\r\nsecond\r\nEND\r\n");
    assert_ne!(say("gets seen\r\n", 3), format!("VALUE seen 8 6 {unique}\r\nsecond\r\nEND\r\n"));
    for bad in ["cas seen 0 0 1\r\nx\r\n", "cas seen 0 0 1 x\r\nx\r\n"] {
        let answer = say(bad, 1);
        assert!(answer == "ERROR\r\n" || answer.starts_with("CLIENT_ERROR"), "{bad:?}: {answer}");
        // A real server may take the data for a command.
        stream_settles(&mut say);
    }
    assert_eq!(say("cas seen 0 0 1 1 noreply\r\nx\r\nmn\r\n", 1), "MN\r\n");
    assert_eq!(say("delete seen\r\n", 1), "DELETED\r\n");
}

/// Reads on until a question has its answer.
fn stream_settles(say: &mut impl FnMut(&str, usize) -> String) {
    let mut answer = say("mn\r\n", 1);
    while answer != "MN\r\n" {
        answer = say("", 1);
    }
}

#[test]
fn commands_services_send_are_answered() {
    transcript(&[
        ("mg a v\r\n", "EN\r\n"),
        ("mg a v q\r\nmn\r\n", "MN\r\n"),
        ("ms a 5 F7\r\nhello\r\n", "HD\r\n"),
        ("ms a 5 F7 q\r\nhello\r\nmn\r\n", "MN\r\n"),
        ("mg a\r\n", "HD\r\n"),
        ("mg a v f k Oxyz s t\r\n", "VA 5 f7 ka Oxyz s5 t-1\r\nhello\r\n"),
        ("ms b 1 T100\r\nx\r\n", "HD\r\n"),
        ("mg b s v\r\n", "VA 1 s1\r\nx\r\n"),
        ("ms b 1 Tsoon\r\nx\r\n", "CLIENT_ERROR bad command line format\r\n"),
        ("md a q\r\nmn\r\n", "MN\r\n"),
        ("md a\r\n", "NF\r\n"),
        ("md b O7\r\n", "HD O7\r\n"),
    ]);
}

#[test]
fn unknown_commands_are_refused_and_change_nothing() {
    let server = server();
    let mut stream = connect(server.address());
    let text = "ms a 1\r\n1\r\nma a N0\r\nms a 1 ME\r\n2\r\nincr a 1\r\nmg a v N30\r\nget a\r\nquit\r\n";
    stream.write_all(text.as_bytes()).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    let refused =
        |name, flag| format!("CLIENT_ERROR {name}: the embedded memcached does not know the flag {flag}");
    let expected =
        ["HD", "ERROR", &refused("ms", "M"), "ERROR", &refused("mg", "N"), "VALUE a 0 1", "1", "END"];
    assert_eq!(answers.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_stop_refuses_clients_and_drops_the_contents_and_a_start_accepts_clients_again() {
    let mut server = server();
    let address = server.address();
    let mut stream = connect(address);
    stream.write_all(b"ms a 1\r\n1\r\n").unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
    for _ in 0..2 {
        server.stop().unwrap();
        server.stop().unwrap();
        assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0, "clients are cut off");
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        server.start_again().unwrap();
        server.start_again().unwrap();
        stream = connect(address);
        stream.write_all(b"mg a v\r\n").unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"EN\r\n");
    }
}

#[test]
fn an_answer_is_bounded_even_if_a_value_is_repeated() {
    let server = server();
    let mut stream = connect(server.address());
    stream.write_all(b"set a 0 0 1000000\r\n").unwrap();
    stream.write_all(&vec![b'x'; 1_000_000]).unwrap();
    stream.write_all(format!("\r\nget{}\r\nquit\r\n", " a".repeat(3000)).as_bytes()).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    assert_eq!(answers, "STORED\r\nSERVER_ERROR out of memory writing get response\r\n");
}

#[test]
fn commands_may_arrive_in_pieces_or_many_at_once() {
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
fn too_large_messages_are_refused_and_the_connection_continues() {
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
    // The connection may end with a reset, since the server did not read everything.
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
    stream.write_all(b"get key-999\r\n").unwrap();
    let expected = format!("VALUE key-999 0 1000\r\n{}\r\nEND\r\n", "x".repeat(1000));
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
    drop(server);
    assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0);
    drop(stream);
    drop(Server::bind(address).unwrap());
}
