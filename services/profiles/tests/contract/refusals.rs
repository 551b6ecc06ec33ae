//! Invalid requests.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::json;

use crate::support::{ID, JSON, ask, cassandra, get, send, start};

#[test]
fn every_method_refuses_an_invalid_id() {
    let server = start(&[]);
    let other_ways = [&ID.replace('-', ""), &ID[1..], "1", "drop", "%00", "%ff", "..%2f"];
    for path in ["/users", "/profiles"] {
        for bad in other_ways {
            let one = format!("{path}/{bad}");
            get(&server, &one).problem(400);
            send(&server, "PUT", &one, &json!({})).problem(400);
            if bad != "drop" {
                ask(server.address, "DELETE", &one, &[], "").problem(400);
            }
        }
    }
    get(&server, "/profiles/user/1").problem(400);
    assert!(get(&server, "/users/1").problem(400).contains("expected a UUID"));
}

#[test]
fn a_body_that_is_not_declared_as_json_is_refused() {
    let server = start(&[]);
    for (method, path) in [("POST", "/users".to_owned()), ("PUT", format!("/profiles/{ID}"))] {
        for headers in [
            &[][..],
            &[("Content-Type", "text/plain")],
            &[("Content-Type", "application/x-www-form-urlencoded")],
            &[("Content-Type", "application/json; charset=latin1")],
        ] {
            ask(server.address, method, &path, headers, "{}").problem(415);
        }
        let compressed = [JSON, ("Content-Encoding", "gzip")];
        assert!(
            ask(server.address, method, &path, &compressed, "{}").problem(415).contains("Content-Encoding")
        );
        let utf_8 = [("Content-Type", "application/json;charset=UTF-8")];
        ask(server.address, method, &path, &utf_8, "{}").ok();
    }
}

#[test]
fn an_invalid_body_is_refused_with_the_positions_of_its_faults() {
    let server = start(&[]);
    for body in ["", "{", "{\"name\": \"x\"} y", "\u{feff}{}", &"[".repeat(1000)] {
        ask(server.address, "POST", "/users", &[JSON], body).problem(400);
    }
    let answer = send(&server, "POST", "/profiles", &json!({"id": "x", "users": [ID, 1, "2"]}));
    answer.problem(400);
    let errors = answer.json()["errors"].clone();
    let pointers: Vec<&str> =
        errors.as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, ["/id", "/users/1", "/users/2"]);
    assert!(errors[1]["detail"].as_str().unwrap().ends_with("got 1"), "{errors}");
    assert_eq!(get(&server, "/profiles").ok(), json!([]), "none of it was stored");
}

#[test]
fn a_too_long_body_is_refused_and_the_longest_allowed_is_stored() {
    let server = start(&[]);
    let blanks = " ".repeat(1024 * 1024);
    ask(server.address, "POST", "/users", &[JSON], &blanks).problem(400);
    ask(server.address, "POST", "/users", &[JSON], &format!("{blanks} ")).problem(413);
    // The only answer: no `100 Continue` comes before it.
    let mut waiting = TcpStream::connect(server.address).unwrap();
    let head = "POST /users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2000000\r\n\
                Expect: 100-continue\r\nConnection: close\r\n\r\n";
    waiting.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let users: Vec<uuid::Uuid> = (0..10_000).map(uuid::Uuid::from_u128).collect();
    let stored = send(&server, "PUT", &format!("/profiles/{ID}"), &json!({"users": users})).ok();
    assert_eq!(get(&server, &format!("/profiles/{ID}")).ok(), stored);
}

#[test]
fn unknown_paths_and_methods_are_problems_too() {
    let server = start(&[]);
    for path in ["/user", "/users/1/2", "/profiles/user", "/profiles/user/", "/metrics", "/../etc/passwd"] {
        let status = get(&server, path).status;
        // `/profiles/user` is parsed as a profile with an invalid ID.
        assert!(matches!(status, 400 | 404), "{path}: {status}");
    }
    get(&server, "/nothing").problem(404);
    for (method, path) in
        [("PATCH", "/users".to_owned()), ("POST", format!("/users/{ID}")), ("PUT", "/".to_owned())]
    {
        let answer = ask(server.address, method, &path, &[JSON], "{}");
        answer.problem(405);
        assert!(answer.header("allow").is_some_and(|allow| allow.contains("GET")), "{answer:?}");
    }
}

#[test]
fn full_memory_is_its_own_problem_type() {
    if cassandra().is_some() {
        return;
    }
    let server = start(&[("MEMORY_LIMIT", "1")]);
    let users: Vec<uuid::Uuid> = (0..10_000).map(uuid::Uuid::from_u128).collect();
    let profile = json!({"users": users});
    let answers: Vec<_> = (0..10).map(|_| send(&server, "POST", "/profiles", &profile)).collect();
    answers[0].ok();
    assert!(answers[9].problem(507).contains("1 MB"), "{:?}", answers[9]);
    // Existing objects can still be read and removed.
    let stored = get(&server, "/profiles").ok().as_array().unwrap().len();
    assert!((1..10).contains(&stored), "{stored}");
    assert_eq!(ask(server.address, "DELETE", "/profiles/drop", &[], "").status, 200);
    send(&server, "POST", "/profiles", &profile).ok();
}

#[test]
fn bad_pages_are_refused() {
    let server = start(&[]);
    for query in [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=x",
        "limit=1&cursor=x",
        "cursor=",
        &format!("cursor={ID}"),
    ] {
        get(&server, &format!("/users?{query}")).problem(400);
        get(&server, &format!("/profiles?{query}")).problem(400);
    }
}
