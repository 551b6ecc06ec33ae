//! Clients that come and go without finishing anything.

use std::io::Write as _;
use std::net::TcpStream;

use serde_json::json;

use crate::support::{create, get, ids, start};

/// Connections that are opened at a time, and how often.
const CROWD: usize = 500;
const WAVES: usize = 20;

#[test]
fn ten_thousand_half_requests_leave_nothing_behind() {
    let server = start(&[]);
    let user = create(&server, "/users", &json!({"name": "x"}));
    let halves: [&[u8]; 5] = [
        b"",
        b"GET /users HT",
        b"POST /users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"name\":",
        b"GET /users HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
    ];
    for wave in 0..WAVES {
        let crowd: Vec<TcpStream> = (0..CROWD)
            .map(|number| {
                let mut client = TcpStream::connect(server.address).unwrap();
                // The server may have hung up already.
                let _ = client.write(halves[(wave + number) % halves.len()]);
                client
            })
            .collect();
        drop(crowd);
    }
    assert_eq!(ids(&get(&server, "/users").ok()), [user]);
}
