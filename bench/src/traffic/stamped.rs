//! When the kernel received data, no matter when it is read.

use std::{
    io::{self, IoSliceMut, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    time::Duration,
};

use nix::{
    cmsg_space,
    errno::Errno,
    sys::{
        socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt::ReceiveTimestampns},
        time::TimeSpec,
    },
};

use super::unexpected_end;
use crate::measure::wait;

/// How long the kernel may take to start doing so.
const BEGIN: Duration = Duration::from_secs(5);
const NO_TIME: &str = "the kernel gave no time of reception";

/// Makes the kernel record when data arrived.
///
/// For a machine's first such socket the kernel patches its own code, asynchronously: this returns only when a test
/// connection shows a time.
pub(crate) fn enable(streams: &[TcpStream]) -> io::Result<()> {
    for stream in streams {
        prepare(stream)?;
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut sender = TcpStream::connect(listener.local_addr()?)?;
    let (receiver, _) = listener.accept()?;
    prepare(&receiver)?;
    let begun = clock::now();
    loop {
        sender.write_all(b"?")?;
        match received(&receiver, &mut [0; 1]) {
            Ok(Some(_)) => return Ok(()),
            Err(error) if error.to_string() != NO_TIME || begun.elapsed() > BEGIN => return Err(error),
            _ => wait(Duration::from_millis(1)),
        }
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    Ok(setsockopt(stream, ReceiveTimestampns, &true)?)
}

/// When each stream had received `length` bytes, since 1970. On loopback a segment is received within the call that
/// sends it, so these are the sender's times.
///
/// Nobody polls the streams until `quiet` has passed, so that readers take no CPU from the sender. A stream with fewer
/// bytes by `deadline` is an error, and so is one with more.
pub(crate) fn times(
    streams: &[TcpStream],
    length: usize,
    quiet: Duration,
    deadline: Duration,
) -> io::Result<Vec<Duration>> {
    let begun = clock::now();
    let mut buffer = vec![0; length + 1];
    wait(quiet);
    let mut times = Vec::with_capacity(streams.len());
    for stream in streams {
        let mut read = 0;
        while read < length {
            if let Some((bytes, time)) = received(stream, &mut buffer)? {
                read += bytes;
                if read == length {
                    times.push(time);
                } else if read > length {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "a client got more than was sent",
                    ));
                }
            } else if begun.elapsed() > deadline {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "a client did not get all that was sent",
                ));
            } else {
                wait(Duration::from_millis(1));
            }
        }
    }
    Ok(times)
}

/// Reads what is available; returns how much, and when the last of it arrived. `None` if there is nothing.
fn received(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<Option<(usize, Duration)>> {
    let mut control = cmsg_space!(TimeSpec);
    let mut pieces = [IoSliceMut::new(buffer)];
    let message = match recvmsg::<()>(stream.as_raw_fd(), &mut pieces, Some(&mut control), MsgFlags::empty())
    {
        Ok(message) => message,
        Err(Errno::EAGAIN) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if message.bytes == 0 {
        return Err(unexpected_end());
    }
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmTimestampns(time) = control {
            return Ok(Some((message.bytes, Duration::from(time))));
        }
    }
    Err(io::Error::other(NO_TIME))
}
