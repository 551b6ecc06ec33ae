//! The service with a real Cassandra that goes down and comes back, has data of the original, or is empty.
//!
//! `infrastructure/testbed/test profiles` starts one and runs this; it is killed by the testbed's own command.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "contract/support.rs"]
#[expect(dead_code, reason = "shared with the contract's tests")]
mod support;

use std::process::Command;

use fixtures::{Running, eventually, settles};
use profiles::{Server, Settings};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use serde_json::json;
use service::Shutdown;
use service::settings::Env;
use support::{ID, create, get, ids, send};
use uuid::Uuid;

fn contact_points() -> String {
    std::env::var("CASSANDRA_CONTACT_POINTS").expect("`testbed env cassandra` sets it")
}

fn testbed(words: &[&str]) {
    let testbed = std::env::var("TESTBED").expect("the test's runner sets it");
    let status = Command::new(testbed).args(words).status().expect("the testbed runs");
    assert!(status.success(), "testbed {words:?}: {status}");
}

fn a_keyspace() -> String {
    format!("real_{}", Uuid::new_v4().simple())
}

fn start(keyspace: &str, variables: &[(&str, &str)]) -> Running {
    let nodes = contact_points();
    let common = [
        ("HOST", "127.0.0.1"),
        ("PORT", "0"),
        ("ADMIN_PORT", "0"),
        ("SIGTERM_TIMEOUT", "0"),
        ("CASSANDRA_CONTACT_POINTS", &nodes),
        ("CASSANDRA_KEYSPACE", keyspace),
    ];
    let env: Env = common.into_iter().chain(variables.iter().copied()).collect();
    let shutdown = Shutdown::new();
    let server = Server::bind(Settings::from_env(&env).unwrap(), shutdown.clone()).unwrap();
    let addresses = (server.bound().address(), server.bound().admin_address());
    Running::start(addresses, server.bound().readiness().clone(), shutdown, move || server.run())
}

/// Runs statements that the service does not use.
fn run(statements: &[String]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let session: Session = SessionBuilder::new().known_node(contact_points()).build().await.unwrap();
        for statement in statements {
            session.query_unpaged(statement.as_str(), ()).await.unwrap();
        }
    });
}

#[test]
fn requests_are_refused_while_cassandra_is_away_and_answered_when_it_is_back() {
    let keyspace = a_keyspace();
    let (server, compat) = (start(&keyspace, &[]), start(&keyspace, &[("COMPAT_404", "true")]));
    server.expect_all_well();
    compat.expect_all_well();
    let user = create(&server, "/users", &json!({"name": "Ann"}));
    let path = format!("/users/{user}");
    assert_eq!(get(&compat, &path).ok()["name"], "Ann");

    testbed(&["kill", "cassandra"]);
    server.expect_degraded("cassandra: Cassandra at ");
    let profile = format!("/profiles/{ID}");
    for (method, path) in [
        ("GET", &*path),
        ("GET", "/users"),
        ("GET", "/users?limit=3"),
        ("GET", "/profiles/user/8a377bc6-c2e7-42db-bf80-36301e21f25e"),
        ("POST", "/users"),
        ("PUT", &profile),
        ("DELETE", &path),
        ("DELETE", "/users/drop"),
    ] {
        let refused = send(&server, method, path, &json!({}));
        assert_eq!(refused.problem(503), "the database does not answer, or not in time", "{method} {path}");
        assert!(refused.header("retry-after").is_some(), "{method} {path}");
        let refused = send(&compat, method, path, &json!({}));
        assert_eq!((refused.status, &*refused.body), (404, ""), "{method} {path}");
    }
    // Requests that do not need it are answered, and invalid ones are refused.
    assert_eq!(get(&server, "/health").status, 200);
    get(&server, "/users/1").problem(400);
    assert!(server.metric("profiles_backend_failures_total{backend=\"cassandra\"}") > 0);

    testbed(&["up", "cassandra"]);
    server.expect_all_well();
    compat.expect_all_well();
    settles("what was stored", json!({"id": user, "name": "Ann"}), || get(&server, &path).json());
    create(&server, "/profiles", &json!({"users": [user]}));
    assert_eq!(ids(&get(&compat, &format!("/profiles/user/{user}")).ok()).len(), 1);
}

#[test]
fn a_server_that_starts_first_serves_when_cassandra_is_there() {
    testbed(&["kill", "cassandra"]);
    let server = start(&a_keyspace(), &[]);
    server.expect_degraded("cassandra: Cassandra at ");
    get(&server, "/users").problem(503);
    testbed(&["up", "cassandra"]);
    server.expect_all_well();
    assert_eq!(get(&server, "/users").ok(), json!([]));
}

/// The tables as the original created them, including an older one that lacks a column, and its index under another
/// name.
#[test]
fn data_of_the_original_stay_usable() {
    let keyspace = a_keyspace();
    let (user, profile) = (Uuid::new_v4(), Uuid::new_v4());
    run(&[
        format!(
            "CREATE KEYSPACE {keyspace} WITH durable_writes = true AND replication = \
             {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
        ),
        format!("CREATE TABLE {keyspace}.user (id uuid PRIMARY KEY)"),
        format!("CREATE TABLE {keyspace}.profile (id uuid PRIMARY KEY, users set<uuid>)"),
        format!("CREATE INDEX theirs ON {keyspace}.profile (users)"),
        format!("INSERT INTO {keyspace}.user (id) VALUES ({user})"),
        format!("INSERT INTO {keyspace}.profile (id, users) VALUES ({profile}, {{{user}, {ID}}})"),
        format!("INSERT INTO {keyspace}.profile (id) VALUES ({ID})"),
    ]);
    let server = start(&keyspace, &[]);
    server.expect_all_well();
    assert_eq!(get(&server, &format!("/users/{user}")).ok(), json!({"id": user, "name": null}));
    assert_eq!(ids(&get(&server, &format!("/profiles/user/{user}")).ok()), [profile.to_string()]);
    assert_eq!(get(&server, &format!("/profiles/{ID}")).ok(), json!({"id": ID, "users": []}));
    let named = send(&server, "PUT", &format!("/users/{user}"), &json!({"name": "Ann"})).ok();
    assert_eq!(get(&server, &format!("/users/{user}")).ok(), named);
}

#[test]
fn replicas_that_start_at_the_same_time_make_one_schema() {
    let keyspace = a_keyspace();
    let servers: Vec<Running> = (0..4).map(|_| start(&keyspace, &[("CASSANDRA_TIMEOUT", "30")])).collect();
    for server in &servers {
        server.expect_all_well();
    }
    let user = create(&servers[0], "/users", &json!({"name": "Ann"}));
    for server in &servers {
        assert_eq!(get(server, &format!("/users/{user}")).ok()["name"], "Ann");
    }
}

#[test]
fn a_dropped_keyspace_is_created_again() {
    let keyspace = a_keyspace();
    let server = start(&keyspace, &[]);
    server.expect_all_well();
    create(&server, "/users", &json!({"name": "Ann"}));
    run(&[format!("DROP KEYSPACE {keyspace}")]);
    eventually("the list is empty", || {
        let answer = get(&server, "/users");
        answer.status == 200 && answer.json() == json!([])
    });
    server.expect_all_well();
}
