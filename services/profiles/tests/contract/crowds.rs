//! Clients that connect and leave without finishing a request.

use fixtures::{half_requests, opens_and_aborts, slow_clients};
use serde_json::json;

use crate::support::{create, get, ids, start, start_alone};

#[test]
fn ten_thousand_half_requests_leave_nothing_behind() {
    let server = start(&[]);
    let user = create(&server, "/users", &json!({"name": "x"}));
    half_requests(server.address);
    assert_eq!(ids(&get(&server, "/users").ok()), [user]);
}

#[test]
fn ten_thousand_openings_and_aborts_leave_nothing_behind() {
    let server = start_alone(&[]);
    let user = create(&server, "/users", &json!({"name": "x"}));
    let body = json!({"name": "y"}).to_string();
    let write = |method: &str, path: &str| {
        let head = "Host: x\r\nContent-Type: application/json";
        format!("{method} {path} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    let read = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    let (one, none) = (format!("/users/{user}"), "/users/8a377bc6-c2e7-42db-bf80-36301e21f25e");
    let requests = [read("/users"), read(&one), read(none), read("/profiles?limit=1"), write("PUT", &one)];
    let requests: Vec<&str> = requests.iter().map(String::as_str).collect();
    opens_and_aborts(server.address, &requests);
    assert_eq!(ids(&get(&server, "/users").ok()), [user]);
}

/// More clients than concurrent lists.
#[test]
fn clients_that_do_not_read_block_nobody() {
    let server = start_alone(&[]);
    // 5 MB in all, more than the kernel buffers for a client.
    let users: Vec<String> =
        (0..10_000).map(|number| format!("8a377bc6-c2e7-42db-bf80-{number:012x}")).collect();
    for _ in 0..14 {
        create(&server, "/profiles", &json!({"users": users}));
    }
    slow_clients(server.address, "GET /profiles HTTP/1.1\r\nHost: x\r\n\r\n", 40, 40, || {
        let user = create(&server, "/users", &json!({"name": "x"}));
        assert_eq!(get(&server, &format!("/users/{user}")).ok()["name"], "x");
        assert_eq!(ids(&get(&server, "/users").ok()), [user]);
    });
}
