//! A gateway in this process, replicas from closures, and waiting for conditions.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

pub(crate) use fixtures::{DEADLINE as PATIENCE, eventually as wait_until, nobody, pause, settles};
use gateway::{Gateway, Settings};
use platform::endpoints::{Cluster, Endpoint, Endpoints};
use serde_json::Value;
use service::Shutdown;
use service::settings::Env;

/// A client's connection to `address`, whose calls do not block for ever.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends `text` and reads as many bytes back.
#[track_caller]
pub(crate) fn assert_echo(mut stream: &TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), text);
}

/// Echoes everything until the client closes its side.
pub(crate) fn echo(mut stream: TcpStream) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

/// A server on a free port that serves each connection on a thread. It runs until the process ends or it is
/// [`close`](Replica::close)d.
pub(crate) struct Replica {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicU64>,
    listener: TcpListener,
}

impl Replica {
    pub(crate) fn new(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), serve)
    }

    pub(crate) fn on(listener: TcpListener, serve: impl Fn(TcpStream) + Clone + Send + 'static) -> Self {
        let accepted = Arc::new(AtomicU64::new(0));
        let (counter, ours) = (Arc::clone(&accepted), listener.try_clone().unwrap());
        std::thread::spawn(move || {
            while let Ok((stream, _)) = ours.accept() {
                counter.fetch_add(1, Ordering::SeqCst);
                let serve = serve.clone();
                std::thread::spawn(move || serve(stream));
            }
        });
        Self { address: listener.local_addr().unwrap(), accepted, listener }
    }

    pub(crate) fn echo() -> Self {
        Self::new(echo)
    }

    /// A replica that sends its name on each connection and then echoes.
    pub(crate) fn named(name: &'static str) -> Self {
        Self::new(move |mut stream| {
            if stream.write_all(name.as_bytes()).is_ok() {
                echo(stream);
            }
        })
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Stops listening; connections continue.
    pub(crate) fn close(self) {
        rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both).unwrap();
    }
}

/// A server that answers `GET /readyz` with the given status.
pub(crate) struct Readyz {
    pub(crate) address: SocketAddr,
    status: Arc<AtomicU16>,
    asked: Arc<AtomicU64>,
}

impl Readyz {
    pub(crate) fn new(status: u16) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), status)
    }

    pub(crate) fn on(listener: TcpListener, status: u16) -> Self {
        let (status, asked) = (Arc::new(AtomicU16::new(status)), Arc::new(AtomicU64::new(0)));
        let (answer, count) = (Arc::clone(&status), Arc::clone(&asked));
        let server = Replica::on(listener, move |mut stream| {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request);
            count.fetch_add(1, Ordering::SeqCst);
            let _ = write!(stream, "HTTP/1.1 {} Told\r\n\r\n", answer.load(Ordering::SeqCst));
        });
        Self { address: server.address, status, asked }
    }

    pub(crate) fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

/// An endpoint without a health check.
pub(crate) fn endpoint(name: &str, address: SocketAddr) -> Endpoint {
    Endpoint { name: name.into(), address, health: None, draining: false }
}

/// An endpoints file in its own directory.
pub(crate) struct EndpointsFile {
    directory: tempfile::TempDir,
    version: u64,
}

impl EndpointsFile {
    pub(crate) fn new(endpoints: &[Endpoint]) -> Self {
        let mut file = Self { directory: tempfile::tempdir().unwrap(), version: 0 };
        file.write(endpoints);
        file
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("endpoints.json")
    }

    /// Replaces the file, as the supervisor does; returns the new version.
    pub(crate) fn write(&mut self, endpoints: &[Endpoint]) -> u64 {
        self.version += 1;
        let cluster = |name: &str| Cluster { name: name.into(), endpoints: endpoints.to_vec() };
        let document = Endpoints { version: self.version, clusters: vec![cluster("tcp"), cluster("udp")] };
        self.write_text(&serde_json::to_string(&document).unwrap());
        self.version
    }

    /// Replaces it with a FIFO that has no writer.
    pub(crate) fn replace_by_fifo(&self) {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let temporary = self.directory.path().join("endpoints.json.new");
        mknodat(CWD, &temporary, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        std::fs::rename(&temporary, self.path()).unwrap();
    }

    pub(crate) fn write_text(&self, text: &str) {
        let temporary = self.directory.path().join("endpoints.json.new");
        std::fs::write(&temporary, text).unwrap();
        std::fs::rename(&temporary, self.path()).unwrap();
    }
}

/// A gateway that runs on a thread of this process; forced to end when dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) shutdown: Shutdown,
    thread: Option<JoinHandle<Result<(), gateway::Error>>>,
}

impl Running {
    /// One with these endpoints that is ready.
    pub(crate) fn with(endpoints: &[Endpoint], settings: &[(&str, &str)]) -> Self {
        // The file may be removed once it was read: the last good state stays in use.
        Self::with_file(endpoints, settings).0
    }

    /// One with these endpoints that is ready, and the file to change them.
    pub(crate) fn with_file(endpoints: &[Endpoint], settings: &[(&str, &str)]) -> (Self, EndpointsFile) {
        let file = EndpointsFile::new(endpoints);
        let running = Self::start(&file.path(), settings);
        wait_until("the gateway is ready", || running.get("/readyz").0 == 200);
        (running, file)
    }

    /// One that may not be ready yet.
    pub(crate) fn start(endpoints: &Path, settings: &[(&str, &str)]) -> Self {
        let file = ("ENDPOINTS_FILE", endpoints.to_str().unwrap());
        Self::start_with(&[&[file], settings].concat())
    }

    /// One whose settings say where the endpoints come from; it may not be ready yet.
    pub(crate) fn start_with(settings: &[(&str, &str)]) -> Self {
        let env: Env =
            [("PORT", "0"), ("ADMIN_PORT", "0"), ("HEALTH_INTERVAL", "20ms")].into_iter().collect();
        let env = settings.iter().fold(env, |env, (name, value)| env.with(*name, *value));
        let shutdown = Shutdown::new();
        let gateway = Gateway::bind(Settings::from_env(&env).unwrap(), shutdown.clone()).unwrap();
        let (address, admin) = (gateway.address(), gateway.admin_address());
        let thread = Some(std::thread::spawn(|| gateway.run()));
        Self { address, admin, shutdown, thread }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    /// Replaces the endpoints and waits until the gateway has applied them.
    pub(crate) fn replace(&self, file: &mut EndpointsFile, endpoints: &[Endpoint]) {
        let version = file.write(endpoints);
        wait_until("the new endpoints are taken over", || self.endpoints()["version"] == version);
    }

    /// Status and body of a page of the admin port.
    pub(crate) fn get(&self, page: &str) -> (u16, String) {
        fixtures::page(self.admin, page)
    }

    /// Waits until nothing is degraded.
    #[track_caller]
    pub(crate) fn expect_all_well(&self) {
        fixtures::expect_all_well(self.admin);
    }

    /// Waits until `/readyz` describes a degraded part with these words.
    #[track_caller]
    pub(crate) fn expect_degraded(&self, words: &str) {
        fixtures::expect_degraded(self.admin, words);
    }

    pub(crate) fn endpoints(&self) -> Value {
        serde_json::from_str(&self.get("/endpoints").1).unwrap()
    }

    /// The admin port's entry for one backend; null if there is none.
    pub(crate) fn backend(&self, name: &str) -> Value {
        let all = self.endpoints();
        let found = all["endpoints"].as_array().unwrap().iter().find(|endpoint| endpoint["name"] == name);
        found.cloned().unwrap_or(Value::Null)
    }

    pub(crate) fn count(&self, backend: &str, count: &str) -> u64 {
        self.backend(backend)["counts"][count].as_u64().unwrap()
    }

    /// Waits until a count of a backend has this value.
    #[track_caller]
    pub(crate) fn expect_count(&self, backend: &str, count: &str, value: u64) {
        settles(&format!("{count} of {backend}"), value, || self.count(backend, count));
    }

    /// Waits until a backend's entry on the admin port has this value.
    #[track_caller]
    pub(crate) fn expect_backend(&self, name: &str, key: &str, value: impl Into<Value>) {
        settles(&format!("{key} of {name}"), value.into(), || self.backend(name)[key].clone());
    }

    /// The value of a metric, named with its labels.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> u64 {
        fixtures::metric(self.admin, name)
    }

    /// Waits until a metric has this value.
    #[track_caller]
    pub(crate) fn expect_metric(&self, name: &str, value: u64) {
        fixtures::expect_metric(self.admin, name, value);
    }

    /// Waits until the event loops are idle for a moment.
    #[track_caller]
    pub(crate) fn expect_sleep(&self) {
        wait_until("the event loops sleep", || {
            let turns = self.metric("gateway_loop_turns_total");
            pause(Duration::from_millis(300));
            self.metric("gateway_loop_turns_total") == turns
        });
    }

    /// Waits for the end of the gateway.
    pub(crate) fn join(mut self) -> Result<(), gateway::Error> {
        let thread = self.thread.take().unwrap();
        wait_until("the gateway ended", || thread.is_finished());
        thread.join().unwrap()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.force();
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            if !std::thread::panicking() {
                result.unwrap().unwrap();
            }
        }
    }
}

/// True if the connection ended, cleanly or by a reset.
pub(crate) fn is_closed(mut stream: &TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(length) => length == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

/// Closes the connection by a reset.
pub(crate) fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}
