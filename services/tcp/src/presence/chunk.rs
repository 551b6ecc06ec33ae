//! The binary format of a chunk of clients: the number of IPv4 clients, then each of them in 6 bytes, then IPv6 clients
//! in 18 bytes each. An address precedes its port, both in network order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Clients in one chunk. A full chunk of IPv4 clients is 769 bytes, about as much as etcd needs for three keys;
/// ten thousand clients fit into one transaction, which may have 128 operations.
pub(crate) const CLIENTS_MAX: usize = 128;

const V4_BYTES: usize = 6;
const V6_BYTES: usize = 18;

/// The clients of one chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packed(Box<[u8]>);

impl Packed {
    /// Packs at most [`CLIENTS_MAX`] clients; further ones are left out.
    pub(crate) fn of(clients: impl Iterator<Item = SocketAddr>) -> Self {
        let (mut bytes, mut sixes) = (vec![0], Vec::new());
        for client in clients.take(CLIENTS_MAX) {
            let port = client.port().to_be_bytes();
            match client.ip() {
                IpAddr::V4(address) => {
                    bytes[0] += 1;
                    bytes.extend_from_slice(&address.octets());
                    bytes.extend_from_slice(&port);
                }
                IpAddr::V6(address) => {
                    sixes.extend_from_slice(&address.octets());
                    sixes.extend_from_slice(&port);
                }
            }
        }
        bytes.extend_from_slice(&sixes);
        Self(bytes.into())
    }

    /// Parses what another server packed; `None` if it is something else.
    pub(crate) fn read(bytes: Box<[u8]>) -> Option<Self> {
        let (fours, rest) = bytes.split_first()?;
        let sixes = rest.len().checked_sub(usize::from(*fours) * V4_BYTES)?;
        let fits = sixes % V6_BYTES == 0 && usize::from(*fours) + sixes / V6_BYTES <= CLIENTS_MAX;
        fits.then_some(Self(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn len(&self) -> usize {
        let (fours, sixes) = self.parts();
        fours.len() / V4_BYTES + sixes.len() / V6_BYTES
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn clients(&self) -> impl Iterator<Item = SocketAddr> {
        let (fours, sixes) = self.parts();
        let fours = fours.as_chunks::<V4_BYTES>().0.iter().map(|[a, b, c, d, port @ ..]| {
            SocketAddr::from((Ipv4Addr::new(*a, *b, *c, *d), u16::from_be_bytes(*port)))
        });
        let sixes = sixes.as_chunks::<V6_BYTES>().0.iter().map(|[address @ .., high, low]| {
            let address: [u8; 16] = *address;
            SocketAddr::from((Ipv6Addr::from(address), u16::from_be_bytes([*high, *low])))
        });
        fours.chain(sixes)
    }

    fn parts(&self) -> (&[u8], &[u8]) {
        match self.0.split_first() {
            Some((fours, rest)) => rest.split_at_checked(usize::from(*fours) * V4_BYTES).unwrap_or_default(),
            None => Default::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_of_both_address_families_survive_packing() {
        let clients: Vec<SocketAddr> =
            ["10.0.0.7:40000", "[2001:db8::1]:65535", "127.0.0.1:1"].map(|text| text.parse().unwrap()).into();
        let packed = Packed::of(clients.iter().copied());
        assert_eq!(packed.bytes().len(), 1 + 2 * V4_BYTES + V6_BYTES);
        let read = Packed::read(packed.bytes().into()).unwrap();
        assert_eq!((read.len(), read.is_empty()), (3, false));
        assert_eq!(read.clients().collect::<Vec<_>>(), [clients[0], clients[2], clients[1]]);
        assert!(Packed::of(std::iter::empty()).is_empty());
    }

    #[test]
    fn a_full_chunk_is_small() {
        let many = |client: &str| Packed::of(std::iter::repeat_n(client.parse().unwrap(), CLIENTS_MAX + 1));
        let (fours, sixes) = (many("10.0.0.7:40000"), many("[2001:db8::1]:65535"));
        assert_eq!((fours.len(), sixes.len()), (CLIENTS_MAX, CLIENTS_MAX));
        assert!(fours.bytes().len() <= 769 && sixes.bytes().len() <= 2305);
    }

    #[test]
    fn invalid_packed_clients_are_refused_without_a_panic() {
        for length in 0..=255_usize {
            for first in 0..=u8::MAX {
                let bytes = vec![first; length];
                let Some(packed) = Packed::read(bytes.into()) else { continue };
                assert!(packed.len() <= CLIENTS_MAX);
                assert_eq!(packed.clients().count(), packed.len());
                assert_eq!(
                    usize::from(first) * V4_BYTES + (packed.len() - usize::from(first)) * V6_BYTES + 1,
                    length
                );
            }
        }
        assert_eq!(Packed::read(Box::default()), None);
        assert_eq!(Packed::read(vec![129; 1 + 129 * V4_BYTES].into()), None);
    }
}
