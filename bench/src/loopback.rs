//! The addresses that this program uses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// An address in this program's part of loopback, 127.70.0.0/16.
pub(crate) const fn address(third: u8, fourth: u8, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 70, third, fourth)), port)
}
