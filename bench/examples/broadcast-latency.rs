//! How long a broadcast takes from one client to the clients of three servers, over a real Kafka.
//!
//! ```text
//! infrastructure/testbed/testbed up kafka memcached
//! eval "$(infrastructure/testbed/testbed env)"
//! cargo run --release -p bench --example broadcast-latency -- [SECONDS]
//! ```
//!
//! One client sends `brd` a hundred times a second on a fixed schedule; each delivery counts from its due time. The
//! three servers have separate connections to Kafka; they share this process with the clients, which only adds to the
//! times. The percentiles leave out the first two seconds, in which the producer learns who leads the partitions and a
//! freshly started JVM compiles. Fails if any delivery is missing, including the first ones.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use service::Shutdown;
use service::settings::Env;

type Failed = Box<dyn Error + Send + Sync>;

const SERVERS: usize = 3;
const CLIENTS_PER_SERVER: usize = 10;
/// Broadcasts before those that count.
const WARM_UP: u32 = 200;
const INTERVAL: Duration = Duration::from_millis(10);
/// A message that takes longer counts as lost.
const PATIENCE: Duration = Duration::from_secs(5);
/// The last message, which ends the receivers.
const END: &str = "end";

fn main() -> Result<(), Failed> {
    let seconds: u32 = std::env::args().nth(1).map_or(Ok(20), |text| text.parse())?;
    let broadcasts = WARM_UP + seconds * 100;
    let shutdown = Shutdown::new();
    let topic = format!("broadcasts-{}", std::process::id());
    let servers = (0..SERVERS).map(|_| start(&topic, &shutdown)).collect::<Result<Vec<_>, _>>()?;

    // All times count from here, so that senders and receivers need not share anything else.
    let origin = Arc::new(clock::now());
    let mut receivers = Vec::new();
    for address in servers.iter().flat_map(|server| [server.address; CLIENTS_PER_SERVER]) {
        let (stream, origin) = (lines(address)?, Arc::clone(&origin));
        receivers.push(std::thread::spawn(move || receive(stream, &origin)));
    }
    let first_due = send(servers[0].address, &origin, broadcasts)?;
    let (mut delays_us, mut deliveries) = (Vec::new(), 0);
    for receiver in receivers {
        for (number, at) in receiver.join().map_err(|_| "a receiver has panicked")?? {
            deliveries += 1;
            if number >= WARM_UP {
                delays_us.push(at.saturating_sub(first_due + INTERVAL * number).as_micros());
            }
        }
    }
    shutdown.force();
    for server in servers {
        server.thread.join().map_err(|_| "a server has panicked")??;
    }

    delays_us.sort_unstable();
    let expected = broadcasts as usize * SERVERS * CLIENTS_PER_SERVER;
    let share = |of: f64| {
        delays_us.get((delays_us.len().saturating_sub(1) as f64 * of) as usize).copied().unwrap_or(0)
    };
    let milliseconds = |microseconds: u128| microseconds as f64 / 1000.0;
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{} broadcasts at 100/s to {} clients of {SERVERS} servers: p50 {:.1} ms, p99 {:.1} ms, \
         longest {:.1} ms; {deliveries} of {expected} deliveries",
        broadcasts - WARM_UP,
        SERVERS * CLIENTS_PER_SERVER,
        milliseconds(share(0.5)),
        milliseconds(share(0.99)),
        milliseconds(share(1.0)),
    )?;
    if deliveries == expected { Ok(()) } else { Err("deliveries are missing".into()) }
}

struct Server {
    address: SocketAddr,
    thread: std::thread::JoinHandle<Result<(), tcp::Error>>,
}

fn start(topic: &str, shutdown: &Shutdown) -> Result<Server, Failed> {
    // The process's environment says where Kafka and memcached are.
    let env = Env::of_process()
        .with("HOST", "127.0.0.1")
        .with("PORT", "0")
        .with("ADMIN_PORT", "0")
        .with("KAFKA_BCAST_TOPIC", topic);
    let server = tcp::Server::bind(tcp::Settings::from_env(&env)?, shutdown.clone())?;
    let (address, readiness) = (server.address(), server.readiness().clone());
    let thread = std::thread::spawn(move || server.run());
    let deadline = clock::now() + Duration::from_secs(30);
    // Degraded: Kafka was not reached yet, and broadcasts would be missed.
    while readiness.describe() != "ready\n" {
        if clock::now() > deadline {
            return Err(format!("a server does not become ready: {}", readiness.describe()).into());
        }
        pause(Duration::from_millis(20));
    }
    Ok(Server { address, thread })
}

/// A connection in line mode.
fn lines(address: SocketAddr) -> Result<BufReader<TcpStream>, Failed> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"WHY\n")?;
    let mut answer = [0; 3];
    stream.read_exact(&mut answer)?;
    Ok(BufReader::new(stream))
}

/// Numbers of broadcasts and their arrival times.
fn receive(mut stream: BufReader<TcpStream>, origin: &Instant) -> std::io::Result<Vec<(u32, Duration)>> {
    let mut received = Vec::new();
    let mut line = String::new();
    loop {
        line.clear();
        // A silence this long, or a closed connection, is the end too; missing messages are counted.
        if stream.read_line(&mut line).is_ok_and(|bytes| bytes > 0) && line.trim() != END {
            let number = line.trim().parse();
            received.push((number.map_err(std::io::Error::other)?, origin.elapsed()));
        } else {
            return Ok(received);
        }
    }
}

/// Sends all broadcasts. Returns when the first was due, since `origin`.
fn send(address: SocketAddr, origin: &Instant, broadcasts: u32) -> Result<Duration, Failed> {
    let mut stream = lines(address)?;
    stream.get_mut().write_all(b"token\n")?;
    let mut token = String::new();
    stream.read_line(&mut token)?;
    let token = token.trim().to_owned();
    // Read its own copies too, or the server would take it for a slow client.
    let mut rest = stream.get_ref().try_clone()?;
    let draining = std::thread::spawn(move || std::io::copy(&mut rest, &mut std::io::sink()));
    let mut writer = stream.get_ref().try_clone()?;
    let first_due = origin.elapsed() + Duration::from_millis(100);
    for number in 0..broadcasts {
        let due = first_due + INTERVAL * number;
        pause(due.saturating_sub(origin.elapsed()));
        writer.write_all(format!("brd:{token}:{number}\n").as_bytes())?;
    }
    // Wait until the last one had its time.
    pause(Duration::from_secs(1));
    writer.write_all(format!("brd:{token}:{END}\n").as_bytes())?;
    drop(draining);
    Ok(first_due)
}

#[expect(clippy::disallowed_methods, reason = "the next broadcast is due at a time, not on a condition")]
fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
