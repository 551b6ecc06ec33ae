//! Addresses as they are typed.

use std::net::{SocketAddr, ToSocketAddrs as _};

use super::PlanError;
use crate::protocol::Protocol;

/// The protocol that a target says, as in `udp://127.0.0.1:10001`.
pub(super) fn protocol(text: &str) -> Option<Protocol> {
    text.split_once("://").and_then(|(scheme, _)| scheme.parse().ok())
}

/// Reads `host:port`, or `udp://host:port` where that is the load's protocol. Names are looked up, and the first
/// address is taken.
pub(super) fn resolve(text: &str, protocol: Protocol) -> Result<SocketAddr, PlanError> {
    let wrong = |reason: String| PlanError::Target { text: text.to_owned(), reason };
    let address = match text.split_once("://") {
        None => text,
        Some((scheme, address)) => match scheme.parse::<Protocol>() {
            Ok(spoken) if spoken == protocol => address,
            Ok(_) => return Err(wrong(format!("the load speaks {protocol}"))),
            Err(_) => {
                return Err(wrong(format!("the protocol `{scheme}` is not spoken, only tcp and udp are")));
            }
        },
    };
    if let Ok(address) = address.parse::<SocketAddr>() {
        return if address.port() == 0 {
            Err(wrong("port 0 cannot be connected to".to_owned()))
        } else {
            Ok(address)
        };
    }
    match address.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0) => {}
        _ => return Err(wrong("expected host:port, such as 127.0.0.1:10000".to_owned())),
    }
    let mut addresses = address.to_socket_addrs().map_err(|error| wrong(error.to_string()))?;
    addresses.next().ok_or_else(|| wrong("the name has no address".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_and_without_a_scheme() {
        for text in ["127.0.0.1:10000", "tcp://127.0.0.1:10000"] {
            assert_eq!(resolve(text, Protocol::Tcp).unwrap(), "127.0.0.1:10000".parse().unwrap());
        }
        assert_eq!(resolve("[::1]:5151", Protocol::Udp).unwrap(), "[::1]:5151".parse().unwrap());
        assert_eq!(resolve("udp://localhost:80", Protocol::Udp).unwrap().port(), 80);
        assert_eq!(protocol("udp://localhost:80"), Some(Protocol::Udp));
        assert_eq!(protocol("localhost:80"), None);
    }

    #[test]
    fn what_is_no_address_is_named() {
        for text in [
            "127.0.0.1",
            "127.0.0.1:0",
            "host:",
            ":80",
            "host:99999",
            "udp://127.0.0.1:1",
            "x://127.0.0.1:1",
            "",
        ] {
            let error = resolve(text, Protocol::Tcp).expect_err(text).to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }
}
