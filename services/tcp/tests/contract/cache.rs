//! Tokens and values in memcached, and memcached going away.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use crate::support::{Client, Connect as _, DEADLINE, Memcached, Running, eventually, settings, start};

fn start_with(memcached: &Memcached) -> Running {
    start(tcp::Settings { cache: Some(memcached.settings()), ..settings() })
}

#[test]
fn values_are_stored_and_fetched() {
    let memcached = Memcached::start();
    let server = start_with(&memcached);
    let mut client = server.client();
    let token = client.login();
    assert_eq!(client.ask(format!("mcset:{token}:colour:blue")), "success");
    assert_eq!(client.ask(format!("mcget:{token}:colour")), "blue");
    assert_eq!(client.ask(format!("mcset:{token}:time:10:30")), "success");
    assert_eq!(client.ask(format!("mcget:{token}:time")), "10:30");
    assert_eq!(client.ask(format!("mcget:{token}:nothing")), "error: key not found");
    let (key, value) = ("k".repeat(64), "v".repeat(256));
    assert_eq!(client.ask(format!("mcset:{token}:{key}:{value}")), "success");
    assert_eq!(client.ask(format!("mcget:{token}:{key}")), value);
}

#[test]
fn every_login_gives_a_new_token_and_all_stay_valid() {
    let memcached = Memcached::start();
    let server = start_with(&memcached);
    let mut client = server.client();
    let (first, second) = (client.login(), client.ask("token"));
    assert_ne!(first, second);
    assert_eq!(client.ask(format!("mcset:{first}:k:v")), "success");
    assert_eq!(client.ask(format!("mcget:{second}:k")), "v");
}

#[test]
fn a_token_is_valid_for_its_address_only() {
    let memcached = Memcached::start();
    let server = start_with(&memcached);
    let (mut owner, mut thief) = (server.client(), server.client());
    let token = owner.login();
    assert_eq!(thief.ask(format!("mcget:{token}:k")), "error: token not valid");
    assert_eq!(thief.ask(format!("mcset:{token}:k:v")), "error: token not valid");
    assert_eq!(owner.ask(format!("mcget:{}:k", "0".repeat(36))), "error: token not valid");
    assert_eq!(owner.ask(format!("mcset:{token}:k:v")), "success");
}

#[test]
fn a_stored_value_never_passes_as_a_token() {
    let memcached = Memcached::start();
    let server = start_with(&memcached);
    let (mut accomplice, mut forger) = (server.client(), server.client());
    let token = accomplice.login();
    let key = "k".repeat(34);
    // With exactly the key and value of a forged token.
    let address = forger.address();
    assert_eq!(accomplice.ask(format!("mcset:{token}:{key}:{address}")), "success");
    for command in ["mcset:c-KEY:k:v", "mcget:c-KEY:k", "brd:c-KEY:v"] {
        let answer = forger.ask(command.replace("KEY", &key));
        assert_eq!(answer, "error: token may not begin with c-", "{command}");
    }
}

#[test]
fn keys_are_spread_over_all_servers_and_found_through_every_replica() {
    let memcached: [Memcached; 3] = Memcached::start_several();
    let [first, second, third] = memcached.each_ref().map(Memcached::host);
    // Every replica gets the hosts in a different order.
    let replicas = [format!("{third},{first},{second}"), format!("{second}, {third}, {first}")].map(|host| {
        let cache = service::cache::Settings { host, ..memcached[0].settings() };
        let server = start(tcp::Settings { cache: Some(cache), ..settings() });
        server.expect_all_well();
        server
    });
    let mut places = [0; 3];
    for number in 0..60 {
        let mut writer = replicas[number % 2].client();
        let token = writer.login();
        let key = format!("key-{number}");
        assert_eq!(writer.ask(format!("mcset:{token}:{key}:value {number}")), "success");
        let mut reader = replicas[(number + 1) % 2].client();
        let other = reader.login();
        assert_eq!(reader.ask(format!("mcget:{other}:{key}")), format!("value {number}"));
        for key in [token, other, format!("c-{key}")] {
            // Placed like other clients do, over the sorted addresses.
            let place = crc32fast::hash(key.as_bytes()) as usize % 3;
            places[place] += 1;
            for (index, memcached) in memcached.iter().enumerate() {
                assert_eq!(memcached.has(&key), index == place, "{key} on server {index}");
            }
        }
    }
    assert!(places.iter().all(|count| *count > 0), "{places:?}");
}

#[test]
fn a_memcached_that_is_down_loses_only_its_own_keys() {
    let mut memcached: [Memcached; 3] = Memcached::start_several();
    let host = memcached.each_ref().map(Memcached::host).join(",");
    let cache = service::cache::Settings { host, ..memcached[0].settings() };
    let server = start(tcp::Settings { cache: Some(cache), ..settings() });
    server.expect_all_well();
    let place = |key: &str| crc32fast::hash(key.as_bytes()) as usize % 3;
    let mut client = server.client();
    let token = std::iter::repeat_with(|| client.login()).find(|token| place(token) != 1).unwrap();
    let key_on =
        |wanted| (0..1000).map(|n| format!("k{n}")).find(|key| place(&format!("c-{key}")) == wanted).unwrap();
    let keys = [0, 1, 2].map(key_on);
    for key in &keys {
        assert_eq!(client.ask(format!("mcset:{token}:{key}:v")), "success");
    }
    memcached[1].down();
    let [first, lost, last] = &keys;
    assert_eq!(client.ask(format!("mcget:{token}:{lost}")), "error: cache unavailable");
    for key in [first, last] {
        assert_eq!(client.ask(format!("mcget:{token}:{key}")), "v");
    }
    server.expect_degraded(&memcached[1].host());
    memcached[1].up();
    server.expect_all_well();
    assert_eq!(client.ask(format!("mcget:{token}:{lost}")), "error: key not found");
}

#[test]
fn nothing_is_injected_into_memcached() {
    let memcached = Memcached::start();
    let server = start_with(&memcached);
    let mut client = server.client();
    let token = client.login();
    client.send("\n");
    for key in ["k 0 360 1", "k\rset c-evil 0 0 4\r", "k\0", "k\tx", "\x7f", " "] {
        client.send(format!("mcset:{token}:{key}:evil\n"));
        assert!(client.line().starts_with("error: key may not"), "{key:?}");
        client.send(format!("mcget:{token}:{key}:\n"));
        assert!(client.line().starts_with("error: key may not"), "{key:?}");
    }
    let spaced = format!("{} 0 0 1\r", "a".repeat(28));
    client.send(format!("mcget:{spaced}:k\n"));
    assert!(client.line().starts_with("error: token"));
    client.send(format!("mcget:{token}:evil\n"));
    assert_eq!(client.line(), "error: key not found");

    // A value is data: any content comes back.
    client.send(format!("mcset:{token}:data:x\rset c-evil 0 0 4\rEN\n"));
    assert_eq!(client.line(), "success");
    client.send(format!("mcget:{token}:data\nmcget:{token}:evil\n"));
    assert_eq!(client.line(), "x\rset c-evil 0 0 4\rEN");
    assert_eq!(client.line(), "error: key not found");
}

#[test]
fn replies_keep_the_order_of_the_commands() {
    let memcached = Memcached::start();
    let server = start_with(&memcached);
    let mut client = server.client();
    let token = client.login();
    let mut sent = String::new();
    let mut expected = String::new();
    for number in 0..200 {
        write!(sent, "mcset:{token}:k:{number}\nmsg:{number}\nmcget:{token}:k\nWHY\n").unwrap();
        write!(expected, "success\n{number}\n{number}\n42\n").unwrap();
    }
    client.send(sent);
    client.finish_sending();
    client.expect(expected);
    client.expect_closed();
}

#[test]
fn the_cache_works_again_after_memcached_returns() {
    let mut memcached = Memcached::start();
    let server = start_with(&memcached);
    let mut client = server.client();
    let token = client.login();
    assert_eq!(client.ask(format!("mcset:{token}:k:v")), "success");

    memcached.down();
    assert_eq!(client.ask(format!("mcget:{token}:k")), "error: cache unavailable");
    assert_eq!(client.ask("login"), "error: cache unavailable");
    assert_eq!(client.ask("msg:echo"), "echo");
    server.expect_degraded("cache: ");

    memcached.up();
    eventually("tokens are issued again", || client.ask("login").len() == 36);
    assert_eq!(client.ask(format!("mcget:{token}:k")), "error: token not valid");
    server.expect_all_well();
}

#[test]
fn a_server_starts_without_its_memcached() {
    let mut memcached = Memcached::start();
    memcached.down();
    let server = start_with(&memcached);
    assert_eq!(server.client().ask("login"), "error: cache unavailable");
    memcached.up();
    let mut client = server.client();
    eventually("tokens are issued", || client.ask("login").len() == 36);
}

#[test]
fn a_silent_memcached_costs_a_deadline_and_not_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let cache =
        service::cache::Settings { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
    let server =
        start(tcp::Settings { cache: Some(cache), cache_timeout: Duration::from_millis(500), ..settings() });
    let mut clients: Vec<Client> = (0..20).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send("login\nmsg:behind\n");
    }
    for client in &mut clients {
        client.expect("error: cache unavailable\nbehind\n");
    }
}

/// Answers the first request of each connection as a probe expects, and all others with endless bytes. Returns its port
/// and, for each ended connection, how much could be sent.
fn endless_memcached() -> (u16, Receiver<u64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let tell = tell.clone();
            std::thread::spawn(move || {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).and_then(|_| stream.write_all(b"MN\r\n"));
                let _ = stream.read(&mut request);
                let (endless, mut sent) = (vec![b'x'; 65_536], 0);
                while let Ok(count) = stream.write(&endless) {
                    sent += count as u64;
                }
                // The receiver is gone once the test is over.
                let _ = tell.send(sent);
            });
        }
    });
    (port, told)
}

#[test]
fn an_endless_reply_costs_neither_memory_nor_the_deadline() {
    // More than both sides' socket buffers hold, and far less than can be sent within the deadline.
    const BYTES_MAX: u64 = 32 << 20;
    let (port, ended) = endless_memcached();
    let cache = service::cache::Settings { host: "127.0.0.1".into(), port };
    let cache_timeout = Duration::from_hours(1);
    let server = start(tcp::Settings { cache: Some(cache), cache_timeout, ..settings() });
    server.expect_all_well();
    let mut client = server.client();
    assert_eq!(client.ask("login"), "error: cache unavailable");
    let sent = ended.recv_timeout(DEADLINE).expect("the connection is given up");
    assert!(sent < BYTES_MAX, "{sent} bytes were read");
    assert_eq!(client.ask("msg:echo"), "echo");
}
