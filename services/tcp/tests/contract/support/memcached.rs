//! A memcached of the test's own: the platform's embedded one, or the program that `TEST_MEMCACHED` names.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use local::embedded::memcached::Server;
use service::cache::Settings;

use super::eventually;

pub(crate) struct Memcached {
    address: SocketAddr,
    running: Option<Running>,
}

enum Running {
    #[expect(dead_code, reason = "runs until it is dropped")]
    Embedded(Server),
    Program(Child),
}

impl Memcached {
    pub(crate) fn start() -> Self {
        // Nobody else gets the port in between: it is not handed out again at once.
        let address =
            TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
        let mut memcached = Self { address, running: None };
        memcached.up();
        memcached
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings { host: self.address.ip().to_string(), port: self.address.port() }
    }

    pub(crate) fn down(&mut self) {
        if let Some(Running::Program(mut process)) = self.running.take() {
            process.kill().expect("our child");
            process.wait().expect("our child");
        }
    }

    /// Starts it, on the same port as before, with nothing in it.
    pub(crate) fn up(&mut self) {
        self.running = Some(match std::env::var_os("TEST_MEMCACHED") {
            Some(program) => Running::Program(self.spawn(Command::new(program))),
            None => Running::Embedded(Server::bind(self.address).expect("the port is still free")),
        });
        eventually("memcached answers", || TcpStream::connect(self.address).is_ok());
    }

    fn spawn(&self, mut program: Command) -> Child {
        let (host, port) = (self.address.ip().to_string(), self.address.port().to_string());
        program
            .args(["-u", "nobody", "-m", "16", "-l", &host, "-p", &port])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("TEST_MEMCACHED names memcached")
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        self.down();
    }
}
