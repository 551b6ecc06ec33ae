//! Who holds a port.

use std::net::{IpAddr, SocketAddr};

use platform::values::Protocol;

use super::{proc, sockets};

/// Who listens, or takes packets, at `address`, or at all addresses of its port, in words: `envoy (pid 4711)`. Processes of other users
/// cannot be looked into; then it says so.
pub(crate) fn holder(protocol: Protocol, address: SocketAddr) -> Option<String> {
    let all = match protocol {
        Protocol::Tcp => sockets::listening(),
        Protocol::Udp => sockets::receiving(),
    };
    let all = all.ok()?;
    let found = all.iter().find(|found| found.local == address).or_else(|| {
        all.iter().find(|found| found.local.port() == address.port() && is_any(found.local.ip()))
    })?;
    let holders = proc::holders(found.inode).unwrap_or_default();
    if holders.is_empty() {
        return Some("a process of another user".to_owned());
    }
    let named: Vec<String> = holders.iter().map(|(pid, name)| format!("{name} (pid {pid})")).collect();
    Some(named.join(", "))
}

fn is_any(ip: IpAddr) -> bool {
    ip.is_unspecified()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn names_the_process_that_listens() {
        let listener = TcpListener::bind("127.76.5.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let named = holder(Protocol::Tcp, address).expect("this test listens");
        assert!(named.contains(&format!("(pid {})", std::process::id())), "{named}");
        drop(listener);
        assert_eq!(holder(Protocol::Tcp, address), None);
    }

    #[test]
    fn the_protocols_have_ports_of_their_own() {
        let socket = std::net::UdpSocket::bind("127.76.5.3:0").unwrap();
        let address = socket.local_addr().unwrap();
        let named = holder(Protocol::Udp, address).expect("this test has it");
        assert!(named.contains(&format!("(pid {})", std::process::id())), "{named}");
        assert_eq!(holder(Protocol::Tcp, address), None);
    }

    #[test]
    fn a_listener_on_all_addresses_holds_each() {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let address = SocketAddr::from(([127, 76, 5, 2], listener.local_addr().unwrap().port()));
        assert!(holder(Protocol::Tcp, address).is_some());
    }
}
