//! Who holds a port, and whether a process about to be started would get it.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
};

use platform::values::Protocol;
use socket2::{Domain, Socket, Type};

use super::{proc, sockets};

/// The holder of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    /// In words: `envoy (pid 4711)`.
    who: String,
    /// It holds the port on all addresses.
    everywhere: bool,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let where_else = if self.everywhere { ", which has it on all addresses" } else { "" };
        write!(f, "{}{where_else}", self.who)
    }
}

impl Holder {
    /// What to do about it.
    pub(crate) fn remedy(&self) -> &'static str {
        if self.everywhere {
            "end it, or let it listen on its own address only"
        } else {
            "end it, or use other addresses: playctl --platform NAME up"
        }
    }
}

/// Why an address cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("{address} is taken by {holder}; {}", holder.remedy())]
    Taken { address: SocketAddr, holder: Holder },
    #[error("cannot use {address}: {source}")]
    Failed { address: SocketAddr, source: io::Error },
}

impl Unusable {
    /// Why binding `address` failed, and who holds it, if somebody does.
    pub(crate) fn new(protocol: Protocol, address: SocketAddr, source: io::Error) -> Self {
        let in_use = source.kind() == io::ErrorKind::AddrInUse;
        match in_use.then(|| holder(protocol, address)).flatten() {
            Some(holder) => Self::Taken { address, holder },
            None => Self::Failed { address, source },
        }
    }
}

/// Whether a process about to be started gets these addresses; its own error would at best be "in use".
pub(crate) fn check_free(
    addresses: impl IntoIterator<Item = (Protocol, SocketAddr)>,
) -> Result<(), Unusable> {
    for (protocol, address) in addresses {
        try_bind(protocol, address).map_err(|source| Unusable::new(protocol, address, source))?;
    }
    Ok(())
}

fn try_bind(protocol: Protocol, address: SocketAddr) -> io::Result<()> {
    let kind = match protocol {
        Protocol::Tcp => Type::STREAM,
        Protocol::Udp => Type::DGRAM,
    };
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    // Like servers, whose former connections may be in TIME-WAIT. UDP sockets would share the port with it.
    socket.set_reuse_address(protocol == Protocol::Tcp)?;
    // It never listens, so nobody can connect in the meantime.
    socket.bind(&address.into())
}

/// Who listens, or receives packets, at `address`, or at all addresses of its port. Processes of other users cannot be
/// inspected; it then says so.
pub(crate) fn holder(protocol: Protocol, address: SocketAddr) -> Option<Holder> {
    let all = match protocol {
        Protocol::Tcp => sockets::listening(),
        Protocol::Udp => sockets::receiving(),
    };
    let all = all.ok()?;
    let found = all.iter().find(|found| found.local == address).or_else(|| {
        // All addresses include every single one, on either side.
        let conflicts = |ip: IpAddr| is_any(ip) || is_any(address.ip());
        all.iter().find(|found| found.local.port() == address.port() && conflicts(found.local.ip()))
    })?;
    let everywhere = is_any(found.local.ip());
    let holders = proc::holders(found.inode).unwrap_or_default();
    if holders.is_empty() {
        return Some(Holder { who: "a process of another user".to_owned(), everywhere });
    }
    let named: Vec<String> = holders.iter().map(|(pid, name)| format!("{name} (pid {pid})")).collect();
    Some(Holder { who: named.join(", "), everywhere })
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
        let named = holder(Protocol::Tcp, address).expect("this test listens").to_string();
        assert!(named.contains(&format!("(pid {})", std::process::id())), "{named}");
        let all = SocketAddr::from(([0; 16], address.port()));
        let named = holder(Protocol::Tcp, all).expect("one address of all is taken").to_string();
        assert!(named.contains("(pid "), "{named}");
        drop(listener);
        assert_eq!(holder(Protocol::Tcp, address), None);
    }

    #[test]
    fn the_protocols_have_ports_of_their_own() {
        let socket = std::net::UdpSocket::bind("127.76.5.3:0").unwrap();
        let address = socket.local_addr().unwrap();
        let named = holder(Protocol::Udp, address).expect("this test has it").to_string();
        assert!(named.contains(&format!("(pid {})", std::process::id())), "{named}");
        assert_eq!(holder(Protocol::Tcp, address), None);
    }

    #[test]
    fn a_listener_on_all_addresses_holds_each() {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let address = SocketAddr::from(([127, 76, 5, 2], listener.local_addr().unwrap().port()));
        let holder = holder(Protocol::Tcp, address).expect("this test listens");
        assert!(holder.to_string().ends_with("which has it on all addresses"), "{holder}");
        assert!(!holder.remedy().contains("another name"), "it would not help: {}", holder.remedy());
    }

    #[test]
    fn an_address_that_is_taken_is_refused_with_its_holder_and_a_way_out() {
        let listener = TcpListener::bind("127.76.5.4:0").unwrap();
        let packets = std::net::UdpSocket::bind("127.76.5.4:0").unwrap();
        for (protocol, address) in
            [(Protocol::Tcp, listener.local_addr().unwrap()), (Protocol::Udp, packets.local_addr().unwrap())]
        {
            let free = SocketAddr::from(([127, 76, 5, 5], address.port()));
            let error = check_free([(protocol, free), (protocol, address)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{address} is taken by ")), "{error}");
            assert!(error.contains(&format!("(pid {})", std::process::id())), "{error}");
            assert!(error.contains("playctl --platform NAME up"), "{error}");
        }
    }

    #[test]
    fn an_address_whose_connections_wait_for_late_packets_is_free() {
        let listener = TcpListener::bind("127.76.5.6:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        // The side that closes first keeps its address in TIME-WAIT.
        drop(listener.accept().unwrap());
        drop((client, listener));
        check_free([(Protocol::Tcp, address)]).unwrap();
    }

    #[test]
    fn an_address_of_another_machine_is_refused() {
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 40_000));
        let error = check_free([(Protocol::Tcp, elsewhere)]).unwrap_err().to_string();
        assert!(error.starts_with("cannot use 192.0.2.1:40000: "), "{error}");
    }
}
