//! The answers of the port.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use fixtures::{DEADLINE, Running};
use service::Shutdown;
use service::settings::Env;

fn start(variables: &[(&str, &str)]) -> Running {
    let common = [("HOST", "127.0.0.1"), ("PORT", "0"), ("ADMIN_PORT", "0")];
    let env: Env = common.into_iter().chain(variables.iter().copied()).collect();
    let shutdown = Shutdown::new();
    let server = page::Server::bind(page::Settings::from_env(&env).unwrap(), shutdown.clone()).unwrap();
    let addresses = (server.bound().address(), server.bound().admin_address());
    Running::start(addresses, server.bound().readiness().clone(), shutdown, move || server.run())
}

/// Head and body.
fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

#[test]
fn the_page_and_its_files_are_served_with_a_policy_against_inline_code() {
    let page = start(&[]);
    let (_, index) = get(page.address, "/");
    let attributes = |name: &str| {
        let before = format!("{name}=\"");
        let values = index.split(&before).skip(1);
        values.map(|rest| rest.split('"').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let files: Vec<String> = attributes("src").into_iter().chain(attributes("href")).collect();
    let files = files.iter().filter(|file| !file.starts_with("data:"));
    let paths: Vec<String> = files.map(|file| format!("/{file}")).chain(["/".to_owned()]).collect();
    assert_eq!(paths.len(), 3, "{paths:?}");
    for path in &paths {
        let (head, body) = get(page.address, path);
        assert!(head.starts_with("http/1.1 200 "), "{path}: {head}");
        assert!(head.contains("x-content-type-options: nosniff") && !body.is_empty(), "{path}: {head}");
        let policy = head.lines().find_map(|line| line.strip_prefix("content-security-policy: ")).unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    }
    assert!(get(page.address, "/nothing").0.starts_with("http/1.1 404 "));
    assert!(get(page.admin, "/metrics").1.contains("page_views_total 2\n"));
}

#[test]
fn the_page_gets_the_connection_limit_of_a_server() {
    for (variables, limit) in [(&[][..], 10), (&[("CONNECTION_LIMIT_PER_HOST", "25")], 25)] {
        let page = start(variables);
        assert_eq!(get(page.address, "/settings.json").1, format!(r#"{{"connectionLimitPerHost":{limit}}}"#));
    }
    let env: Env = [("CONNECTION_LIMIT_PER_HOST", "0")].into_iter().collect();
    let error = page::Settings::from_env(&env).unwrap_err().to_string();
    assert!(error.contains("CONNECTION_LIMIT_PER_HOST=\"0\""), "{error}");
}
