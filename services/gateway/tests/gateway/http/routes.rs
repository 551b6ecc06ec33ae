//! Which service answers, and the path that it gets.

use super::{Client, HTTP, gateway, get, mirror};
use crate::dns_server::{DnsServer, Say};
use crate::support::{Running, endpoint, wait_until};

#[test]
fn the_path_selects_the_service_and_its_prefix_is_removed() {
    let (directory, stream) = (mirror("directory"), mirror("stream"));
    let (running, _file) = gateway(
        &[
            ("directory", &[endpoint("directory-0", directory.address)]),
            ("stream", &[endpoint("stream-0", stream.address)]),
        ],
        &[],
    );
    let mut client = Client::new(running.address);
    for (path, service, seen) in [
        ("/main", "directory", "/"),
        ("/main/", "directory", "/"),
        ("/main?a=b&c", "directory", "/?a=b&c"),
        ("/main/login/42?x=/main", "directory", "/login/42?x=/main"),
        ("/mainx", "stream", "/mainx"),
        ("/", "stream", "/"),
        ("/stream/u/p?since=1", "stream", "/stream/u/p?since=1"),
        ("http://other/main/users", "directory", "/users"),
    ] {
        let answer = client.get(path);
        assert_eq!(answer.status(), 200);
        let expected = format!("{service}\nGET {seen} HTTP/1.1\r\n");
        assert!(answer.text().starts_with(&expected), "{path}: {}", answer.text());
    }
    // One connection to each replica was enough, and the client's connection stayed open.
    assert_eq!((directory.accepted(), stream.accepted()), (1, 1));
    running.expect_metric("gateway_connections_opened_total", 1);
    running.expect_metric("gateway_requests_total", 8);
    running.expect_metric("gateway_answers_total{status=\"2xx\"}", 8);
    running.expect_count("directory-0", "closed", 5);
    assert!(running.count("stream-0", "bytes_from") > 0);
    running.expect_all_well();
}

#[test]
fn paths_without_a_route_are_not_found() {
    let directory = mirror("directory");
    let endpoints = [endpoint("directory-0", directory.address)];
    let (running, _file) = gateway(&[("directory", &endpoints)], &[("ROUTES", "/main=directory")]);
    let answer = get(running.address, "/other");
    assert_eq!(answer.status(), 404);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(get(running.address, "/main").status(), 200);
}

#[test]
fn each_service_is_found_by_a_name_of_its_own() {
    let (directory, stream) = (mirror("directory"), mirror("stream"));
    let server = DnsServer::new("play.", Say::Addresses(vec![[127, 0, 0, 1].into()]));
    let names =
        format!("directory=play.:{},stream=play.:{}", directory.address.port(), stream.address.port());
    let running = Running::start_with(&[
        HTTP,
        super::ROUTES,
        ("ENDPOINTS_DNS", &names),
        ("DNS_SERVER", &server.address.to_string()),
        ("DNS_REFRESH", "20ms"),
        ("HEALTH_PORT", "0"),
    ]);
    wait_until("it is ready", || running.get("/readyz").0 == 200);
    assert!(get(running.address, "/main/x").text().starts_with("directory\nGET /x "));
    assert!(get(running.address, "/x").text().starts_with("stream\nGET /x "));

    // A failed look-up changes nothing, and is reported once for both.
    server.say(Say::Fail);
    running.expect_degraded("endpoints: play.");
    running.expect_metric("gateway_endpoints_stale", 1);
    assert_eq!(get(running.address, "/main/x").status(), 200);
    server.say(Say::Addresses(vec![[127, 0, 0, 1].into()]));
    running.expect_all_well();
    running.expect_metric("gateway_endpoints_stale", 0);
}
