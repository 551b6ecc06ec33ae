//! Invariants for requests of any client and answers of any cluster. Panics if one is violated.

use std::{net::SocketAddr, sync::Arc};

use super::{relay, requests};
use crate::embedded::guests::{Guest, Limits, Room};

/// Reads requests as the relay does: whole ones of the announced length, within the bounds on what a client holds.
pub fn requests(mut bytes: &[u8]) {
    let room = Arc::new(Room::new(Limits { connections: 1, bytes: 8 * 1024 * 1024 }));
    let (guest, _) = Guest::enter(&room);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let mut held = guest.hold();
        loop {
            let before = bytes;
            let Ok(Some(request)) = relay::read_request(&mut bytes, &mut held).await else { break };
            assert_eq!(request, before[..request.len()]);
            assert_eq!(bytes.len(), before.len() - request.len());
            let announced = u32::from_be_bytes([request[0], request[1], request[2], request[3]]) as usize;
            assert_eq!(announced + size_of::<u32>(), request.len());
            let _ = requests::check(&request[size_of::<u32>()..]);
            held.set(0).await.expect("room");
        }
    });
}

/// Renames brokers as the relay does: only the port changes.
pub fn answer(head: &[u8], ports: (u16, u16)) {
    let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let mut renamed = head.to_vec();
    relay::rename(&mut renamed, at(ports.0), at(ports.1));
    assert_eq!(renamed.len(), head.len());
    let changed = renamed.iter().zip(head).filter(|(new, old)| new != old).count();
    assert!(changed <= size_of::<u16>());
}
