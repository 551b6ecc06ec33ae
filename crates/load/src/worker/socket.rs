//! Sockets that connect without blocking, from a chosen source address.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, bind, connect, ipproto, socket_with, sockopt},
};

/// Room for the answers to some thousands of datagrams.
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// The start of an attempt.
pub(super) enum Attempt {
    /// Writable once it is decided.
    Pending(OwnedFd),
    Failed(Errno),
}

/// Starts to connect to `target`, from `source` if given.
pub(super) fn begin(target: SocketAddr, source: Option<IpAddr>) -> Attempt {
    match open(target, source) {
        Ok(socket) => match connect(&socket, &target) {
            Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Attempt::Pending(socket),
            Err(error) => Attempt::Failed(error),
        },
        Err(error) => Attempt::Failed(error),
    }
}

/// A socket for datagrams to and from `target`.
pub(super) fn peer(target: SocketAddr, source: Option<IpAddr>) -> Result<OwnedFd, Errno> {
    let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::DGRAM, flags, Some(ipproto::UDP))?;
    // As far as the system allows; the drop counts show the rest.
    let _ = sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER_BYTES);
    if let Some(source) = source {
        bind(&socket, &SocketAddr::new(source, 0))?;
    }
    connect(&socket, &target)?;
    Ok(socket)
}

fn open(target: SocketAddr, source: Option<IpAddr>) -> Result<OwnedFd, Errno> {
    let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    // A message is sent when it is due, even while an earlier one is unacknowledged.
    sockopt::set_tcp_nodelay(&socket, true)?;
    if let Some(source) = source {
        // The port is chosen at connect time, so one port can serve several targets.
        bind_address_no_port(&socket)?;
        bind(&socket, &SocketAddr::new(source, 0))?;
    }
    Ok(socket)
}

fn bind_address_no_port(socket: &impl AsFd) -> Result<(), Errno> {
    use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};

    setsockopt(&socket.as_fd(), IpBindAddressNoPort, &true).map_err(|error| {
        // Both name the kernel's numbers.
        Errno::from_io_error(&io::Error::from_raw_os_error(error as i32)).unwrap_or(Errno::INVAL)
    })
}
