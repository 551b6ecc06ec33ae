//! UDP through the gateway: replicas that identify themselves, and clients that remember their replica.

mod churn;
mod ends;
mod flood;
mod group;
mod moves;
mod packets;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use platform::endpoints::Endpoint;

use crate::support::{EndpointsFile, PATIENCE, Running, endpoint};

/// A replica that answers each packet with its own name, the packet's source, and the packet.
struct Replica {
    name: String,
    address: SocketAddr,
    heard: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Replica {
    fn new(ordinal: usize) -> Self {
        Self::at(ordinal, ([127, 0, 0, 1], 0).into())
    }

    fn at(ordinal: usize, address: SocketAddr) -> Self {
        let socket = UdpSocket::bind(address).unwrap();
        let address = socket.local_addr().unwrap();
        let name = format!("udp-{ordinal}");
        let (heard, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (own_name, count, is_over) = (name.clone(), Arc::clone(&heard), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).unwrap();
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let mut answer = format!("{own_name} {from} ").into_bytes();
                answer.extend_from_slice(&buffer[..length]);
                count.fetch_add(1, Ordering::SeqCst);
                // The client may be gone.
                let _ = socket.send_to(&answer, from);
            }
        });
        Self { name, address, heard, over, thread: Some(thread) }
    }

    fn endpoint(&self) -> Endpoint {
        endpoint(&self.name, self.address)
    }

    fn draining(&self) -> Endpoint {
        Endpoint { draining: true, ..self.endpoint() }
    }
}

impl Drop for Replica {
    /// Closes its socket, so that later packets are refused.
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let wakes = UdpSocket::bind("127.0.0.1:0").unwrap();
        let _ = wakes.send_to(b"", self.address);
        let result = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            result.unwrap().unwrap();
        }
    }
}

fn replicas(count: usize) -> Vec<Replica> {
    (0..count).map(Replica::new).collect()
}

/// How many packets the replicas have received.
fn heard(replicas: &[Replica]) -> u64 {
    replicas.iter().map(|replica| replica.heard.load(Ordering::SeqCst)).sum()
}

fn endpoints(replicas: &[Replica]) -> Vec<Endpoint> {
    replicas.iter().map(Replica::endpoint).collect()
}

/// A gateway for UDP that is ready, and the file to change its endpoints.
fn gateway(endpoints: &[Endpoint], settings: &[(&str, &str)]) -> (Running, EndpointsFile) {
    Running::with_file(endpoints, &[&[("PROTOCOL", "UDP")], settings].concat())
}

/// A replica's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    replica: String,
    /// The packet's source as seen by the replica: the gateway's socket for this session.
    source: SocketAddr,
    text: String,
}

struct Client(UdpSocket);

impl Client {
    fn new(gateway: SocketAddr) -> Self {
        Self::from(([127, 0, 0, 1], 0).into(), gateway)
    }

    fn from(own: SocketAddr, gateway: SocketAddr) -> Self {
        let socket = UdpSocket::bind(own).unwrap();
        socket.connect(gateway).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    fn say(&self, text: &str) {
        self.0.send(text.as_bytes()).unwrap();
    }

    #[track_caller]
    fn hear(&self) -> Answer {
        let mut buffer = vec![0; 65_536];
        let length = self.0.recv(&mut buffer).expect("an answer");
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let mut words = text.splitn(3, ' ');
        let mut word = || words.next().unwrap().to_owned();
        Answer { replica: word(), source: word().parse().unwrap(), text: word() }
    }

    #[track_caller]
    fn ask(&self, text: &str) -> Answer {
        self.say(text);
        let answer = self.hear();
        assert_eq!(answer.text, text);
        answer
    }

    /// Waits a moment for an answer that should not come.
    fn hears_nothing(&self) -> bool {
        self.0.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let silent = self.0.recv(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        silent
    }
}

fn clients(count: usize, gateway: SocketAddr) -> Vec<Client> {
    (0..count).map(|_| Client::new(gateway)).collect()
}

/// Each client's answer.
#[track_caller]
fn ask_all(clients: &[Client], text: &str) -> Vec<Answer> {
    clients.iter().map(|client| client.ask(text)).collect()
}
