//! Locks of streams when real processes are killed, with a real Redis: it is down for five seconds, a replica is killed,
//! and another one's clock is half a minute ahead all the time. The result is judged by a load that requests every pair
//! from each of the replicas.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    time::Duration,
};

use fixtures::{Redis, eventually as within_a_minute, expect_all_well, metric, page};
use load::{Control, Options, bind_pairs};
use platform::event::{EventKind, LoadSummary};
use rustix::process::{Pid, Signal, kill_process_group};
use scenario::Scenario;
use support::{BINARY, eventually};

const REPLICAS: u64 = 3;
/// The replica whose clock is ahead.
const AHEAD: usize = 2;
const AHEAD_BY: &str = "+30s";
const PAIRS: u64 = 20;
/// The TTL of a lock: less than the clock's offset, and far longer than Redis' outage.
const LOCK_TTL_MS: u64 = 29_000;
/// The TTL, and time for the clients to come back.
const FREE_AGAIN_WITHIN: Duration = Duration::from_mins(3);

/// A service in a separate process, at one of this test's addresses.
struct Service {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Service {
    fn start(mut command: Command, number: u8, variables: &[(&str, String)]) -> Self {
        let own = Ipv4Addr::new(127, 85, std::process::id() as u8, number);
        let (address, admin) = (SocketAddr::from((own, 8080)), SocketAddr::from((own, 9100)));
        let child = command
            .env("HOST", own.to_string())
            .env("PORT", address.port().to_string())
            .env("ADMIN_HOST", own.to_string())
            .env("ADMIN_PORT", admin.port().to_string())
            .envs(variables.iter().map(|(name, value)| (*name, value)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // faketime runs the program as its child, which must end with it.
            .process_group(0)
            .spawn()
            .expect("playctl starts, and faketime is installed");
        let service = Self { child, address, admin };
        within_a_minute("it is ready", || {
            TcpStream::connect(admin).is_ok() && page(admin, "/readyz").0 == 200
        });
        service
    }

    fn open(&self) -> u64 {
        metric(self.admin, "users")
    }

    /// With SIGKILL.
    fn kill(&mut self) {
        kill_process_group(Pid::from_child(&self.child), Signal::KILL).unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It was already killed, and another group may have its number by now.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

fn serve(service: &str) -> Command {
    let mut command = Command::new(BINARY);
    command.args(["serve", service]);
    command
}

/// The same with a clock that is ahead. Durations are not affected.
fn serve_ahead(service: &str) -> Command {
    let mut command = Command::new("faketime");
    command.args(["-f", AHEAD_BY, BINARY, "serve", service]).env("DONT_FAKE_MONOTONIC", "1");
    command
}

/// The offset of the server's clock from ours: the ID of a stream's first event is its second by the server's clock.
fn clock_of(replica: &Service, number: u64) -> i64 {
    let (user, profile) = Scenario::pair(number);
    let mut stream = TcpStream::connect(replica.address).unwrap();
    write!(stream, "GET /stream/{user}/{profile} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut text = String::new();
    let id =
        |text: &str| -> Option<i64> { text.split_once("id:")?.1.split_once('\n')?.0.trim().parse().ok() };
    while id(&text).is_none() {
        let mut part = [0; 64];
        let read = stream.read(&mut part).unwrap();
        assert!(read > 0, "no event: {text}");
        text.push_str(&String::from_utf8_lossy(&part[..read]));
    }
    id(&text).unwrap() - clock::wall().as_second()
}

/// Three clients request every pair, each from a different replica. The holder keeps it.
fn scenario() -> Scenario {
    let text = format!(
        "name: locks\nprotocol: sse\npairs: {PAIRS}\nreconnect: {{ delay: 200ms, jitter: 200ms }}\n\
         phases: {{ ramp: {{ connections: {}, rate: 5ms }}, hold: {{ for: 10m }} }}",
        PAIRS * REPLICAS
    );
    Scenario::parse(&text, "locks").unwrap()
}

fn run(scenario: &Scenario, targets: Vec<SocketAddr>, control: &Control) -> (LoadSummary, Vec<String>) {
    let mut warnings = Vec::new();
    let mut sink = |event| {
        if let EventKind::Warning { message } = event {
            warnings.push(message);
        }
    };
    let options = Options { targets, ..Options::default() };
    let summary = load::run(scenario, &options, control, &mut sink).unwrap();
    (summary, warnings)
}

#[test]
fn no_pair_has_two_holders_despite_kills_and_wrong_clocks() {
    let mut redis = Redis::durable();
    let at = redis.settings();
    let profiles = Service::start(serve("profiles"), 1, &[]);
    let mut replicas: Vec<Service> = (0..REPLICAS as usize)
        .map(|number| {
            let variables = [
                ("REDIS_HOST", at.host.clone()),
                ("REDIS_PORT", at.port.to_string()),
                ("PROFILES_URL", format!("http://{}", profiles.address)),
                ("POD_NAME", format!("stream-{number}")),
                ("LOCK_TTL", (LOCK_TTL_MS / 1000).to_string()),
                ("LOCK_REFRESH", "5".to_owned()),
            ];
            let command = if number == AHEAD { serve_ahead("stream") } else { serve("stream") };
            let replica = Service::start(command, 2 + number as u8, &variables);
            expect_all_well(replica.admin);
            replica
        })
        .collect();
    let scenario = scenario();
    // One more pair, to compare the clocks.
    let with_clocks = Scenario { pairs: Some(PAIRS + 2), ..scenario.clone() };
    bind_pairs(profiles.address, &with_clocks).unwrap();
    let clocks = [0, AHEAD].map(|replica| clock_of(&replicas[replica], PAIRS + u64::from(replica == AHEAD)));
    assert!(clocks[0].abs() < 10 && clocks[1] > 20, "{clocks:?} s ahead");

    let targets = replicas.iter().map(|replica| replica.address).collect();
    let control = Control::new();
    let (summary, warnings) = std::thread::scope(|scope| {
        let load = scope.spawn(|| run(&scenario, targets, &control));
        let stopped = StopAtEnd(&control);
        let open = |replicas: &[Service]| replicas.iter().map(Service::open).sum::<u64>();
        within_a_minute("all pairs are open", || open(&replicas) == PAIRS);
        assert!(replicas.iter().all(|replica| replica.open() > 0), "each of them has some");

        // Redis is killed, and down for five events of each stream.
        let events = |replicas: &[Service]| {
            replicas.iter().map(|replica| metric(replica.admin, "stream_events_total")).sum::<u64>()
        };
        redis.down();
        let before = events(&replicas);
        within_a_minute("five events of everybody", || events(&replicas) >= before + 5 * PAIRS);
        redis.up();
        for replica in &replicas {
            expect_all_well(replica.admin);
        }
        assert_eq!(open(&replicas), PAIRS, "all streams go on");

        // A replica is killed: its pairs are free when their locks expire.
        let lost = replicas[0].open();
        replicas[0].kill();
        let lives = redis.say(&["KEYS", "*-*:*-*"]);
        assert!(lives.len() as u64 >= PAIRS, "{lives:?}");
        for key in lives {
            let life: i64 = redis.say(&["PTTL", &key])[0].parse().unwrap();
            assert!((-2..=LOCK_TTL_MS as i64).contains(&life) && life != -1, "{key} lives for {life} ms");
        }
        eventually(FREE_AGAIN_WITHIN, || match open(&replicas[1..]) {
            PAIRS => Ok(()),
            other => Err(format!("{other} of {PAIRS} are open, {lost} were lost")),
        })
        .unwrap();
        drop(stopped);
        load.join().unwrap()
    });
    assert_eq!(
        (summary.totals.pairs_held_twice, warnings.iter().find(|one| one.contains("at once"))),
        (0, None)
    );
    assert!(summary.totals.streams_refused > 0 && summary.totals.events > 10 * PAIRS, "{summary:?}");
}

/// The load ends with the test, even if it fails.
struct StopAtEnd<'a>(&'a Control);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}
