//! The sockets that clients send to, bound here or handed over.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use platform::values::Protocol;
use service::handover;
use service::listen::{self, UdpOptions};
use socket2::SockRef;
use udp_drops::KernelDrops;

use crate::settings::Listeners;

/// Maximum bytes of packets queued in the kernel while the loop is busy. The kernel caps it at `net.core.rmem_max`.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Never used in practice: the loops send without blocking.
const WRITE_TIMEOUT: Duration = Duration::from_millis(10);

/// The sockets of the gateway, and who else holds them.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) sockets: Vec<UdpSocket>,
    /// The socket they came over, whose end means that the supervisor is gone.
    pub(crate) supervisor: Option<OwnedFd>,
}

impl Bound {
    /// One socket per worker, if the gateway binds them itself.
    pub(crate) fn new(settings: Listeners, workers: usize) -> io::Result<Self> {
        match settings {
            Listeners::Bind { host, port } => {
                let options = UdpOptions {
                    sockets: workers,
                    receive_buffer: RECEIVE_BUFFER,
                    write_timeout: WRITE_TIMEOUT,
                };
                Ok(Self { sockets: listen::udp(host, port, options)?, supervisor: None })
            }
            Listeners::Stdin => {
                let sockets = handover::receive(io::stdin(), Protocol::Udp)?;
                let sockets: Vec<_> = sockets.into_iter().map(UdpSocket::from).collect();
                for socket in &sockets {
                    SockRef::from(socket).set_recv_buffer_size(RECEIVE_BUFFER)?;
                }
                of_one_family(&sockets)?;
                Ok(Self { sockets, supervisor: Some(rustix::io::fcntl_dupfd_cloexec(io::stdin(), 0)?) })
            }
        }
    }

    pub(crate) fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.sockets.iter().map(UdpSocket::local_addr).collect()
    }

    /// Packets from clients that the kernel drops.
    pub(crate) fn kernel_drops(&self) -> io::Result<KernelDrops> {
        KernelDrops::of(&self.sockets)
    }

    /// The sockets distributed over `workers` loops. A socket belongs to one loop, because a client's packets arrive at
    /// one socket and must not overtake each other; so there are at most as many loops as sockets.
    pub(crate) fn dealt(&self, workers: usize) -> io::Result<Vec<Vec<UdpSocket>>> {
        let mut hands: Vec<Vec<UdpSocket>> = Vec::new();
        hands.resize_with(workers.clamp(1, self.sockets.len().max(1)), Vec::new);
        for (index, socket) in self.sockets.iter().enumerate() {
            let hand = index % hands.len();
            hands[hand].push(socket.try_clone()?);
        }
        Ok(hands)
    }
}

/// A loop keeps clients' addresses in the kernel's form, which differs between the families.
fn of_one_family(sockets: &[UdpSocket]) -> io::Result<()> {
    let addresses: Vec<SocketAddr> = sockets.iter().map(UdpSocket::local_addr).collect::<Result<_, _>>()?;
    if addresses.iter().all(|address| address.is_ipv4() == addresses[0].is_ipv4()) {
        return Ok(());
    }
    let text = format!("UDP sockets of both IPv4 and IPv6, {addresses:?}; expected one family");
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

#[cfg(test)]
mod tests {
    use service::settings::Host;

    use super::*;

    #[test]
    fn each_loop_has_sockets_of_its_own() {
        let bound = Bound::new(Listeners::Bind { host: Host::LOOPBACK, port: 0 }, 2).unwrap();
        let address = bound.addresses().unwrap()[0];
        assert_eq!(bound.addresses().unwrap(), [address, address]);
        assert_eq!(bound.dealt(2).unwrap().iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
        assert_eq!(bound.dealt(3).unwrap().len(), 2, "no loop without a socket");
        assert_eq!(bound.dealt(1).unwrap()[0].len(), 2);
    }

    #[test]
    fn families_are_not_mixed() {
        let v4 = || UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(of_one_family(&[v4(), v4()]).is_ok());
        if let Some(v6) = fixtures::over_ipv6(UdpSocket::bind("[::1]:0")) {
            assert!(of_one_family(&[v4(), v6]).unwrap_err().to_string().contains("of both"));
        }
    }
}
