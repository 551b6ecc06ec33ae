//! The client's side of a conversation, blocking.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    time::Duration,
};

use platform::TargetError;

use super::{Reply, Request};

/// One conversation.
#[derive(Debug)]
pub(crate) struct Connection {
    reader: BufReader<UnixStream>,
    /// The part of the next line that has arrived.
    partial: Vec<u8>,
}

/// The result of a read.
#[derive(Debug)]
pub(crate) enum Incoming {
    Reply(Reply),
    /// Nothing within the time limit.
    Nothing,
    /// The other side has closed.
    Closed,
}

impl Connection {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self { reader: BufReader::new(stream), partial: Vec::new() }
    }

    /// Time limit of [`Self::read`]; `None`: no limit.
    pub(crate) fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.reader.get_ref().set_read_timeout(patience)
    }

    pub(crate) fn send(&mut self, request: &Request) -> io::Result<()> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.reader.get_mut().write_all(&line)
    }

    pub(crate) fn read(&mut self) -> io::Result<Incoming> {
        match self.reader.read_until(b'\n', &mut self.partial) {
            // A line without its end was cut off when the other side ended.
            Ok(_) if !self.partial.ends_with(b"\n") => Ok(Incoming::Closed),
            Ok(_) => {
                let reply = serde_json::from_slice(&self.partial).map_err(|error| {
                    let message = format!(
                        "cannot parse the supervisor's answer ({error}); it may be another version: playctl \
                         down, playctl up"
                    );
                    io::Error::new(io::ErrorKind::InvalidData, message)
                })?;
                self.partial.clear();
                Ok(Incoming::Reply(reply))
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Ok(Incoming::Nothing)
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(Incoming::Closed),
            Err(error) => Err(error),
        }
    }

    /// The next reply, however long it takes; errors of the other side become errors here.
    pub(crate) fn reply(&mut self) -> Result<Reply, TargetError> {
        loop {
            if let Some(reply) = self.reply_within(None)? {
                return Ok(reply);
            }
        }
    }

    /// The next reply; `None`: none came within `patience`.
    pub(crate) fn reply_within(&mut self, patience: Option<Duration>) -> Result<Option<Reply>, TargetError> {
        self.set_patience(patience).map_err(TargetError::other)?;
        match self.read().map_err(TargetError::other)? {
            Incoming::Reply(Reply::Failed(error)) => Err(error),
            Incoming::Reply(reply) => Ok(Some(reply)),
            Incoming::Nothing => Ok(None),
            Incoming::Closed => {
                let message = "the supervisor ended mid-conversation".to_owned();
                Err(TargetError::Other { message })
            }
        }
    }

    /// Ends the conversation; the other side notices.
    pub(crate) fn hang_up(&self) {
        // The other side may have hung up first.
        let _ = self.reader.get_ref().shutdown(std::net::Shutdown::Write);
    }
}
