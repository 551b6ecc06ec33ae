//! The contract of `directory`, against a real `profiles` server and a Redis.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use fixtures::{
    DEADLINE, Redis, Running, eventually, half_requests, opens_and_aborts, settles, slow_clients,
};
use serde_json::{Value, json};
use service::Shutdown;
use service::settings::Env;

const ID: &str = "8a377bc6-c2e7-42db-bf80-36301e21f25e";
const COMMON: [(&str, &str); 4] =
    [("HOST", "127.0.0.1"), ("PORT", "0"), ("ADMIN_PORT", "0"), ("SIGTERM_TIMEOUT", "0")];

/// With its data in memory.
fn start_profiles(variables: &[(&str, &str)]) -> Running {
    let env: Env = COMMON.into_iter().chain(variables.iter().copied()).collect();
    let shutdown = Shutdown::new();
    let settings = profiles::Settings::from_env(&env).unwrap();
    let server = profiles::Server::bind(settings, shutdown.clone()).unwrap();
    let addresses = (server.bound().address(), server.bound().admin_address());
    Running::start(addresses, server.bound().readiness().clone(), shutdown, move || server.run())
}

fn start(profiles: SocketAddr, redis: &Redis, variables: &[(&str, &str)]) -> Running {
    let at = redis.settings();
    let (port, url) = (at.port.to_string(), format!("http://{profiles}"));
    let backends = [("PROFILES_URL", &*url), ("REDIS_HOST", &*at.host), ("REDIS_PORT", &*port)];
    let env: Env = COMMON.into_iter().chain(backends).chain(variables.iter().copied()).collect();
    let shutdown = Shutdown::new();
    let settings = directory::Settings::from_env(&env).unwrap();
    let server = directory::Server::bind(settings, shutdown.clone()).unwrap();
    let addresses = (server.bound().address(), server.bound().admin_address());
    Running::start(addresses, server.bound().readiness().clone(), shutdown, move || server.run())
}

/// Status, head and body.
fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_lowercase(), body.to_owned())
}

/// The text of an answer that must be 200, and text.
#[track_caller]
fn text(server: &Running, path: &str) -> String {
    let (status, head, body) = ask(server.address, "GET", path, "");
    assert_eq!(status, 200, "{path}: {body}");
    assert!(head.contains("content-type: text/html;charset=utf-8"), "{path}: {head}");
    body
}

/// Stores an object in `profiles`; returns its ID.
#[track_caller]
fn create(profiles: &Running, path: &str, body: &Value) -> String {
    let (status, _, stored) = ask(profiles.address, "POST", path, &body.to_string());
    assert_eq!(status, 200, "{stored}");
    serde_json::from_str::<Value>(&stored).unwrap()["id"].as_str().unwrap().to_owned()
}

fn list(profiles: &Running, path: &str) -> Vec<Value> {
    serde_json::from_str(&ask(profiles.address, "GET", path, "").2).unwrap()
}

#[test]
fn users_and_profiles_are_lines_of_text() {
    let (profiles, redis) = (start_profiles(&[]), Redis::start());
    let directory = start(profiles.address, &redis, &[("POD_NAME", "directory-3")]);
    for path in ["/users", "/profiles", "/users/"] {
        assert_eq!(text(&directory, path), "");
    }
    let ann = create(&profiles, "/users", &json!({"name": "Ann <b>"}));
    assert_eq!(text(&directory, "/users"), format!("User(id={ann}, name=Ann <b>)"));
    let nobody = create(&profiles, "/users", &json!({}));
    let lines: BTreeSet<String> = text(&directory, "/users").split('\n').map(str::to_owned).collect();
    let expected = [format!("User(id={ann}, name=Ann <b>)"), format!("User(id={nobody}, name=null)")];
    assert_eq!(lines, BTreeSet::from(expected));

    let mut users = [ann, nobody];
    users.sort_unstable();
    let profile = create(&profiles, "/profiles", &json!({"users": users}));
    let line = format!("Profile(id={profile}, users=[{}, {}])", users[0], users[1]);
    assert_eq!(text(&directory, "/profiles"), line);
    let (_, head, _) = ask(directory.address, "GET", "/users", "");
    assert!(
        head.contains("content-security-policy: default-src 'none'; sandbox"),
        "names run nothing: {head}"
    );

    assert_eq!(text(&directory, "/"), "directory-3");
    assert_eq!(text(&directory, "/health"), "");
    directory.expect_all_well();
}

/// Longer than an HTTP client would keep for one answer, and than a page of `profiles`.
#[test]
fn lists_of_any_length_come_through() {
    let (profiles, redis) = (start_profiles(&[]), Redis::start());
    let directory = start(profiles.address, &redis, &[]);
    let users: Vec<uuid::Uuid> = (0..10_000).map(uuid::Uuid::from_u128).collect();
    for _ in 0..4 {
        create(&profiles, "/profiles", &json!({"users": users}));
    }
    let lines = text(&directory, "/profiles");
    assert_eq!(lines.split('\n').filter(|line| line.ends_with("])")).count(), 4);
    assert!(lines.len() > 4 * 10_000 * 36);
    let suggested = text(&directory, "/suggested");
    assert_eq!(suggested.split(',').count(), 10_000);
}

#[test]
fn suggested_users_are_in_two_profiles_or_more() {
    let (profiles, redis) = (start_profiles(&[]), Redis::start());
    let directory = start(profiles.address, &redis, &[]);
    assert_eq!(text(&directory, "/suggested"), "Suggested users: ");
    let mut users: Vec<String> = (0..4).map(|_| create(&profiles, "/users", &json!({"name": "x"}))).collect();
    users.sort_unstable();
    for of in [&users[..3], &users[1..3], &users[2..4]] {
        create(&profiles, "/profiles", &json!({"users": of}));
    }
    assert_eq!(text(&directory, "/suggested"), format!("Suggested users: {},{}", users[1], users[2]));
}

#[test]
fn a_login_lists_the_open_profiles() {
    let (profiles, redis) = (start_profiles(&[]), Redis::start());
    let directory = start(profiles.address, &redis, &[]);
    let user = create(&profiles, "/users", &json!({"name": "x"}));
    let mut of_user: Vec<String> =
        (0..600).map(|_| create(&profiles, "/profiles", &json!({"users": [user]}))).collect();
    let other = create(&profiles, "/profiles", &json!({"users": [ID]}));
    let path = format!("/login/{user}");
    assert_eq!(text(&directory, &path), "");
    // The value does not matter, even if it is not text.
    redis.set(format!("{user}:{}", of_user[0]).as_bytes(), b"owner");
    redis.set(format!("{user}:{}", of_user[599]).as_bytes(), &[0xff, 0]);
    redis.set(format!("{user}:{other}").as_bytes(), b"not bound");
    redis.set(format!("{ID}:{}", of_user[1]).as_bytes(), b"another user's");
    let mut open: Vec<String> = text(&directory, &path).split(',').map(str::to_owned).collect();
    open.sort_unstable();
    of_user = vec![of_user[0].clone(), of_user[599].clone()];
    of_user.sort_unstable();
    assert_eq!(open, of_user);
    assert_eq!(text(&directory, &format!("/login/{ID}")), "");
    for bad in ["1", "%ff", "8a377bc6c2e742dbbf8036301e21f25e", "%3Cscript%3E"] {
        let (status, _, said) = ask(directory.address, "GET", &format!("/login/{bad}"), "");
        assert!(status == 400 && said.contains("expected a UUID"), "{bad}: {said}");
    }
}

#[test]
fn test_data_are_generated_one_run_at_a_time_and_progress_is_counted() {
    let (profiles, redis) = (start_profiles(&[]), Redis::start());
    let directory = start(profiles.address, &redis, &[]);
    for _ in 0..3 {
        assert_eq!(text(&directory, "/testdata"), "Generating testdata");
    }
    eventually("the run is over", || {
        directory.metric("directory_testdata_running") == 0
            && directory.metric("directory_testdata_profiles_total") > 0
    });
    let wanted = directory.metric("directory_testdata_profiles_wanted");
    assert!((2..=100).contains(&wanted), "{wanted}");
    directory.expect_metric("directory_testdata_profiles_total", wanted);
    assert_eq!(directory.metric("directory_testdata_failures_total"), 0);
    let made = list(&profiles, "/profiles");
    assert_eq!(made.len() as u64, wanted);
    let users: BTreeSet<String> =
        list(&profiles, "/users").iter().map(|user| user["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(directory.metric("directory_testdata_users_total"), users.len() as u64);
    let of: Vec<BTreeSet<&str>> = made
        .iter()
        .map(|profile| {
            profile["users"].as_array().unwrap().iter().map(|user| user.as_str().unwrap()).collect()
        })
        .collect();
    // The first profile has only its own users, which all profiles have.
    let first = of.iter().min_by_key(|users| users.len()).unwrap();
    assert!((2..=100).contains(&first.len()));
    for users_of_one in &of {
        assert!(first.is_subset(users_of_one), "the users of the first profile belong to all");
        assert!((2..=200).contains(&users_of_one.len()));
        assert!(users_of_one.iter().all(|user| users.contains(*user)));
    }
    let suggested = text(&directory, "/suggested");
    let suggested: BTreeSet<&str> = suggested.strip_prefix("Suggested users: ").unwrap().split(',').collect();
    assert_eq!(suggested, *first);

    let dropped = text(&directory, "/i-swear-i-want-drop-everything");
    assert_eq!(dropped, "DB content successfully dropped, no snapshots");
    assert_eq!((text(&directory, "/users"), text(&directory, "/profiles")), (String::new(), String::new()));
}

#[test]
fn changes_of_data_can_be_switched_off_selectively() {
    let redis = Redis::start();
    let (open, guarded) = (start_profiles(&[]), start_profiles(&[("ALLOW_DROP", "false")]));
    let directory = start(open.address, &redis, &[("DESTRUCTIVE_GETS", "false")]);
    create(&open, "/users", &json!({"name": "x"}));
    for path in ["/testdata", "/i-swear-i-want-drop-everything"] {
        let (status, _, said) = ask(directory.address, "GET", path, "");
        assert!(status == 403 && said.contains("DESTRUCTIVE_GETS"), "{path}: {status} {said}");
    }
    let directory = start(open.address, &redis, &[]);
    for path in ["/testdata", "/i-swear-i-want-drop-everything", "/i-swear-i-want-drop-everything/"] {
        let (status, head, _) = ask(directory.address, "HEAD", path, "");
        assert!(
            status == 405 && head.contains("allow: get"),
            "who only looks changes nothing: {path}: {head}"
        );
    }
    assert_eq!(list(&open, "/users").len(), 1);
    assert_eq!(directory.metric("directory_testdata_profiles_wanted"), 0);
    let directory = start(guarded.address, &redis, &[]);
    let (status, _, said) = ask(directory.address, "GET", "/i-swear-i-want-drop-everything", "");
    assert!(status == 403 && said.contains("ALLOW_DROP"), "{status} {said}");
}

#[test]
fn absent_backends_are_told_from_empty_ones() {
    let (profiles, mut redis) = (start_profiles(&[]), Redis::start());
    let address = profiles.address;
    let directory = start(address, &redis, &[]);
    let profile = create(&profiles, "/profiles", &json!({"users": [ID]}));
    redis.set(format!("{ID}:{profile}").as_bytes(), b"x");
    let login = format!("/login/{ID}");
    assert_eq!(text(&directory, &login), profile);
    redis.down();
    directory.expect_degraded("redis: Redis at ");
    let (status, head, _) = ask(directory.address, "GET", &login, "");
    assert!(status == 503 && head.contains("retry-after: "), "{status} {head}");
    assert!(text(&directory, "/profiles").contains(&profile), "what needs no Redis is answered");
    redis.up();
    directory.expect_all_well();
    settles("an empty Redis has no locks", "", || text(&directory, &login));

    profiles.shutdown.drain();
    profiles.join();
    directory.expect_degraded("profiles: profiles at ");
    for path in ["/users", "/profiles", "/suggested", &login, "/testdata", "/i-swear-i-want-drop-everything"]
    {
        let (status, head, said) = ask(directory.address, "GET", path, "");
        assert!(status == 503 && head.contains("retry-after: "), "{path}: {status} {head} {said}");
    }
    assert_eq!(directory.metric("directory_testdata_profiles_wanted"), 0, "no run was begun");
    let port = address.port().to_string();
    let _again = start_profiles(&[("PORT", &port)]);
    directory.expect_all_well();
    assert_eq!(text(&directory, "/users"), "");
}

/// Requests for a list also occupy a place at `profiles`, which must be freed.
#[test]
fn ten_thousand_half_requests_leave_nothing_behind() {
    let (profiles, redis) = (start_profiles(&[]), Redis::start());
    let directory = start(profiles.address, &redis, &[]);
    let user = create(&profiles, "/users", &json!({"name": "x"}));
    half_requests(directory.address);
    assert_eq!(text(&directory, "/users"), format!("User(id={user}, name=x)"));
    directory.expect_all_well();
}

#[test]
fn ten_thousand_openings_and_aborts_leave_nothing_behind() {
    let (profiles, redis) = (start_profiles(&[]), Redis::start());
    let directory = start(profiles.address, &redis, &[]);
    let user = create(&profiles, "/users", &json!({"name": "x"}));
    create(&profiles, "/profiles", &json!({"users": [user]}));
    let paths = ["/users", "/profiles", "/suggested", "/health", "/nothing"];
    let requests = paths.map(|path| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    let login = format!("GET /login/{user} HTTP/1.1\r\nHost: x\r\n\r\n");
    let requests: Vec<&str> = requests.iter().chain([&login]).map(String::as_str).collect();
    opens_and_aborts(directory.address, &requests);
    assert_eq!(text(&directory, "/users"), format!("User(id={user}, name=x)"));
    directory.expect_all_well();
}

/// Each occupies one of the lists that are read from `profiles` at a time.
#[test]
fn clients_that_do_not_read_lists_do_not_block_other_requests() {
    let (profiles, redis) = (start_profiles(&[]), Redis::start());
    // This many concurrent lists take a while.
    let directory = start(profiles.address, &redis, &[("PROFILES_TIMEOUT", "60")]);
    // 4 MB in all, more than the kernel buffers for a client.
    let users: Vec<String> =
        (0..10_000).map(|number| format!("8a377bc6-c2e7-42db-bf80-{number:012x}")).collect();
    for _ in 0..11 {
        create(&profiles, "/profiles", &json!({"users": users}));
    }
    slow_clients(directory.address, "GET /profiles HTTP/1.1\r\nHost: x\r\n\r\n", 20, 16, || {
        assert_eq!(text(&directory, &format!("/login/{ID}")), "");
        assert!(text(&directory, "/suggested").starts_with("Suggested users: 8a377bc6"));
        directory.expect_all_well();
    });
}

/// All refusals have the same format, which browsers do not show as a page.
#[test]
fn refusals_have_problem_details() {
    let (profiles, redis) = (start_profiles(&[]), Redis::start());
    let directory = start(profiles.address, &redis, &[("DESTRUCTIVE_GETS", "false")]);
    let mut refused = vec![
        ("GET", "/nothing", 404),
        ("GET", "/login", 404),
        ("GET", "/users/1", 404),
        ("GET", "/login/%3Cscript%3E", 400),
        ("GET", "/testdata", 403),
    ];
    for path in ["/", "/health", "/users", "/profiles/", "/suggested", "/login/1", "/testdata"] {
        refused.extend(["POST", "PUT", "DELETE", "OPTIONS"].map(|method| (method, path, 405)));
    }
    for (method, path, expected) in refused {
        let (status, head, body) = ask(directory.address, method, path, "{}");
        assert_eq!(status, expected, "{method} {path}: {body}");
        assert!(head.contains("content-type: application/problem+json"), "{method} {path}: {head}");
        assert_eq!(head.contains("allow: get"), status == 405, "{method} {path}: {head}");
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((&problem["status"], &problem["type"]), (&json!(status), &json!("about:blank")), "{body}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{body}");
    }
    directory.expect_all_well();
}

/// A broken `profiles`: its lists break off, or are not lists.
#[test]
fn a_list_that_breaks_off_is_not_complete() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let user = format!(r#"{{"id":"{ID}","name":"x"}}"#);
            let body = match request.split(' ').nth(1) {
                Some("/users") => format!("[{user},{user}"),
                Some("/profiles") => r#"{"error": "none"}"#.to_owned(),
                _ => String::new(),
            };
            // It announces one byte more than it sends.
            let length = body.len() + usize::from(request.starts_with("GET /users"));
            let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
        }
    });
    let directory = start(address, &Redis::start(), &[]);
    let mut client = TcpStream::connect(directory.address).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client.write_all(b"GET /users HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(!answer.ends_with("\r\n0\r\n\r\n"), "the answer is not complete: {answer}");
    for path in ["/profiles", "/suggested"] {
        assert_eq!(ask(directory.address, "GET", path, "").0, 503, "{path}");
    }
}
