use std::{collections::BTreeMap, io::Write as _, pin::pin};

use proptest::prelude::*;
use socket2::{Domain, SockAddr, Socket, Type};

use super::{
    super::super::tests::{endpoint, proxy},
    *,
};

/// Output of HAProxy 2.6.12.
const STATE: &str = "1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port
3 tcp 2 tcp-0 127.77.2.1 2 8 1 1 0 1 0 0 6 0 0 0 - 40000 - 0 9100 127.77.2.1 127.77.2.1 9100
3 tcp 3 tcp-1 127.77.2.2 0 1 1 1 0 1 0 0 2 0 0 0 - 40000 - 0 9100 - - 9100

";

fn settings() -> Gateway {
    proxy("haproxy", &[]).settings
}

fn server(ordinal: u8, admin_state: u32) -> Server {
    let Endpoint { name, address, .. } = endpoint(ordinal, false);
    Server { name, address, admin_state }
}

fn commands(there: &[Server], wanted: Vec<Endpoint>) -> Vec<String> {
    let wanted = Cluster { name: "tcp".to_owned(), endpoints: wanted };
    plan(there, &wanted, &settings()).into_iter().map(|step| step.command).collect()
}

#[tokio::test]
async fn connecting_waits_for_a_full_queue() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("haproxy.sock");
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
    listener.listen(1).unwrap();
    let mut there = Vec::new();
    let full = loop {
        match control::connect(&path) {
            Ok(stream) => there.push(stream),
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    let mut connecting = pin!(connect(&path));
    tokio::select! {
        biased;
        connected = &mut connecting => panic!("{connected:?}"),
        () = std::future::ready(()) => {}
    }
    drop(listener.accept().unwrap());
    connecting.await.unwrap();
}

#[test]
fn haproxys_servers_are_read() {
    assert_eq!(parse(STATE).unwrap(), [server(0, 8), server(1, 1)]);
    assert_eq!(parse("1\n# be_id srv_name srv_addr srv_port srv_admin_state\n\n").unwrap(), []);
    assert_eq!(parse("Can't find backend.\n"), None);
}

#[test]
fn servers_in_the_wanted_state_are_left_alone() {
    assert!(commands(&[server(0, 0), server(1, 8)], vec![endpoint(0, false), endpoint(1, true)]).is_empty());
}

#[test]
fn servers_are_added_before_others_are_removed() {
    let steps =
        commands(&[server(0, 8), server(1, 0), server(2, 0)], vec![endpoint(1, true), endpoint(3, false)]);
    assert_eq!(
        steps,
        [
            "set server tcp/tcp-1 state drain",
            "add server tcp/tcp-3 127.77.2.4:40000 maxconn 50000 id 4 check addr 127.77.2.4 port 9100 inter 1000ms fall 2 rise 1",
            "enable health tcp/tcp-3",
            "set server tcp/tcp-3 state ready",
            "set server tcp/tcp-0 state maint",
            "del server tcp/tcp-0",
            "set server tcp/tcp-2 state maint",
            "del server tcp/tcp-2",
        ]
    );
}

#[test]
fn a_server_that_moved_is_deleted_and_added_again() {
    let mut old = server(0, 1);
    old.address.set_port(1);
    let steps = commands(&[old], vec![endpoint(0, false)]);
    assert_eq!(steps[..2], ["set server tcp/tcp-0 state maint", "del server tcp/tcp-0"]);
    assert!(steps[2].starts_with("add server tcp/tcp-0 127.77.2.1:40000"), "{steps:?}");
}

#[test]
fn a_refusal_is_an_error_unless_it_is_harmless() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("runtime.sock");
    let listener = control::bind(&socket).unwrap();
    let served = std::thread::spawn(move || {
        for answer in ["\n", "No such server.\n\n", "Server is still in use\n"] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut command = String::new();
            io::BufRead::read_line(&mut io::BufReader::new(&stream), &mut command).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let silent = Step::silent("set server tcp/tcp-0 state maint".to_owned());
        silent.carry_out(&socket).await.unwrap();
        let error = silent.carry_out(&socket).await.unwrap_err().to_string();
        assert!(error.contains("No such server.") && error.contains("tcp/tcp-0"), "{error}");
        let [_, delete] = remove("tcp", &server(0, 0));
        delete.carry_out(&socket).await.unwrap();
    });
    served.join().unwrap();
}

/// HAProxy's reaction to commands, as far as the plan uses them.
fn obey(servers: &mut BTreeMap<String, Server>, command: &str) {
    let words: Vec<&str> = command.split(' ').collect();
    let name = words[2].strip_prefix("tcp/").unwrap().to_owned();
    match (words[0], words[1]) {
        ("add", "server") => {
            let address = words[3].parse().unwrap();
            let added = servers.insert(name.clone(), Server { name, address, admin_state: 1 });
            assert_eq!(added, None, "added twice");
        }
        ("set", "server") => {
            let state = match words[4] {
                "ready" => 0,
                "drain" => 8,
                _ => 1,
            };
            servers.get_mut(&name).unwrap().admin_state = state;
        }
        ("del", "server") => assert_eq!(servers.remove(&name).unwrap().admin_state, 1),
        ("enable", "health") => assert!(servers.contains_key(&name)),
        _ => panic!("{command}"),
    }
}

proptest! {
    #[test]
    fn any_state_becomes_the_wanted_one(
        there in proptest::collection::btree_map(0_u8..6, prop::sample::select(vec![0_u32, 1, 8, 9]), 0..6),
        wanted in proptest::collection::btree_map(0_u8..6, any::<bool>(), 0..6),
    ) {
        let there: Vec<Server> = there.into_iter().map(|(ordinal, state)| server(ordinal, state)).collect();
        let endpoints: Vec<Endpoint> =
            wanted.iter().map(|(ordinal, draining)| endpoint(*ordinal, *draining)).collect();
        let mut servers: BTreeMap<String, Server> =
            there.iter().map(|server| (server.name.clone(), server.clone())).collect();
        for command in commands(&there, endpoints.clone()) {
            obey(&mut servers, &command);
        }
        let left: Vec<Server> = servers.into_values().collect();
        let expected: Vec<Server> = wanted
            .iter()
            .map(|(ordinal, draining)| server(*ordinal, if *draining { 8 } else { 0 }))
            .collect();
        prop_assert_eq!(&left, &expected);
        prop_assert!(commands(&left, endpoints).is_empty());
    }
}
