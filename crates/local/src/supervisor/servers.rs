//! Real servers in place of embedded parts: what they are started from, and what there is of them.
//!
//! A server is a process of a program that is not ours ([`crate::programs`]), on a loopback address of the platform's
//! own and with its files in the platform's state folder. Like a replica it is starting, then ready, and is started
//! again in place with kubelet's back-off when it dies; what it had stored is still there then.

mod elasticsearch;
mod kafka;
mod memcached;
mod prometheus;

use std::{
    ffi::OsString,
    fs, io,
    net::{IpAddr, SocketAddr},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{Message, ProcessKey, probe, service::Running};
use crate::{
    backoff::BackOff,
    paths::private_directory,
    programs::{Found, Program},
};

/// While a server starts it is asked this often, and then…
const ASK_STARTING: Duration = Duration::from_millis(100);
/// …this often.
const ASK_READY: Duration = Duration::from_secs(5);
/// One question may take so long; the first to Kafka makes its topics.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// So many failures in a row make a server that was ready an ill one.
const FAILURES_MAX: u32 = 3;

/// What a server is started from; one that was started from another is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) program: Program,
    pub(crate) found: Found,
    /// Its own address of the platform.
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
    /// Kafka: made when it is ready, as an embedded one has them.
    pub(crate) topics: Vec<String>,
}

/// A command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// Beside what all processes of the platform get.
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) directory: Option<PathBuf>,
}

/// A real server of the platform.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) spec: Spec,
    pub(crate) running: Option<Running>,
    pub(crate) ready: bool,
    /// What leans on it is not started before it is ready, the first time; after that, or when the change that wanted it
    /// has failed, nobody waits for it.
    pub(crate) awaited: bool,
    pub(crate) restarts: u32,
    pub(crate) backoff: BackOff,
    /// When it was told to end.
    pub(crate) told: Option<Instant>,
}

impl Server {
    pub(crate) fn new(spec: Spec) -> Self {
        Self {
            spec,
            running: None,
            ready: false,
            awaited: true,
            restarts: 0,
            backoff: BackOff::default(),
            told: None,
        }
    }
}

impl Spec {
    pub(crate) fn name(&self) -> &'static str {
        self.program.name()
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }

    /// All that it listens on.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> + use<> {
        let beside = match self.program {
            Program::Kafka => Some(kafka::CONTROLLER_PORT),
            Program::Elasticsearch => Some(elasticsearch::TRANSPORT_PORT),
            Program::Memcached | Program::Prometheus | Program::Envoy | Program::Haproxy => None,
        };
        let ip = self.ip;
        [Some(self.port), beside].into_iter().flatten().map(move |port| SocketAddr::new(ip, port))
    }

    /// As clients are told.
    pub(crate) fn url(&self) -> String {
        match self.program {
            Program::Elasticsearch | Program::Prometheus => format!("http://{}", self.address()),
            _ => self.address().to_string(),
        }
    }

    /// Version and place.
    pub(crate) fn in_words(&self) -> String {
        self.found.in_words(self.program)
    }

    /// Writes its configuration into `folder` and says how it is started.
    pub(crate) fn prepare(&self, folder: &Path, run: uuid::Uuid) -> io::Result<Launch> {
        private_directory(folder)?;
        match self.program {
            Program::Kafka => kafka::prepare(self, folder, run),
            Program::Memcached => Ok(memcached::launch(self)),
            Program::Elasticsearch => elasticsearch::prepare(self, folder),
            Program::Prometheus => prometheus::prepare(self, folder),
            Program::Envoy | Program::Haproxy => {
                Err(io::Error::new(io::ErrorKind::Unsupported, "a gateway is no server"))
            }
        }
    }

    /// Asks it a question that only a serving server answers. `first`: it was not ready before.
    async fn ask(&self, first: bool) -> Result<(), String> {
        let answer = async {
            match self.program {
                Program::Kafka => kafka::ask(self, first).await,
                Program::Memcached => memcached::ask(self).await,
                Program::Elasticsearch => elasticsearch::ask(self).await,
                _ => prometheus::ask(self).await,
            }
        };
        let late = || format!("no answer within {} s", ANSWER_TIMEOUT.as_secs());
        timeout(ANSWER_TIMEOUT, answer).await.map_err(|_| late())?
    }
}

/// Asks a server how it is for as long as somebody listens, and tells changes.
pub(crate) async fn watch(key: ProcessKey, spec: Spec, messages: mpsc::Sender<Message>) {
    let (mut ready, mut failures) = (false, 0);
    loop {
        let news = match spec.ask(!ready).await {
            Ok(()) => {
                failures = 0;
                (!ready).then_some(probe::Found::Ready { server_id: None })
            }
            Err(why) => {
                failures += 1;
                (ready && failures >= FAILURES_MAX).then_some(probe::Found::Unready(why))
            }
        };
        if let Some(found) = news {
            ready = matches!(found, probe::Found::Ready { .. });
            if messages.send(Message::Probed { key, found }).await.is_err() {
                return;
            }
        }
        sleep(if ready { ASK_READY } else { ASK_STARTING }).await;
    }
}

/// Writes a configuration file that nobody else may read.
pub(crate) fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;

    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests;
