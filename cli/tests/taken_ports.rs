//! Another process has an address of the platform: the platform names the process and keeps running.

mod support;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};

use support::{Lab, QUICK, both, echo, eventually, lossy};

const SOON: Duration = Duration::from_mins(1);

#[test]
fn the_holder_of_a_taken_port_is_named_and_running_replicas_stay() {
    let lab = Lab::new("taken");
    lab.up(&["--set", "tcp.replicas=1", "--set", "tcp.autoscaling=null"]);
    let clients = lab.endpoint();
    let of_platform = |service: u8, place: u8, port: u16| {
        let IpAddr::V4(ip) = clients.ip() else { panic!("{clients}: a platform's addresses are IPv4") };
        SocketAddr::from((Ipv4Addr::new(127, ip.octets()[1], service, place), port))
    };

    // The second replica's port for clients, then the third's admin port.
    let for_clients = taken(&lab, of_platform(2, 2, 40_000), &["--set", "tcp.replicas=2"]);
    let admin = taken(&lab, of_platform(2, 3, 9100), &["--set", "tcp.replicas=3"]);
    // The embedded memcached's port.
    let memcached = of_platform(250, 1, 11_999);
    let cache = taken(&lab, memcached, &["--set", "tcp.replicas=3", "--set", "memcached.port=11999"]);
    assert_eq!(echo(clients, "still").expect("an answer"), "still", "what ran keeps running");
    let parts = lab.status()["parts"].as_array().expect("parts").clone();
    let of_cache = parts.iter().find(|part| part["name"] == "memcached").expect("the old one keeps running");
    assert_ne!(of_cache["address"], memcached.to_string());

    drop((for_clients, admin, cache));
    // Each is retried after kubelet's back-off.
    let ready = eventually(SOON, || if lab.ready() == 3 { Ok(()) } else { Err(lab.replicas()) });
    assert_eq!(ready, Ok(()), "they come when the ports are free");
}

/// Takes an address, and checks that a change that needs it reports that.
fn taken(lab: &Lab, address: SocketAddr, change: &[&str]) -> TcpListener {
    let holder = TcpListener::bind(address).expect("nobody has it yet");
    let output = lab.run(&[&["up"], &QUICK[..], &["--set", "tcp.autoscaling=null"], change].concat());
    let said = lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{}", both(&output));
    assert!(said.contains(&format!("{address} is taken by ")), "{said}");
    assert!(said.contains(&format!("(pid {})", std::process::id())), "{said}");
    assert!(said.contains("playctl --platform NAME up"), "a way out: {said}");
    holder
}

#[test]
fn a_draining_replica_that_is_killed_was_draining() {
    let lab = Lab::new("killed-draining");
    lab.ok(&[
        "up",
        "--nodes",
        "1",
        "--set",
        "tcp.replicas=2",
        "--set",
        "tcp.autoscaling=null",
        "--set",
        "tcp.env.SIGTERM_TIMEOUT=300",
        "--set",
        "tcp.terminationGracePeriodSeconds=600",
    ]);
    lab.ok(&["scale", "tcp", "1"]);
    let draining = eventually(SOON, || {
        let replicas = lab.replicas();
        replicas.iter().find(|(_, phase)| phase == "draining").map(|(name, _)| name.clone()).ok_or(replicas)
    })
    .expect("one of two drains");
    let killed = lab.json(&["kill", &format!("tcp/{draining}")]);
    assert_eq!((&killed["draining"], &killed["restart_in_ms"]), (&true.into(), &().into()), "{killed}");
    let gone = eventually(SOON, || if lab.replicas().len() == 1 { Ok(()) } else { Err(lab.replicas()) });
    assert_eq!(gone, Ok(()), "it is gone at once, not after its grace period");
}
