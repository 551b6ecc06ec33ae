//! Lists of all users or profiles, or some of them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use fixtures::{DEADLINE, eventually};
use serde_json::json;
use uuid::Uuid;

use crate::support::{ID, cassandra, create, delete, get, ids, start};

#[test]
fn a_list_is_one_array_whatever_its_length() {
    let server = start(&[]);
    for path in ["/users", "/profiles"] {
        assert_eq!(get(&server, path).ok(), json!([]));
        assert_eq!(get(&server, &format!("{path}?limit=10")).ok(), json!([]));
    }
    let mut created = vec![create(&server, "/users", &json!({"name": "a \"b\" \\"}))];
    assert_eq!(get(&server, "/users").ok(), json!([{"id": created[0], "name": "a \"b\" \\"}]));
    // More than one page of the repository.
    created.extend((1..620).map(|number| create(&server, "/users", &json!({"name": number.to_string()}))));
    created.sort_unstable();
    assert_eq!(ids(&get(&server, "/users/").ok()), created);
    assert_eq!(get(&server, "/profiles").ok(), json!([]));

    let gone = delete(&server, "/users/drop");
    assert_eq!((gone.status, &*gone.body), (200, ""));
    assert_eq!(get(&server, "/users").ok(), json!([]));
    assert_eq!(delete(&server, "/users/drop").status, 200);
}

#[test]
fn pages_make_up_the_whole_list() {
    let server = start(&[]);
    let mut created: Vec<String> =
        (0..25).map(|_| create(&server, "/profiles", &json!({"users": [ID]}))).collect();
    created.sort_unstable();
    for limit in [1, 7, 24, 25, 26, 1000] {
        let (mut seen, mut query) = (Vec::new(), format!("?limit={limit}"));
        loop {
            let answer = get(&server, &format!("/profiles{query}"));
            let page = ids(&answer.ok());
            assert!(page.len() <= limit);
            seen.extend(page);
            let Some(next) = answer.header("link") else { break };
            query = next.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned();
            assert!(query.starts_with(&format!("?limit={limit}&cursor=")), "{query}");
        }
        seen.sort_unstable();
        assert_eq!(seen, created, "{limit}");
    }
    // A cursor stays valid when its object is gone.
    let page = get(&server, "/profiles?limit=5");
    let first = page.ok();
    for profile in first.as_array().unwrap() {
        delete(&server, &format!("/profiles/{}", profile["id"].as_str().unwrap()));
    }
    let cursor = first[4]["id"].as_str().unwrap();
    let rest = ids(&get(&server, &format!("/profiles?limit=1000&cursor={cursor}")).ok());
    assert_eq!(rest, ids(&get(&server, "/profiles").ok()));
    assert_eq!(rest.len(), 20);
}

#[test]
fn the_profiles_of_a_user_are_found() {
    let server = start(&[]);
    let users: Vec<String> = (0..3).map(|_| create(&server, "/users", &json!({"name": "x"}))).collect();
    let mut of_both: Vec<String> =
        (0..3).map(|_| create(&server, "/profiles", &json!({"users": users[..2]}))).collect();
    let of_one = create(&server, "/profiles", &json!({"users": [users[1]]}));
    of_both.sort_unstable();
    let found = |user: &str| get(&server, &format!("/profiles/user/{user}")).ok();
    assert_eq!(ids(&found(&users[0])), of_both);
    assert_eq!(found(&users[0])[0]["users"].as_array().unwrap().len(), 2);
    let mut of_second = [of_both, vec![of_one.clone()]].concat();
    of_second.sort_unstable();
    assert_eq!(ids(&found(&users[1])), of_second);
    assert_eq!(found(&users[2]), json!([]));
    assert_eq!(found(&Uuid::new_v4().to_string()), json!([]));

    delete(&server, &format!("/profiles/{of_one}"));
    assert!(!ids(&found(&users[1])).contains(&of_one));
    delete(&server, "/profiles/drop");
    assert_eq!(found(&users[0]), json!([]));
    assert_eq!(ids(&get(&server, "/users").ok()).len(), 3);
}

#[test]
fn removing_all_can_be_switched_off() {
    let server = start(&[("ALLOW_DROP", "false")]);
    let user = create(&server, "/users", &json!({"name": "x"}));
    for path in ["/users/drop", "/profiles/drop"] {
        let detail = delete(&server, path).problem(403);
        assert!(detail.contains("ALLOW_DROP"), "{detail}");
    }
    assert_eq!(ids(&get(&server, "/users").ok()), [user]);
}

/// With data in memory, since these are many.
#[test]
fn clients_that_do_not_read_their_lists_do_not_block_single_reads() {
    if cassandra().is_some() {
        return;
    }
    let server = start(&[]);
    let users: Vec<Uuid> = (0..2000).map(Uuid::from_u128).collect();
    let created: Vec<String> =
        (0..20).map(|_| create(&server, "/profiles", &json!({"users": users}))).collect();
    // More than the maximum number of concurrent lists.
    let stalled: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut client = TcpStream::connect(server.address).unwrap();
            client.set_read_timeout(Some(DEADLINE)).unwrap();
            client.write_all(b"GET /profiles HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            client
        })
        .collect();
    get(&server, &format!("/profiles/{}", created[0])).ok();
    for mut client in stalled {
        let mut beginning = [0; 12];
        client.read_exact(&mut beginning).unwrap();
        assert!([*b"HTTP/1.1 200", *b"HTTP/1.1 503"].contains(&beginning), "{beginning:?}");
    }
    eventually("their places are free again", || {
        let all = get(&server, "/profiles");
        all.status == 200 && all.json().as_array().map(Vec::len) == Some(20)
    });
}
