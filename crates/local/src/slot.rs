//! Slots: which second byte of 127.S.V.N belongs to a platform, and who has which address within it.
//!
//! Every platform owns one slot S, so that two platforms never meet. Within it V names the service and N the
//! replica, as a pod has its own IP in a cluster. A slot is reserved twice: by a lock file (among the user's own
//! platforms, with a name for `doctor`) and by a bound socket (against anybody on this machine, because all users of a
//! network namespace share its loopback addresses).

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
};

use platform::ServiceKind;

use crate::{kernel::sockets, lock::FileLock};

/// The range of slots.
const FIRST: u8 = 77;
const LAST: u8 = 126;
/// The port of the socket that guards a slot; any port works, because nothing else binds 127.S.255.254.
const GUARD_PORT: u16 = 10_000;
/// V of the gateway: clients connect to 127.S.0.1, and the gateway of node N uses 127.S.1.N.
const V_GATEWAY: u8 = 1;
/// V of the first service.
const V_SERVICES: u8 = 2;
/// V of the embedded parts.
const V_PARTS: u8 = 250;
/// N starts at 1, because many programs take .0 and .255 for network addresses.
pub(crate) const ORDINALS: u16 = 254;

/// A taken slot; dropping it releases it.
#[derive(Debug)]
pub(crate) struct Slot {
    number: u8,
    _lock: FileLock,
    _guard: UdpSocket,
}

/// Why no slot could be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SlotError {
    #[error("cannot use the lock files in {directory}: {source}")]
    Locks { directory: String, source: io::Error },
    #[error(
        "all slots 127.{FIRST}.x.x to 127.{LAST}.x.x are taken, by platforms or by listeners of others; take a \
         platform down: playctl --platform NAME down"
    )]
    AllTaken,
}

impl Slot {
    /// Takes the lowest free slot in which nobody listens.
    pub(crate) fn take(directory: &Path, platform: &str) -> Result<Self, SlotError> {
        let foreign = listened_in();
        for number in (FIRST..=LAST).filter(|number| !foreign.contains(number)) {
            let path = directory.join(format!("{number}.lock"));
            let lock = FileLock::try_take(&path, platform)
                .map_err(|source| SlotError::Locks { directory: directory.display().to_string(), source })?;
            let Some(lock) = lock else { continue };
            let Ok(guard) = UdpSocket::bind(guard(number)) else {
                continue;
            };
            return Ok(Self { number, _lock: lock, _guard: guard });
        }
        Err(SlotError::AllTaken)
    }

    pub(crate) fn number(&self) -> u8 {
        self.number
    }

    pub(crate) fn addresses(&self) -> Addresses {
        Addresses { slot: self.number }
    }
}

/// The slots in which something listens, including platforms: one of a new platform's addresses might be taken. If the
/// kernel does not list sockets, a taken address shows when it is needed.
fn listened_in() -> BTreeSet<u8> {
    let found = [sockets::listening(), sockets::receiving()].into_iter().flatten().flatten();
    let second_byte = |ip| match ip {
        IpAddr::V4(ip) if ip.is_loopback() => Some(ip.octets()[1]),
        _ => None,
    };
    found.filter_map(|found| second_byte(found.local.ip())).collect()
}

/// The address bound by the slot's platform.
pub(crate) fn guard(slot: u8) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(127, slot, 255, 254), GUARD_PORT))
}

/// The addresses of one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Addresses {
    slot: u8,
}

impl Addresses {
    /// The address for clients.
    pub(crate) fn clients(self) -> IpAddr {
        Ipv4Addr::new(127, self.slot, 0, 1).into()
    }

    /// The address of the supervisor's admin port.
    pub(crate) fn supervisor(self) -> IpAddr {
        Ipv4Addr::new(127, self.slot, 0, 2).into()
    }

    /// The address of a node's gateway (counted from 0), for its admin port and its connections to replicas.
    pub(crate) fn gateway(self, node: u32) -> IpAddr {
        Ipv4Addr::new(127, self.slot, V_GATEWAY, last_byte(node)).into()
    }

    pub(crate) fn replica(self, service: ServiceKind, ordinal: u16) -> IpAddr {
        // The enum has the order of `values.yaml`.
        let third = V_SERVICES + service as u8;
        Ipv4Addr::new(127, self.slot, third, last_byte(ordinal.into())).into()
    }

    /// An embedded part.
    pub(crate) fn part(self, part: u8) -> IpAddr {
        Ipv4Addr::new(127, self.slot, V_PARTS, last_byte(part.into())).into()
    }
}

fn last_byte(index: u32) -> u8 {
    u8::try_from(index + 1).expect("callers hand out at most 254 addresses per service")
}

/// Maximum number of nodes; each needs two addresses while its gateway is replaced.
pub(crate) const NODES_MAX: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_platforms_never_share_a_slot() {
        let directory = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let one = Slot::take(directory.path(), "one").unwrap();
        let two = Slot::take(directory.path(), "two").unwrap();
        // Another user has different lock files; the guard socket keeps them apart.
        let three = Slot::take(elsewhere.path(), "three").unwrap();
        assert_ne!(one.number(), two.number());
        assert!(![one.number(), two.number()].contains(&three.number()));
    }

    #[test]
    fn a_slot_with_a_listener_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let slot = Slot::take(directory.path(), "one").unwrap();
        let number = slot.number();
        let listener =
            std::net::TcpListener::bind((slot.addresses().replica(ServiceKind::Tcp, 1), 0)).unwrap();
        drop(slot);
        assert_ne!(Slot::take(directory.path(), "two").unwrap().number(), number);
        drop(listener);
        let socket = UdpSocket::bind((Addresses { slot: number }.part(0), 0)).unwrap();
        assert_ne!(Slot::take(directory.path(), "three").unwrap().number(), number);
        drop(socket);
    }

    #[test]
    fn addresses_name_service_and_replica() {
        let addresses = Addresses { slot: 77 };
        assert_eq!(addresses.clients().to_string(), "127.77.0.1");
        assert_eq!(addresses.gateway(1).to_string(), "127.77.1.2");
        assert_eq!(addresses.replica(ServiceKind::Tcp, 0).to_string(), "127.77.2.1");
        assert_eq!(addresses.replica(ServiceKind::Stream, 253).to_string(), "127.77.5.254");
    }
}
