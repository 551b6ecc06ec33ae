//! The address a service listens on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Setting;

/// An address of this machine to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host(pub IpAddr);

impl Host {
    /// Every address, of both families.
    pub const ANY: Self = Self(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    pub const LOOPBACK: Self = Self(IpAddr::V4(Ipv4Addr::LOCALHOST));
}

impl Setting for Host {
    fn parse(text: &str) -> Result<Self, String> {
        match text.trim_start_matches('[').trim_end_matches(']').parse() {
            Ok(address) => Ok(Self(address)),
            Err(_) if text == "localhost" => Ok(Self::LOOPBACK),
            Err(_) => Err("an IP address of this machine, such as 0.0.0.0, :: or 127.0.0.1".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_families_and_localhost() {
        assert_eq!(Host::parse("::"), Ok(Host::ANY));
        assert_eq!(Host::parse("[::1]"), Ok(Host(IpAddr::V6(Ipv6Addr::LOCALHOST))));
        assert_eq!(Host::parse("localhost"), Ok(Host::LOOPBACK));
        assert!(Host::parse("example.org").is_err());
        assert!(Host::parse("256.0.0.1").is_err());
    }
}
