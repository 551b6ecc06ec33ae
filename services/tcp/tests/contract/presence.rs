//! Clients of all servers, kept in a real etcd. Tests that kill processes are in `cli/tests/presence.rs`.

use std::time::Duration;

use fixtures::{Etcd, settles};
use protocol::Dialect;
use serde_json::json;

use crate::support::{Client, Connect as _, Running, eventually, settings, start};

const TOTAL: &str = "/sockets/client_list_cnt";
const SERVERS: &str = "/sockets/presence/";
/// Long enough for a busy machine to keep it alive.
const TTL: Duration = Duration::from_secs(5);
/// A lease that does not expire while a test waits.
const FOR_EVER: Duration = Duration::from_mins(10);

fn start_with(etcd: &Etcd, lease_ttl: Duration) -> Running {
    start(tcp::Settings { etcd: Some(etcd.settings(lease_ttl)), ..settings() })
}

/// The two lines of `WHO`: the addresses in order, and the number.
fn who(client: &mut Client) -> (Vec<String>, usize) {
    client.send("WHO\n");
    let (list, count) = (client.line(), client.line());
    let list = list.strip_prefix("client list: {").and_then(|list| list.strip_suffix('}')).expect("a list");
    let mut list: Vec<String> = list.split(", ").map(|client| client.trim_matches('\'').to_owned()).collect();
    list.sort();
    let count = count.strip_prefix("connected clients: ").expect("a number");
    (list, count.parse().expect("a number"))
}

fn addresses(clients: &[Client]) -> Vec<String> {
    let mut addresses: Vec<String> = clients.iter().map(|client| client.address().to_string()).collect();
    addresses.sort();
    addresses
}

/// Every client learns of every other, and the total is right.
#[track_caller]
fn expect_all(etcd: &Etcd, clients: &mut [Client]) {
    let all = addresses(clients);
    for client in &mut *clients {
        settles("WHO", (all.clone(), all.len()), || who(client));
    }
    settles("the total", Some(all.len().to_string()), || etcd.get(TOTAL));
}

#[test]
fn who_lists_clients_of_all_servers() {
    let etcd = Etcd::start(1);
    let servers = [start_with(&etcd, FOR_EVER), start_with(&etcd, FOR_EVER), start_with(&etcd, FOR_EVER)];
    let mut clients: Vec<Client> = servers.iter().map(crate::support::Connect::client).collect();
    expect_all(&etcd, &mut clients);
    clients.extend([servers[1].client(), servers[2].client()]);
    expect_all(&etcd, &mut clients);
    clients.remove(0);
    expect_all(&etcd, &mut clients);
    for server in &servers {
        server.expect_metric("tcp_presence_servers", 3);
        let own = etcd.get(&format!("{SERVERS}{}", server.id()));
        assert_eq!(own, Some(server.metric("tcp_connections").to_string()));
        server.expect_all_well();
    }
}

#[test]
fn socketz_has_a_line_for_all_servers() {
    let etcd = Etcd::start(1);
    let servers = [(); 2].map(|()| {
        let etcd = Some(etcd.settings(FOR_EVER));
        start(tcp::Settings { dialect: Dialect::Socketz, etcd, ..settings() })
    });
    let mut clients = [servers[0].client(), servers[1].client(), servers[1].client()];
    for (client, own) in clients.iter_mut().zip([1, 2, 2]) {
        client.line();
        let lines = || {
            client.send("WHO");
            let [_, own, all] = [client.line(), client.line(), client.line()];
            (own, all)
        };
        let expected =
            (format!("connected clients: {own}"), "clients connected to all servers: 3".to_owned());
        settles("WHO", expected, lines);
    }
}

#[test]
fn a_server_that_ends_removes_its_clients_at_once() {
    let etcd = Etcd::start(1);
    let (first, second) = (start_with(&etcd, FOR_EVER), start_with(&etcd, FOR_EVER));
    let (leaving, mut staying) = (first.client(), [second.client()]);
    settles("the total", Some("2".to_owned()), || etcd.get(TOTAL));
    // Until now, the first server has written the total.
    first.shutdown.force();
    first.join();
    drop(leaving);
    expect_all(&etcd, &mut staying);
    second.shutdown.force();
    second.join();
    assert_eq!(etcd.list("/sockets/"), []);
}

#[test]
fn a_lease_that_is_lost_is_replaced() {
    let etcd = Etcd::start(1);
    let servers = [start_with(&etcd, TTL), start_with(&etcd, TTL)];
    let mut clients = [servers[0].client(), servers[1].client()];
    expect_all(&etcd, &mut clients);
    let leases = etcd.call("/v3/lease/leases", &json!({}));
    let leases: Vec<_> = leases["leases"].as_array().expect("leases").clone();
    assert_eq!(leases.len(), 2);
    for lease in &leases {
        etcd.call("/v3/lease/revoke", lease);
    }
    // The old leases are gone, so the keys are on new ones.
    expect_all(&etcd, &mut clients);
    let now = etcd.call("/v3/lease/leases", &json!({}));
    assert!(leases.iter().all(|lease| !now["leases"].as_array().expect("leases").contains(lease)));
    servers.iter().for_each(Running::expect_all_well);
}

#[test]
fn entries_deleted_or_overwritten_by_others_are_restored() {
    let etcd = Etcd::start(1);
    let servers = [start_with(&etcd, FOR_EVER), start_with(&etcd, FOR_EVER)];
    let mut clients = [servers[0].client(), servers[1].client()];
    expect_all(&etcd, &mut clients);
    // etcdctl put /sockets/client_list_cnt 77
    etcd.call("/v3/kv/put", &json!({"key": "L3NvY2tldHMvY2xpZW50X2xpc3RfY250", "value": "Nzc="}));
    expect_all(&etcd, &mut clients);
    // etcdctl del --prefix /sockets/
    etcd.call("/v3/kv/deleterange", &json!({"key": "L3NvY2tldHMv", "range_end": "L3NvY2tldHMw"}));
    expect_all(&etcd, &mut clients);
}

#[test]
fn while_etcd_is_away_who_lists_its_own_servers_clients() {
    let mut etcd = Etcd::start(1);
    let servers = [start_with(&etcd, TTL), start_with(&etcd, TTL)];
    let mut clients = [servers[0].client(), servers[1].client()];
    expect_all(&etcd, &mut clients);
    etcd.down();
    for (server, client) in servers.iter().zip(&mut clients) {
        server.expect_degraded("presence");
        let own = client.address().to_string();
        settles("WHO", (vec![own], 1), || who(client));
        // The next attempt notices it.
        server.expect_degraded("WHO speaks for this server alone");
        server.expect_metric("tcp_presence_servers", 0);
        assert_eq!(client.ask("msg:echo\n"), "echo\n");
    }
    etcd.up();
    expect_all(&etcd, &mut clients);
    servers.iter().for_each(Running::expect_all_well);
}

#[test]
fn compacted_history_is_not_needed() {
    let mut etcd = Etcd::start(1);
    let servers = [start_with(&etcd, TTL), start_with(&etcd, TTL)];
    let mut clients = vec![servers[0].client(), servers[1].client()];
    expect_all(&etcd, &mut clients);
    // Changes that leave no trace except the result.
    etcd.down();
    clients.pop();
    clients.push(servers[0].client());
    etcd.up();
    let revision = etcd.revision().to_string();
    etcd.call("/v3/kv/compaction", &json!({"revision": revision, "physical": true}));
    expect_all(&etcd, &mut clients);
}

#[test]
fn a_server_starts_without_etcd_and_finds_it_later() {
    let mut etcd = Etcd::start(1);
    etcd.down();
    let server = start_with(&etcd, TTL);
    server.expect_degraded("Connection refused");
    let mut clients = [server.client()];
    assert_eq!(who(&mut clients[0]).1, 1);
    etcd.up();
    expect_all(&etcd, &mut clients);
    server.expect_all_well();
}

#[test]
fn a_read_only_etcd_is_named_and_other_servers_stay_known() {
    let etcd = Etcd::start(1);
    let servers = [start_with(&etcd, FOR_EVER), start_with(&etcd, FOR_EVER)];
    let mut clients = vec![servers[0].client(), servers[1].client()];
    expect_all(&etcd, &mut clients);
    // As if its quota were exhausted.
    etcd.call("/v3/maintenance/alarm", &json!({"action": "ACTIVATE", "alarm": "NOSPACE"}));
    clients.push(servers[0].client());
    servers[0].expect_degraded("database space exceeded");
    assert_eq!(who(&mut clients[0]).1, 3);
    assert_eq!(who(&mut clients[1]).1, 2);
    etcd.call("/v3/maintenance/alarm", &json!({"action": "DEACTIVATE", "alarm": "NOSPACE"}));
    expect_all(&etcd, &mut clients);
    servers.iter().for_each(Running::expect_all_well);
}

#[test]
fn a_server_continues_with_the_remaining_members() {
    let mut etcd = Etcd::start(3);
    let servers = [start_with(&etcd, TTL), start_with(&etcd, TTL)];
    let mut clients = vec![servers[0].client(), servers[1].client()];
    for victim in [(etcd.leader().expect("a leader") + 1) % 3, etcd.leader().expect("a leader")] {
        expect_all(&etcd, &mut clients);
        etcd.kill(victim);
        clients.push(servers[0].client());
        clients.push(servers[1].client());
        expect_all(&etcd, &mut clients);
        eventually("all is well", || servers.iter().all(|server| server.page("/readyz").1 == "ready\n"));
        etcd.up();
    }
}

#[test]
fn a_member_without_a_leader_says_so() {
    let mut etcd = Etcd::start(3);
    let servers = [start_with(&etcd, FOR_EVER), start_with(&etcd, FOR_EVER)];
    let mut clients = [servers[0].client(), servers[1].client()];
    expect_all(&etcd, &mut clients);
    etcd.kill(0);
    etcd.kill(1);
    for (server, client) in servers.iter().zip(&mut clients) {
        server.expect_degraded("WHO speaks for other servers as they last were");
        assert_eq!(who(client).1, 2);
    }
    etcd.up();
    expect_all(&etcd, &mut clients);
    servers.iter().for_each(Running::expect_all_well);
}

#[test]
fn a_hanging_member_is_left_and_its_delayed_requests_change_nothing() {
    let etcd = Etcd::start(3);
    let servers = [start_with(&etcd, TTL), start_with(&etcd, TTL), start_with(&etcd, TTL)];
    let mut clients: Vec<Client> = servers.iter().map(crate::support::Connect::client).collect();
    for member in 0..3 {
        expect_all(&etcd, &mut clients);
        etcd.freeze(member, true);
        clients.extend(servers.iter().map(crate::support::Connect::client));
        expect_all(&etcd, &mut clients);
        etcd.freeze(member, false);
        clients.truncate(4);
    }
    expect_all(&etcd, &mut clients);
}
