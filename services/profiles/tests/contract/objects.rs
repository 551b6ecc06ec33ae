//! One user or profile at a time.

use serde_json::json;
use uuid::Uuid;

use crate::support::{ID, ask, create, delete, get, ids, send, start};

#[test]
fn users_are_stored_replaced_and_removed() {
    let server = start(&[]);
    let stored = send(&server, "POST", "/users", &json!({"id": null, "name": "Ann"})).ok();
    let id = stored["id"].as_str().unwrap().to_owned();
    assert!(Uuid::try_parse(&id).is_ok());
    assert_eq!(stored, json!({"id": id, "name": "Ann"}));
    assert_eq!(get(&server, &format!("/users/{id}")).ok(), stored);
    assert_eq!(get(&server, &format!("/users/{}/", id.to_uppercase())).ok(), stored);

    // The path determines the object, not the body.
    let replaced = send(&server, "PUT", &format!("/users/{id}"), &json!({"id": ID, "name": "Bö"})).ok();
    assert_eq!(replaced, json!({"id": id, "name": "Bö"}));
    assert_eq!(get(&server, &format!("/users/{id}")).ok(), replaced);
    let nameless = send(&server, "PUT", &format!("/users/{id}"), &json!({})).ok();
    assert_eq!(nameless, json!({"id": id, "name": null}));
    assert_eq!(get(&server, &format!("/users/{id}")).ok(), nameless);

    get(&server, &format!("/users/{ID}")).problem(404);
    let made = send(&server, "PUT", &format!("/users/{ID}"), &json!({"name": "New"})).ok();
    assert_eq!(made, json!({"id": ID, "name": "New"}));
    assert_eq!(get(&server, &format!("/users/{ID}")).ok(), made);

    for _ in 0..2 {
        let gone = delete(&server, &format!("/users/{id}"));
        assert_eq!((gone.status, &*gone.body), (200, ""));
        get(&server, &format!("/users/{id}")).problem(404);
    }
    assert_eq!(ids(&get(&server, "/users").ok()), [ID]);
}

/// The server creates the IDs, and ignores IDs from clients.
#[test]
fn every_post_creates_a_new_object() {
    let server = start(&[]);
    let first = create(&server, "/users", &json!({"id": ID, "name": "Ann"}));
    let second = create(&server, "/users/", &json!({"id": ID, "name": "Ann"}));
    assert!(first != second && first != ID && second != ID);
}

#[test]
fn a_profile_has_a_set_of_users() {
    let server = start(&[]);
    let users: Vec<String> = (0..3).map(|_| Uuid::new_v4().to_string()).collect();
    let twice = [&users[..], &users[..]].concat();
    let stored = send(&server, "POST", "/profiles", &json!({"users": twice})).ok();
    let id = stored["id"].as_str().unwrap().to_owned();
    let mut sorted = users.clone();
    sorted.sort_unstable();
    assert_eq!(stored, json!({"id": id, "users": sorted}));
    assert_eq!(get(&server, &format!("/profiles/{id}")).ok(), stored);

    // A replacement has only its own users.
    let fewer = send(&server, "PUT", &format!("/profiles/{id}"), &json!({"users": [ID]})).ok();
    assert_eq!(fewer, json!({"id": id, "users": [ID]}));
    assert_eq!(get(&server, &format!("/profiles/{id}")).ok(), fewer);
    assert_eq!(ids(&get(&server, &format!("/profiles/user/{}", users[0])).ok()), [""; 0]);
    assert_eq!(ids(&get(&server, &format!("/profiles/user/{ID}")).ok()), std::slice::from_ref(&id));

    let empty = send(&server, "PUT", &format!("/profiles/{id}"), &json!({})).ok();
    assert_eq!(empty, json!({"id": id, "users": []}));
    assert_eq!(get(&server, &format!("/profiles/{id}")).ok(), empty);
    get(&server, &format!("/users/{id}")).problem(404);
    assert_eq!(delete(&server, &format!("/profiles/{id}")).status, 200);
    get(&server, &format!("/profiles/{id}")).problem(404);
}

#[test]
fn the_host_reports_its_name_and_health() {
    let server = start(&[("POD_NAME", "profiles-7")]);
    let name = get(&server, "/");
    assert_eq!((name.status, &*name.body), (200, "profiles-7"));
    let health = get(&server, "/health");
    assert_eq!((health.status, &*health.body), (200, ""));
    assert_eq!(ask(server.address, "HEAD", "/users", &[], "").status, 200);
    server.expect_metric("profiles_answers_total{status=\"2xx\"}", 3);
}

#[test]
fn a_drain_ends_even_if_a_client_keeps_its_connection() {
    use std::io::{Read as _, Write as _};

    let server = start(&[]);
    let mut client = std::net::TcpStream::connect(server.address).unwrap();
    client.set_read_timeout(Some(fixtures::DEADLINE)).unwrap();
    client.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut beginning = [0; 12];
    client.read_exact(&mut beginning).unwrap();
    assert_eq!(&beginning, b"HTTP/1.1 200");
    server.shutdown.drain();
    server.join();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
}
