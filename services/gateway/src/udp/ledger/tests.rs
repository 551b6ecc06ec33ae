use proptest::prelude::*;

use super::*;

const IDLE: Duration = Duration::from_mins(1);

fn visitor(client: u32) -> Visitor {
    let [a, b, c, d] = client.to_be_bytes();
    Visitor {
        client: ([10, b, c, d], 1_024 + u16::from(a)).into(),
        listener: ([127, 0, 0, 1], 10_001).into(),
    }
}

fn replica(ordinal: u16) -> SocketAddr {
    ([127, 77, 3, 1], 50_000 + ordinal).into()
}

struct Group {
    directory: tempfile::TempDir,
}

impl Group {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn gateway(&self) -> Ledger {
        Ledger::open(&self.directory.path().join("sessions"), IDLE).unwrap()
    }
}

/// Clients whose records share one bucket.
fn neighbours(count: usize) -> Vec<Visitor> {
    let bucket = offset(hash_of(&visitor(0)));
    (0..).map(visitor).filter(|visitor| offset(hash_of(visitor)) == bucket).take(count).collect()
}

#[test]
fn gateways_read_each_others_records() {
    let group = Group::new();
    let (mut one, mut other) = (group.gateway(), group.gateway());
    assert_eq!(other.recall(visitor(1)), None);
    one.record(visitor(1), replica(1), false);
    assert_eq!(other.recall(visitor(1)), Some(replica(1)));
    other.record(visitor(1), replica(2), true);
    assert_eq!(one.recall(visitor(1)), Some(replica(2)));
    drop((one, other));
    assert_eq!(group.gateway().recall(visitor(1)), Some(replica(2)), "it outlives the gateways");
    let elsewhere = Visitor { listener: ([127, 77, 0, 1], 10_001).into(), ..visitor(1) };
    assert_eq!(
        group.gateway().recall(elsewhere),
        None,
        "the same client at another address is a different one"
    );
}

#[test]
fn only_its_owner_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let group = Group::new();
    let mode = group.gateway().file.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_record_ends_soon_after_its_session() {
    let group = Group::new();
    let mut ledger = group.gateway();
    ledger.record(visitor(1), replica(1), true);
    ledger.valid_for = Duration::ZERO;
    let written = now();
    while now() <= written {
        std::hint::spin_loop();
    }
    assert_eq!(ledger.recall(visitor(1)), None);
}

#[test]
fn a_full_bucket_keeps_its_clients() {
    let group = Group::new();
    let mut ledger = group.gateway();
    let clients = neighbours(WAYS + 4);
    for client in &clients[..WAYS - 1] {
        ledger.record(*client, replica(1), true);
    }
    for spoofed in &clients[WAYS - 1..] {
        ledger.record(*spoofed, replica(2), false);
    }
    for client in &clients[..WAYS - 1] {
        assert_eq!(ledger.recall(*client), Some(replica(1)));
    }
    assert_eq!(ledger.recall(clients[WAYS + 3]), Some(replica(2)), "the latest displaced those before it");
    assert_eq!(ledger.recall(clients[WAYS - 1]), None);

    ledger.record(clients[WAYS], replica(3), true);
    ledger.record(clients[WAYS + 1], replica(4), false);
    assert_eq!(ledger.recall(clients[WAYS + 1]), None, "all others are worth more");
}

#[test]
fn only_a_regular_file_is_a_ledger() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    std::fs::write(at("other"), "precious").unwrap();
    std::os::unix::fs::symlink(at("other"), at("link")).unwrap();
    for name in ["fifo", "link"] {
        assert!(Ledger::open(&at(name), Duration::from_mins(1)).is_err(), "{name}");
    }
    assert_eq!(std::fs::read(at("other")).unwrap(), b"precious");
}

#[test]
fn a_half_written_record_is_ignored() {
    let group = Group::new();
    let mut ledger = group.gateway();
    ledger.record(visitor(1), replica(1), true);
    let at = offset(hash_of(&visitor(1))) + 40;
    ledger.file.write_all_at(&[9], at).unwrap();
    assert_eq!(ledger.recall(visitor(1)), None);
    ledger.record(visitor(1), replica(2), true);
    assert_eq!(ledger.recall(visitor(1)), Some(replica(2)));
}

proptest! {
    #[test]
    fn a_record_survives_writing_and_reading(
        visitor in 1_u64..,
        written: u64,
        ip: std::net::Ipv4Addr,
        ip6: u128,
        port: u16,
        proven: bool,
        v6: bool,
    ) {
        let ip = if v6 { IpAddr::V6(Ipv6Addr::from(ip6)).to_canonical() } else { IpAddr::V4(ip) };
        let record = Record { visitor, written, replica: SocketAddr::new(ip, port), proven };
        prop_assert_eq!(Record::decode(&record.encode()), Some(record));
    }

    #[test]
    fn arbitrary_bytes_are_not_a_record(bytes in proptest::collection::vec(any::<u8>(), RECORD_BYTES)) {
        prop_assert_eq!(Record::decode(bytes.as_slice().try_into().unwrap()), None);
    }
}
