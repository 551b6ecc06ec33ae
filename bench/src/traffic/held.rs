//! Connections that are open and idle.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result};

use super::{dial, unexpected_end};

/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Idle connections, each of which has had one message answered: the cost of a connection that was never used says
/// little.
#[derive(Debug)]
pub(crate) struct Held {
    streams: Vec<TcpStream>,
}

impl Held {
    pub(crate) fn open(target: SocketAddr, count: usize, message: &[u8]) -> Result<Self> {
        Self::over(dial::many(target, count).context("cannot open the connections")?, message)
    }

    /// The same over existing connections.
    pub(crate) fn over(streams: Vec<TcpStream>, message: &[u8]) -> Result<Self> {
        let held = Self { streams };
        held.exchange(message).context("the connections are not served")?;
        Ok(held)
    }

    /// Connections that have sent nothing yet.
    pub(crate) fn silent(streams: Vec<TcpStream>) -> Self {
        Self { streams }
    }

    /// Sends a message on each and waits for the answer.
    fn exchange(&self, message: &[u8]) -> io::Result<()> {
        for mut stream in &self.streams {
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(Some(ANSWER_WITHIN))?;
            stream.write_all(message)?;
        }
        let mut answer = [0; 512];
        for mut stream in &self.streams {
            if stream.read(&mut answer)? == 0 {
                return Err(unexpected_end());
            }
        }
        Ok(())
    }

    pub(crate) fn streams(&self) -> &[TcpStream] {
        &self.streams
    }
}
