//! The minimum that does the same work, for comparison.
//!
//! One read and one write per echo, level-triggered epoll, no features, no limits. Each runs as a separate process,
//! started through hidden subcommands of this program.

mod broadcast;
mod client;
mod datagram_relay;
mod datagrams;
mod driver;
mod echo;
mod events;
mod health;
mod relay;
mod sink;
mod websocket;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    thread,
};

use anyhow::{Result, anyhow};
pub(crate) use client::Summary;
use local::child::bind_to_parent;
use socket2::{Domain, Socket, Type};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Program {
    /// Echoes what it reads
    Echo(Serve),
    /// Echoes datagrams
    Datagrams(datagrams::Arguments),
    /// Reads and discards
    Sink(Serve),
    /// Relays bytes in both directions
    Relay(relay::Arguments),
    /// Relays datagrams in both directions
    DatagramRelay(datagram_relay::Arguments),
    /// Sends each line of its input to all connected clients and prints how many there are
    Broadcast {
        #[arg(long)]
        listen: SocketAddr,
    },
    /// Echoes text over web sockets
    Websocket(Serve),
    /// Sends an event of a megabyte to all clients each second
    Events(Serve),
    /// Asks Cassandra for one row again and again, and prints how often for each line of its input
    Driver(driver::Arguments),
    /// Connections that each send a message once a second
    Client(client::Arguments),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    /// Addresses to accept connections at
    #[arg(long, required = true)]
    listen: Vec<SocketAddr>,
    /// Port at which `GET` is answered with 200, on the addresses of `--listen`
    #[arg(long)]
    health: Option<u16>,
    /// Threads, each with its own listeners
    #[arg(long, default_value = "1")]
    threads: NonZeroUsize,
}

pub(crate) fn run(program: Program) -> Result<()> {
    bind_to_parent()?;
    match program {
        Program::Echo(serve) => serve.on_threads(echo::serve),
        Program::Datagrams(arguments) => datagrams::serve(&arguments),
        Program::Sink(serve) => serve.on_threads(sink::serve),
        Program::Relay(arguments) => relay::run(arguments),
        Program::DatagramRelay(arguments) => datagram_relay::run(&arguments),
        Program::Broadcast { listen } => broadcast::serve(listen),
        Program::Websocket(serve) => serve.on_threads(websocket::serve),
        Program::Events(serve) => serve.on_threads(events::serve),
        Program::Driver(arguments) => driver::run(&arguments),
        Program::Client(arguments) => client::run(&arguments),
    }
}

impl Serve {
    fn on_threads(
        &self,
        serve: impl Fn(&[TcpListener]) -> io::Result<()> + Clone + Send + 'static,
    ) -> Result<()> {
        if let Some(port) = self.health {
            for address in &self.listen {
                health::answer(SocketAddr::new(address.ip(), port))?;
            }
        }
        // Each ends only with an error, and then the measurement is void.
        let (failed, failure) = std::sync::mpsc::channel();
        for _ in 0..self.threads.get() {
            let (listeners, failed, serve) = (self.listeners()?, failed.clone(), serve.clone());
            thread::spawn(move || failed.send(serve(&listeners)));
        }
        failure.recv()??;
        Ok(())
    }

    fn listeners(&self) -> Result<Vec<TcpListener>> {
        self.listen.iter().map(|&address| listener(address, self.threads.get() > 1)).collect()
    }
}

/// A non-blocking listener. `shared` lets several listen at the same address; the kernel spreads connections over
/// them.
fn listener(address: SocketAddr, shared: bool) -> Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    // Accepted sockets inherit it, which saves a call per connection.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into()).map_err(|error| anyhow!("cannot listen at {address}: {error}"))?;
    socket.listen(4096)?;
    Ok(socket.into())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// A server on a thread that ends with the process.
    fn spawn(serve: fn(&[TcpListener]) -> io::Result<()>) -> SocketAddr {
        let listener = listener(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0), false).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || serve(&[listener]));
        address
    }

    pub(crate) fn echo() -> SocketAddr {
        spawn(echo::serve)
    }

    pub(crate) fn websocket() -> SocketAddr {
        spawn(websocket::serve)
    }

    pub(crate) fn datagrams() -> SocketAddr {
        let socket = datagrams::bind(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)).unwrap();
        let address = socket.local_addr().unwrap();
        thread::spawn(move || datagrams::echo(&socket));
        address
    }

    pub(crate) fn sink() -> SocketAddr {
        spawn(sink::serve)
    }
}
