//! Connections to replicas: new ones, and idle ones to reuse.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::net::TcpStream;
use tracing::debug;

use super::request_body::Asked;
use super::{BUFFER_BYTES, UNREAD_BYTES, UNSENT_BYTES};
use crate::cluster::Cluster;
use crate::cluster::backend::Backend;
use crate::settings::Settings;
use crate::shortages::Shortage;
use crate::upstream::{self, Follows};

/// Sends requests to a replica, one at a time.
pub(super) type Sender = http1::SendRequest<Asked>;

/// Maximum number of idle connections per replica.
const IDLE_MAX: usize = 64;
/// How long a connection may be idle: less than replicas allow, so that they seldom close one that is about to be used.
pub(super) const IDLE_TIME: Duration = Duration::from_secs(5);

/// A request that a replica has, or is about to get: one of its sessions until it is dropped.
#[derive(Debug)]
pub(super) struct Session {
    backend: Arc<Backend>,
    has_failed: bool,
}

impl Session {
    /// `backend` was chosen, which opened the session.
    pub(super) fn of(backend: Arc<Backend>) -> Self {
        Self { backend, has_failed: false }
    }

    pub(super) fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// Records a failed connect.
    pub(super) fn failed(mut self, cluster: &Cluster, shortage: Shortage) -> Arc<Backend> {
        self.has_failed = true;
        cluster.connect_failed(&self.backend, shortage == Shortage::ConnectFailed, clock::now());
        Arc::clone(&self.backend)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.has_failed {
            self.backend.session_closed();
        }
    }
}

/// All connections to replicas. The clients' connections bound the number in use.
#[derive(Debug)]
pub(super) struct Replicas {
    source: Option<IpAddr>,
    connect_timeout: Duration,
    stall_timeout: Option<Duration>,
    idle: Mutex<HashMap<SocketAddr, Vec<Idle>>>,
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    since: Instant,
}

impl Replicas {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            source: settings.upstream_bind,
            connect_timeout: settings.connect_timeout,
            stall_timeout: settings.stall_timeout,
            idle: Mutex::default(),
        }
    }

    /// An idle connection, if there is one.
    pub(super) fn waiting(&self, address: SocketAddr) -> Option<Sender> {
        let mut all = self.idle.lock();
        let idle = all.get_mut(&address)?;
        while let Some(Idle { sender, .. }) = idle.pop() {
            if sender.is_ready() {
                return Some(sender);
            }
        }
        all.remove(&address);
        None
    }

    /// Keeps a connection for another request, unless it has ended or enough are idle.
    pub(super) fn keep(&self, address: SocketAddr, sender: Sender) {
        if sender.is_closed() {
            return;
        }
        let mut all = self.idle.lock();
        let idle = all.entry(address).or_default();
        if idle.len() < IDLE_MAX {
            idle.push(Idle { sender, since: clock::now() });
        }
    }

    /// Closes connections that have been idle for too long.
    pub(super) fn expire(&self, now: Instant) {
        self.idle.lock().retain(|_, idle| {
            idle.retain(|one| {
                !one.sender.is_closed() && now.saturating_duration_since(one.since) < IDLE_TIME
            });
            !idle.is_empty()
        });
    }

    /// A new connection.
    pub(super) async fn connect(&self, address: SocketAddr) -> io::Result<Sender> {
        let stream = tokio::time::timeout(self.connect_timeout, self.open(address))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))??;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                debug!(%error, %address, "a replica's connection broke");
            }
        });
        Ok(sender)
    }

    async fn open(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let stream = upstream::connect(address, self.source, Follows::Bytes, Some(UNREAD_BYTES))?;
        let socket = SockRef::from(&stream);
        socket.set_tcp_nodelay(true)?;
        socket.set_keepalive(true)?;
        socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
        socket.set_tcp_user_timeout(self.stall_timeout)?;
        let stream = TcpStream::from_std(stream)?;
        stream.writable().await?;
        match stream.take_error()? {
            Some(error) => Err(error),
            None => Ok(stream),
        }
    }
}
