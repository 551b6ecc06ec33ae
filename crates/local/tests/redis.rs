//! The embedded Redis over real sockets. With `TEST_REDIS=redis-server` the same conversations run against a real one,
//! which checks the expected answers.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use local::embedded::redis::Server;

const DEADLINE: Duration = Duration::from_mins(1);

/// The server under test: the embedded one, or a real one.
struct Redis {
    address: SocketAddr,
    embedded: Option<Server>,
    real: Option<Child>,
}

impl Redis {
    fn start() -> Self {
        match std::env::var_os("TEST_REDIS") {
            None => Self::embedded(),
            Some(program) => {
                let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                let address = free.local_addr().unwrap();
                drop(free);
                let port = address.port().to_string();
                let child = Command::new(program)
                    .args(["--bind", "127.0.0.1", "--port", &port, "--save", ""])
                    .stdout(Stdio::null())
                    .spawn()
                    .unwrap();
                let deadline = clock::now() + DEADLINE;
                while TcpStream::connect(address).is_err() {
                    assert!(clock::now() < deadline, "redis-server does not listen");
                    std::thread::yield_now();
                }
                Self { address, embedded: None, real: Some(child) }
            }
        }
    }

    fn embedded() -> Self {
        let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        Self { address: server.address(), embedded: Some(server), real: None }
    }

    fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Client(BufReader::new(stream))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(child) = &mut self.real {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn send(&mut self, words: &[&str]) {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            // Writing to a vector cannot fail.
            let _ = write!(request, "${}\r\n{word}\r\n", word.len());
        }
        self.0.get_mut().write_all(&request).unwrap();
    }

    /// One answer, on one line: `+OK`, `:2`, `$1 v`, `*2 $1 a $-1`.
    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let line = line.trim_end().to_owned();
        match line.split_at(1) {
            (kind @ ("*" | ">" | "%"), count) => {
                let count = count.parse::<i64>().unwrap() * if kind == "%" { 2 } else { 1 };
                let parts = (0..count).map(|_| self.hear());
                std::iter::once(line.clone()).chain(parts.collect::<Vec<_>>()).collect::<Vec<_>>().join(" ")
            }
            ("$", length) if length != "-1" => {
                let mut value = vec![0; length.parse::<usize>().unwrap() + 2];
                self.0.read_exact(&mut value).unwrap();
                format!("{line} {}", String::from_utf8_lossy(&value[..value.len() - 2]))
            }
            _ => line,
        }
    }

    /// Sends a command whose words are separated by single spaces, and returns the answer.
    fn say(&mut self, words: &str) -> String {
        self.send(&words.split(' ').collect::<Vec<_>>());
        self.hear()
    }

    fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0; 64]), Ok(0) | Err(_))
    }
}

#[test]
fn commands_answer_as_redis_does() {
    let redis = Redis::start();
    let mut client = redis.connect();
    for (words, expected) in [
        ("ping", "+PONG"),
        ("PING hi", "$2 hi"),
        ("select 0", "+OK"),
        ("select 99", "-ERR DB index is out of range"),
        ("set k v", "+OK"),
        ("set k w nx", "$-1"),
        ("get k", "$1 v"),
        ("set other w xx", "$-1"),
        ("set k w xx px 150000", "+OK"),
        ("get k", "$1 w"),
        ("ttl k", ":150"),
        ("set k w", "+OK"),
        ("ttl k", ":-1"),
        ("pttl k", ":-1"),
        ("ttl none", ":-2"),
        ("set k w ex 0", "-ERR invalid expire time in 'set' command"),
        ("set k w px -1", "-ERR invalid expire time in 'set' command"),
        ("set k w ex x", "-ERR value is not an integer or out of range"),
        ("set k w ex", "-ERR syntax error"),
        ("set k w nx xx", "-ERR syntax error"),
        ("set k w never", "-ERR syntax error"),
        ("set k", "-ERR wrong number of arguments for 'set' command"),
        ("get", "-ERR wrong number of arguments for 'get' command"),
        ("setex k 150 w", "+OK"),
        ("ttl k", ":150"),
        ("psetex k 150000 w", "+OK"),
        ("ttl k", ":150"),
        ("setex k 0 w", "-ERR invalid expire time in 'setex' command"),
        ("psetex k -1 w", "-ERR invalid expire time in 'psetex' command"),
        ("setex k x w", "-ERR value is not an integer or out of range"),
        ("setex k 1", "-ERR wrong number of arguments for 'setex' command"),
        ("mget k none k", "*3 $1 w $-1 $1 w"),
        ("mget", "-ERR wrong number of arguments for 'mget' command"),
        ("exists k k none", ":2"),
        ("expire k 100", ":1"),
        ("expire none 100", ":0"),
        ("expire k soon", "-ERR value is not an integer or out of range"),
        ("ttl k", ":100"),
        ("pexpire k -1", ":1"),
        ("get k", "$-1"),
        ("set a 1", "+OK"),
        ("set b 2", "+OK"),
        ("dbsize", ":2"),
        ("keys a*", "*1 $1 a"),
        ("keys [c-z]", "*0"),
        ("scan 0 match b count 100", "*2 $1 0 *1 $1 b"),
        ("scan x", "-ERR invalid cursor"),
        ("scan 0 count 0", "-ERR syntax error"),
        ("scan 0 match", "-ERR syntax error"),
        ("del a b c", ":2"),
        ("unlink a", ":0"),
        ("publish nobody hi", ":0"),
        ("unsubscribe", "*3 $11 unsubscribe $-1 :0"),
    ] {
        assert_eq!(client.say(words), expected, "{words}");
    }
}

#[test]
fn a_transaction_is_atomic_unless_a_watched_key_has_changed() {
    let redis = Redis::start();
    let (mut client, mut other) = (redis.connect(), redis.connect());
    for (words, expected) in [
        ("exec", "-ERR EXEC without MULTI"),
        ("discard", "-ERR DISCARD without MULTI"),
        ("set k mine px 60000", "+OK"),
        ("watch k none", "+OK"),
        ("multi", "+OK"),
        ("multi", "-ERR MULTI calls can not be nested"),
        ("watch k", "-ERR WATCH inside MULTI is not allowed"),
        ("pexpire k 120000", "+QUEUED"),
        ("set other 1 ex 0", "+QUEUED"),
        ("get k", "+QUEUED"),
    ] {
        assert_eq!(client.say(words), expected, "{words}");
    }
    assert_eq!(other.say("pttl none"), ":-2");
    assert_eq!(other.say("get other"), "$-1");
    // A command that fails does not keep the others from running.
    let answer = client.say("exec");
    assert_eq!(answer, "*3 :1 -ERR invalid expire time in 'set' command $4 mine");
    assert_eq!(client.say("ttl k"), ":120");

    // Changes of any kind, by other clients and by itself.
    for (change, answer) in [
        ("set k theirs", "+OK"),
        ("expire k 50", ":1"),
        ("del k", ":1"),
        ("set k mine", "+OK"),
        ("set none x", "+OK"),
    ] {
        assert_eq!(client.say("watch k none"), "+OK");
        assert_eq!(other.say(change), answer);
        assert_eq!(client.say("multi"), "+OK");
        assert_eq!(client.say("set done yes"), "+QUEUED");
        assert_eq!(client.say("exec"), "*-1", "{change}");
        assert_eq!(client.say("get done"), "$-1");
    }
    // Unchanged or no longer watched keys do not prevent it.
    for harmless in ["get k", "set k x nx", "del nobody", "expire nobody 5"] {
        assert_eq!(client.say("watch k nobody"), "+OK");
        other.say(harmless);
        assert_eq!((client.say("multi"), client.say("dbsize")), ("+OK".into(), "+QUEUED".into()));
        assert_eq!(client.say("exec"), "*1 :2", "{harmless}");
    }
    assert_eq!(client.say("watch k"), "+OK");
    assert_eq!(other.say("set k again"), "+OK");
    assert_eq!(client.say("unwatch"), "+OK");
    assert_eq!((client.say("multi"), client.say("exec")), ("+OK".into(), "*0".into()));
}

#[test]
fn an_expired_watched_key_has_changed() {
    let redis = Redis::start();
    let mut client = redis.connect();
    assert_eq!(client.say("set k v px 50"), "+OK");
    assert_eq!(client.say("watch k"), "+OK");
    let mut other = redis.connect();
    let deadline = clock::now() + DEADLINE;
    while other.say("get k") != "$-1" {
        assert!(clock::now() < deadline, "it does not expire");
    }
    assert_eq!(client.say("multi"), "+OK");
    assert_eq!(client.say("set done yes"), "+QUEUED");
    assert_eq!(client.say("exec"), "*-1");
}

#[test]
fn a_command_that_cannot_be_queued_discards_the_transaction() {
    let redis = Redis::start();
    let mut client = redis.connect();
    assert_eq!(client.say("multi"), "+OK");
    assert_eq!(client.say("set k v"), "+QUEUED");
    assert_eq!(client.say("get"), "-ERR wrong number of arguments for 'get' command");
    assert_eq!(client.say("exec"), "-EXECABORT Transaction discarded because of previous errors.");
    assert_eq!(client.say("get k"), "$-1");
    assert_eq!(client.say("multi"), "+OK");
    assert_eq!(client.say("set k v"), "+QUEUED");
    assert_eq!(client.say("discard"), "+OK");
    assert_eq!(client.say("get k"), "$-1");
}

#[test]
fn a_scan_of_many_keys_gives_each() {
    let redis = Redis::start();
    let mut client = redis.connect();
    for number in 0..300 {
        assert_eq!(client.say(&format!("set key-{number} v")), "+OK");
    }
    let (mut cursor, mut keys) = ("0".to_owned(), std::collections::BTreeSet::new());
    loop {
        let answer = client.say(&format!("scan {cursor} count 20"));
        let mut words = answer.split(' ').skip(2);
        cursor = words.next().unwrap().to_owned();
        keys.extend(words.filter(|word| word.starts_with("key-")).map(str::to_owned));
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(keys.len(), 300);
}

#[test]
fn subscribers_get_messages_and_may_send_only_some_commands() {
    let redis = Redis::start();
    let (mut listener, mut speaker) = (redis.connect(), redis.connect());
    listener.send(&["subscribe", "c", "d"]);
    assert_eq!(listener.hear(), "*3 $9 subscribe $1 c :1");
    assert_eq!(listener.hear(), "*3 $9 subscribe $1 d :2");
    assert_eq!(speaker.say("publish c hello"), ":1");
    assert_eq!(listener.hear(), "*3 $7 message $1 c $5 hello");
    assert_eq!(listener.say("ping"), "*2 $4 pong $0 ");
    let refusal = listener.say("get k");
    assert!(refusal.starts_with("-ERR Can't execute 'get': only"), "{refusal}");
    assert_eq!(listener.say("unsubscribe c"), "*3 $11 unsubscribe $1 c :1");
    assert_eq!(speaker.say("publish c again"), ":0");
    assert_eq!(listener.say("unsubscribe"), "*3 $11 unsubscribe $1 d :0");
    assert_eq!(listener.say("ping"), "+PONG");
}

/// Clients of today begin with `HELLO 3`, and some give up if that fails.
#[test]
fn a_client_chooses_the_version_of_the_answers() {
    let redis = Redis::start();
    let mut client = redis.connect();
    for (words, expected) in [
        ("hello 4", "-NOPROTO unsupported protocol version"),
        ("hello x", "-ERR Protocol version is not an integer or out of range"),
        ("hello 3 auth someone secret", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("hello 3 nonsense", "-ERR Syntax error in HELLO option 'nonsense'"),
        ("get none", "$-1"),
    ] {
        assert_eq!(client.say(words), expected, "{words}");
    }
    for words in ["hello", "hello 2"] {
        let two = client.say(words);
        assert!(
            two.starts_with('*')
                && two.contains(" $6 server $5 redis $7 version ")
                && two.contains("$5 proto :2 "),
            "{two}"
        );
    }
    let three = client.say("HELLO 3 AUTH default anything SETNAME me");
    assert!(three.starts_with('%') && three.contains(" $6 server $5 redis $7 version "), "{three}");
    assert!(three.contains(" $5 proto :3 ") && three.contains(" $4 role $6 master"), "{three}");
    for (words, expected) in [
        ("ping", "+PONG"),
        ("set k v", "+OK"),
        ("set k w nx", "_"),
        ("mget k none", "*2 $1 v _"),
        ("watch k", "+OK"),
        ("set k w", "+OK"),
        ("multi", "+OK"),
        ("get none", "+QUEUED"),
        ("exec", "_"),
        ("multi", "+OK"),
        ("get none", "+QUEUED"),
        ("exec", "*1 _"),
        ("unsubscribe", ">3 $11 unsubscribe _ :0"),
        ("subscribe c", ">3 $9 subscribe $1 c :1"),
        // Messages cannot be taken for answers, so every command may be sent.
        ("get k", "$1 w"),
        ("ping", "+PONG"),
        ("ping hi", "$2 hi"),
    ] {
        assert_eq!(client.say(words), expected, "{words}");
    }
    let (mut other, mut speaker) = (redis.connect(), redis.connect());
    assert_eq!(other.say("subscribe c"), "*3 $9 subscribe $1 c :1");
    assert_eq!(speaker.say("publish c hello"), ":2");
    assert_eq!(client.hear(), ">3 $7 message $1 c $5 hello");
    assert_eq!(other.hear(), "*3 $7 message $1 c $5 hello");
    assert_eq!(client.say("unsubscribe c"), ">3 $11 unsubscribe $1 c :0");
}

#[test]
fn a_person_may_type_and_quit() {
    let redis = Redis::start();
    let mut client = redis.connect();
    client.0.get_mut().write_all(b"\r\nset  typed yes\r\nget typed\n").unwrap();
    assert_eq!((client.hear(), client.hear()), ("+OK".into(), "$3 yes".into()));
    client.0.get_mut().write_all(b"quit\r\n").unwrap();
    assert_eq!(client.hear(), "+OK");
    assert!(client.is_closed());
}

#[test]
fn unreadable_input_is_named_and_ends_the_connection() {
    let redis = Redis::start();
    for (bytes, expected) in [
        (&b"*1\r\nping\r\n"[..], "-ERR Protocol error: expected '$'"),
        (b"*x\r\n", "-ERR Protocol error: invalid multibulk length"),
        (b"*1\r\n$-5\r\n", "-ERR Protocol error: invalid bulk length"),
    ] {
        let mut client = redis.connect();
        client.0.get_mut().write_all(bytes).unwrap();
        let answer = client.hear();
        assert!(answer.starts_with(expected), "{answer}");
        assert!(client.is_closed());
    }
}

/// Of the embedded one alone.
#[test]
fn missing_commands_are_named_with_advice() {
    let redis = Redis::embedded();
    let answer = redis.connect().say("lpush k v");
    assert!(
        answer.starts_with("-ERR unknown command 'LPUSH'") && answer.contains("--with redis"),
        "{answer}"
    );
}

/// Of the embedded one alone.
#[test]
fn a_restart_keeps_the_address_and_drops_the_contents() {
    let mut redis = Redis::embedded();
    let mut client = redis.connect();
    assert_eq!(client.say("set k v"), "+OK");
    redis.embedded.as_mut().unwrap().stop().unwrap();
    assert!(client.is_closed());
    assert!(TcpStream::connect(redis.address).is_err());
    redis.embedded.as_mut().unwrap().start_again().unwrap();
    assert_eq!(redis.connect().say("get k"), "$-1");
}
