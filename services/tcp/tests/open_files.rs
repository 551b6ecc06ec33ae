//! At the limit on open files. A separate test binary, because the limit applies to the whole process.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use service::Shutdown;
use service::settings::Host;
use tcp::{Server, Settings};

const CLIENTS: usize = 100;
/// The number of clients that the server has files for.
const FILES_LEFT: u64 = 40;
const DEADLINE: Duration = Duration::from_mins(1);

fn highest_open_file() -> u64 {
    let names = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.to_string_lossy().parse().unwrap()).max().unwrap()
}

#[test]
fn accepting_pauses_at_the_limit_and_resumes() {
    let shutdown = Shutdown::new();
    let settings = Settings { host: Host::LOOPBACK, port: 0, admin_port: 0, ..Settings::default() };
    let server = Server::bind(settings, shutdown.clone()).unwrap();
    // The server is bound but not running yet, so all clients wait to be accepted.
    let mut clients: Vec<TcpStream> =
        (0..CLIENTS).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    let limit = Some(highest_open_file() + 1 + FILES_LEFT);
    setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit }).unwrap();
    let running = std::thread::spawn(move || server.run());

    for client in &mut clients {
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        client.write_all(b"msg:x").unwrap();
    }
    // They are accepted in order: each is served in turn, as earlier ones leave.
    let mut reply = [0; 16];
    for mut client in clients {
        assert_eq!(client.read(&mut reply).expect("served when there is room"), 1);
        assert_eq!(reply[0], b'x');
    }
    shutdown.force();
    running.join().expect("no panic").expect("no error");
}
