//! Slots: which second byte of 127.S.V.N belongs to a platform, and who has which address within it.
//!
//! Every platform owns one slot S, so that two platforms never meet. Within it V names the service and N the
//! replica, as a pod has its own IP in a cluster. A slot is taken twice over: by a lock file (the user's own
//! platforms, with a name for `doctor`) and by a bound socket (anybody on this machine, because loopback addresses
//! are shared by all users of a network namespace).

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    time::{Duration, Instant},
};

use crate::lock::FileLock;

/// Slots that may be taken.
const FIRST: u8 = 77;
const LAST: u8 = 126;
/// The port of the socket that guards a slot; any will do, nothing else binds 127.S.255.254.
const GUARD_PORT: u16 = 10_000;
/// V of the gateway: 127.S.0.1 is where clients connect, 127.S.1.N where the gateway of node N works from.
const V_GATEWAY: u8 = 1;
/// V of the first service.
const V_SERVICES: u8 = 2;
/// V of the embedded parts.
const V_PARTS: u8 = 250;
/// For so long the address of a replica that went away is not given to another: connections in TIME-WAIT, clients
/// and graphs would take one for the other.
const QUARANTINE: Duration = Duration::from_mins(5);
/// N runs from 1; .0 and .255 look like networks to too many programs.
const ORDINALS: u16 = 254;

/// A slot that is taken; dropping it gives it back.
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
        "all slots 127.{FIRST}.x.x to 127.{LAST}.x.x are taken; take a platform down: playctl --platform NAME down"
    )]
    AllTaken,
}

impl Slot {
    /// Takes the lowest free slot.
    pub(crate) fn take(directory: &Path, platform: &str) -> Result<Self, SlotError> {
        for number in FIRST..=LAST {
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

/// Bound by whoever has the slot.
pub(crate) fn guard(slot: u8) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(127, slot, 255, 254), GUARD_PORT))
}

/// The addresses of one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Addresses {
    slot: u8,
}

impl Addresses {
    /// Where clients connect.
    pub(crate) fn clients(self) -> IpAddr {
        Ipv4Addr::new(127, self.slot, 0, 1).into()
    }

    /// Where the supervisor has its admin port.
    pub(crate) fn supervisor(self) -> IpAddr {
        Ipv4Addr::new(127, self.slot, 0, 2).into()
    }

    /// Where the gateway of a node (counted from 0) has its admin port and connects from.
    pub(crate) fn gateway(self, node: u32) -> IpAddr {
        Ipv4Addr::new(127, self.slot, V_GATEWAY, last_byte(node)).into()
    }

    /// A replica; `service` is the service's place in `values.yaml`, counted from 0.
    pub(crate) fn replica(self, service: u8, ordinal: u16) -> IpAddr {
        Ipv4Addr::new(127, self.slot, V_SERVICES + service, last_byte(ordinal.into())).into()
    }

    /// An embedded part.
    pub(crate) fn part(self, part: u8) -> IpAddr {
        Ipv4Addr::new(127, self.slot, V_PARTS, last_byte(part.into())).into()
    }
}

fn last_byte(index: u32) -> u8 {
    u8::try_from(index + 1).expect("callers hand out at most 254 addresses per service")
}

/// How many services fit between the gateway and the embedded parts.
pub(crate) const SERVICES_MAX: usize = (V_PARTS - V_SERVICES) as usize;
/// How many nodes there may be; each needs two addresses while its gateway is replaced.
pub(crate) const NODES_MAX: u32 = 100;

/// Ordinals of one service's replicas: the lowest that is neither in use nor in quarantine.
#[derive(Debug, Default)]
pub(crate) struct Ordinals {
    /// `None`: in use; otherwise when it was given back.
    taken: BTreeMap<u16, Option<Instant>>,
}

impl Ordinals {
    /// `None`: every ordinal is in use. When only quarantine stands in the way, the one longest free is taken.
    pub(crate) fn take(&mut self, now: Instant) -> Option<u16> {
        self.taken
            .retain(|_, released| released.is_none_or(|at| now.saturating_duration_since(at) < QUARANTINE));
        let free = (0..ORDINALS).find(|ordinal| !self.taken.contains_key(ordinal));
        let ordinal = free.or_else(|| {
            let oldest = self.taken.iter().filter_map(|(ordinal, at)| at.map(|at| (at, *ordinal))).min()?;
            Some(oldest.1)
        })?;
        self.taken.insert(ordinal, None);
        Some(ordinal)
    }

    pub(crate) fn give_back(&mut self, ordinal: u16, now: Instant) {
        self.taken.insert(ordinal, Some(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_platforms_never_share_a_slot() {
        let directory = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let one = Slot::take(directory.path(), "one").unwrap();
        let two = Slot::take(directory.path(), "two").unwrap();
        // Another user has other lock files; the guard socket keeps them apart.
        let three = Slot::take(elsewhere.path(), "three").unwrap();
        assert_ne!(one.number(), two.number());
        assert!(![one.number(), two.number()].contains(&three.number()));
    }

    #[test]
    fn addresses_name_service_and_replica() {
        let addresses = Addresses { slot: 77 };
        assert_eq!(addresses.clients().to_string(), "127.77.0.1");
        assert_eq!(addresses.gateway(1).to_string(), "127.77.1.2");
        assert_eq!(addresses.replica(0, 0).to_string(), "127.77.2.1");
        assert_eq!(addresses.replica(3, 253).to_string(), "127.77.5.254");
    }

    #[test]
    fn an_ordinal_rests_five_minutes() {
        let mut ordinals = Ordinals::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(ordinals.take(start), Some(0));
        assert_eq!(ordinals.take(start), Some(1));
        ordinals.give_back(1, after(10));
        assert_eq!(ordinals.take(after(11)), Some(2));
        assert_eq!(ordinals.take(after(309)), Some(3));
        assert_eq!(ordinals.take(after(310)), Some(1));
    }

    #[test]
    fn when_only_quarantine_is_left_the_longest_rested_serves() {
        let mut ordinals = Ordinals::default();
        let start = Instant::now();
        for expected in 0..ORDINALS {
            assert_eq!(ordinals.take(start), Some(expected));
        }
        assert_eq!(ordinals.take(start), None);
        ordinals.give_back(9, start + Duration::from_secs(2));
        ordinals.give_back(7, start + Duration::from_secs(1));
        assert_eq!(ordinals.take(start + Duration::from_secs(3)), Some(7));
    }
}
