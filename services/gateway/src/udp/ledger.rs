//! Which replica each client has, in a file shared by all gateways of a group.
//!
//! The file is a hash table: buckets of [`WAYS`] records, found by a hash of the client's address and the one it sends
//! to. There are no locks. Each record has a checksum, so that a record read while another gateway writes it counts as
//! empty. If two gateways write to one bucket at the same time, one of the two records may be lost; its client is
//! recorded again half an idle time-out later. The loss only matters if the group changes in between: the client then
//! gets a replica as a new client would.
//!
//! The size is fixed (at most 8 MiB, for 131,072 clients; unwritten blocks take no space). A full bucket loses its
//! oldest record of a client that was not heard again after a reply, so that spoofed sources only displace each other;
//! a client that was heard again gives way only to another such client.

use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::time::{ClockId, clock_gettime};

const RECORD_BYTES: usize = 64;
const WAYS: usize = 8;
const BUCKETS: u64 = 16_384;
const BUCKET_BYTES: usize = RECORD_BYTES * WAYS;
const FILE_BYTES: u64 = BUCKETS * BUCKET_BYTES as u64;

/// A client at one address of the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Visitor {
    pub(crate) client: SocketAddr,
    pub(crate) listener: SocketAddr,
}

/// One gateway's handle to the table.
#[derive(Debug)]
pub(crate) struct Ledger {
    file: File,
    /// A record is refreshed twice per idle time-out, so a live session's record is never older than this.
    valid_for: Duration,
    idle_timeout: Duration,
    /// Whether the file has failed before, to report it once.
    failed: bool,
}

/// The contents of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Record {
    /// The visitor's hash; 0 is an empty record.
    visitor: u64,
    /// When it was written: milliseconds since the machine was started.
    written: u64,
    replica: SocketAddr,
    /// The client was heard again after a reply.
    proven: bool,
}

impl Ledger {
    /// Opens the file at `path`; creates it if it does not exist.
    pub(crate) fn open(path: &Path, idle_timeout: Duration) -> io::Result<Self> {
        // No links, and nothing that could block: the file is created here, for this purpose only.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
        let file = options.open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        // The size is the same for every gateway, so it does not matter which one is first.
        if file.metadata()?.len() < FILE_BYTES {
            file.set_len(FILE_BYTES)?;
        }
        Ok(Self { file, valid_for: idle_timeout.mul_f64(1.5), idle_timeout, failed: false })
    }

    /// The same table for another loop.
    pub(crate) fn copy(&self) -> io::Result<Self> {
        Ok(Self { file: self.file.try_clone()?, ..*self })
    }

    /// After this long a record is written again.
    pub(crate) fn refresh_after(&self) -> Duration {
        self.idle_timeout / 2
    }

    /// The replica that a client had recently, through any gateway.
    pub(crate) fn recall(&mut self, visitor: Visitor) -> Option<SocketAddr> {
        let (hash, now) = (hash_of(&visitor), now());
        let bucket = self.read(hash)?;
        let found =
            bucket.iter().flatten().find(|record| record.visitor == hash && self.is_valid(record, now));
        found.map(|record| record.replica)
    }

    /// Notes which replica a client has. `proven`: it was heard again after a reply.
    pub(crate) fn record(&mut self, visitor: Visitor, replica: SocketAddr, proven: bool) {
        let (hash, now) = (hash_of(&visitor), now());
        let Some(bucket) = self.read(hash) else { return };
        let record = Record { visitor: hash, written: now, replica, proven };
        let Some(way) = self.way_for(&bucket, &record, now) else { return };
        let at = offset(hash) + (way * RECORD_BYTES) as u64;
        if let Err(error) = self.file.write_all_at(&record.encode(), at) {
            self.fail(&error);
        }
    }

    /// The position of a record in its bucket: over an older one of its client, an empty or outdated one, or the oldest
    /// unproven one. A proven record may also replace the oldest proven one.
    fn way_for(&self, bucket: &[Option<Record>; WAYS], record: &Record, now: u64) -> Option<usize> {
        let own = bucket.iter().position(|other| other.is_some_and(|other| other.visitor == record.visitor));
        let free = || bucket.iter().position(|other| !other.is_some_and(|other| self.is_valid(&other, now)));
        let oldest = |proven| {
            let of_worth = (0..WAYS).filter(|&way| bucket[way].is_some_and(|other| other.proven == proven));
            of_worth.min_by_key(|&way| bucket[way].map(|other| other.written))
        };
        own.or_else(free).or_else(|| oldest(false)).or_else(|| record.proven.then(|| oldest(true)).flatten())
    }

    fn is_valid(&self, record: &Record, now: u64) -> bool {
        // A record from the future was written before the machine restarted.
        now.checked_sub(record.written).is_some_and(|age| u128::from(age) <= self.valid_for.as_millis())
    }

    fn read(&mut self, hash: u64) -> Option<[Option<Record>; WAYS]> {
        let mut bytes = [0; BUCKET_BYTES];
        if let Err(error) = self.file.read_exact_at(&mut bytes, offset(hash)) {
            self.fail(&error);
            return None;
        }
        let mut records = bytes.as_chunks::<RECORD_BYTES>().0.iter().map(Record::decode);
        Some(std::array::from_fn(|_| records.next().flatten()))
    }

    fn fail(&mut self, error: &io::Error) {
        if !self.failed {
            self.failed = true;
            tracing::error!(%error, "cannot use the sessions file: if the gateways change, clients' replicas may change too");
        }
    }
}

impl Record {
    fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        let IpAddr::V6(ip) = mapped(self.replica.ip()) else { return bytes };
        bytes[8..16].copy_from_slice(&self.visitor.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.written.to_le_bytes());
        bytes[24..40].copy_from_slice(&ip.octets());
        bytes[40..42].copy_from_slice(&self.replica.port().to_le_bytes());
        bytes[42] = u8::from(self.proven);
        let check = check_sum(&bytes);
        bytes[..8].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// None if it is empty or was read during a write.
    fn decode(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        fn at<const N: usize>(bytes: &[u8; RECORD_BYTES], start: usize) -> [u8; N] {
            std::array::from_fn(|index| bytes[start + index])
        }
        let visitor = u64::from_le_bytes(at(bytes, 8));
        if visitor == 0 || u64::from_le_bytes(at(bytes, 0)) != check_sum(bytes) {
            return None;
        }
        let ip = Ipv6Addr::from(at::<16>(bytes, 24)).to_canonical();
        Some(Self {
            visitor,
            written: u64::from_le_bytes(at(bytes, 16)),
            replica: SocketAddr::new(ip, u16::from_le_bytes(at(bytes, 40))),
            proven: bytes[42] != 0,
        })
    }
}

fn mapped(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => IpAddr::V6(ip.to_ipv6_mapped()),
        IpAddr::V6(_) => ip,
    }
}

/// Not 0. The hash has fixed keys because all gateways must find the same record; an attacker who provokes a collision
/// only moves a session.
fn hash_of(visitor: &Visitor) -> u64 {
    let mut hasher = DefaultHasher::new();
    visitor.hash(&mut hasher);
    hasher.finish().max(1)
}

fn check_sum(bytes: &[u8; RECORD_BYTES]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes[8..].hash(&mut hasher);
    hasher.finish()
}

fn offset(hash: u64) -> u64 {
    hash % BUCKETS * BUCKET_BYTES as u64
}

/// Milliseconds since the machine started: a clock that all processes share and nobody sets.
fn now() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000
}

#[cfg(test)]
mod tests;
