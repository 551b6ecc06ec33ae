//! Crowds that connect and leave. A separate test binary, because it measures the whole process.
#![expect(clippy::unwrap_used, reason = "a test")]

#[expect(dead_code, reason = "of the contract's tests")]
#[path = "contract/profiles.rs"]
mod profiles;
#[expect(dead_code, reason = "of the contract's tests")]
#[path = "contract/support.rs"]
mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use fixtures::{eventually, settles};

use crate::support::{Ground, Pair, Replica, path};

/// Clients per wave, and the number of waves.
const CROWD: usize = 500;
const WAVES: usize = 20;
/// Maximum growth of the process after the first waves: far less than a KiB per client.
const GROWTH_BYTES: u64 = 4 << 20;

/// Files and resident memory of this process.
fn held() -> (usize, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    (std::fs::read_dir("/proc/self/fd").unwrap().count(), kib * 1024)
}

/// Sends crowds to a server, each client as in `come`; expects that they leave nothing behind and others are served.
fn survive(ground: &Ground, replica: &Replica, mut come: impl FnMut(&mut TcpStream, usize)) {
    let held_pair = ground.pair();
    let mut bystander = replica.open(&held_pair);
    let owner = ground.owner(&held_pair);
    let (mut before, opened) = (held(), replica.metric("users"));
    for wave in 0..WAVES {
        let crowd: Vec<TcpStream> = (0..CROWD)
            .map(|number| {
                let mut client = TcpStream::connect(replica.address).unwrap();
                come(&mut client, wave * CROWD + number);
                client
            })
            .collect();
        assert_eq!(replica.get("/ping"), (200, "stream-0".into()), "others are served meanwhile");
        drop(crowd);
        if wave == 1 {
            settles("the first ones are gone", opened, || replica.metric("users"));
            before.1 = held().1;
        }
    }
    settles("all are gone", opened, || replica.metric("users"));
    settles("no lock and no session but the bystander's", ["2"].map(String::from).to_vec(), || {
        ground.redis.say(&["DBSIZE"])
    });
    eventually("no file is left", || held().0 <= before.0);
    let after = held().1;
    assert!(after <= before.1 + GROWTH_BYTES, "{} KiB, and {} KiB before", after >> 10, before.1 >> 10);
    assert_eq!(ground.owner(&held_pair), owner);
    assert!(bystander.next().unwrap().id.is_some());
}

#[test]
fn ten_thousand_aborted_streams_and_half_requests_leave_nothing_behind() {
    let ground = Ground::new();
    let replica = Replica::start(&ground, &[("LOCK_RELEASE", "true")]);
    let pairs: Vec<Pair> = (0..CROWD).map(|_| ground.pair()).collect();
    let refused = |reason: &str| replica.metric(&format!("stream_refused_total{{reason=\"{reason}\"}}"));
    survive(&ground, &replica, |client, number| {
        // Pairs are used again in the next wave, perhaps before they are free. Every fourth client uses its neighbour's.
        let pair = &pairs[if number % 4 == 3 { number - 1 } else { number } % CROWD];
        write!(client, "GET {} HTTP/1.1\r\nHost: t\r\n\r\n", path(pair)).unwrap();
        match number % 3 {
            // The client leaves before the answer, or without reading it.
            0 => {}
            1 => _ = client.read(&mut [0; 16]).unwrap(),
            _ => client.shutdown(std::net::Shutdown::Write).unwrap(),
        }
    });
    assert!(replica.metric("stream_opened_total") > (CROWD * WAVES / 8) as u64);
    assert!(refused("locked") > 0);

    let half = [
        Vec::new(),
        b"GET /stream/x".to_vec(),
        format!("GET {} HTTP/1.1\r\nHost: t\r\n", path(&pairs[0])).into_bytes(),
        b"POST /stream HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\nhalf".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01".to_vec(),
    ];
    survive(&ground, &replica, |client, number| {
        // The server may have hung up already.
        let _ = client.write_all(&half[number % half.len()]);
    });
}
