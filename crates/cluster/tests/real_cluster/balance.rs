//! What a balancer does to pods, by the rights that the chart gives it, and which of two does it.
//!
//! kwok's pods have no processes: the test itself serves their admin ports, at loopback addresses that it writes into
//! their status.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use autoscale::explain;
use cluster::{Balancing, ClusterTarget, Election, Terms};
use parking_lot::Mutex;
use platform::{
    EventKind, Target as _, TargetError,
    target::{Balanced, Shed, Traffic},
};
use serde_json::json;

use crate::world::{Namespace, Watched, until};

const TOKEN: &str = "0123456789abcdef";

/// As in the chart, where it owns the number of replicas.
fn rights() -> serde_json::Value {
    json!([
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "patch"]},
        {"apiGroups": ["apps"], "resources": ["deployments/scale"], "resourceNames": ["chat"], "verbs": ["get", "patch"]},
        {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": ["list"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create", "get", "update"]},
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
    ])
}

fn balancing(gauge: Option<&str>) -> Balancing {
    Balancing {
        service: "chat".to_owned(),
        gauge: gauge.map(ToOwned::to_owned),
        token: Some(TOKEN.to_owned()),
        inside: true,
        name: "balancer-0".to_owned(),
    }
}

#[test]
fn a_pod_that_is_inactive_leaves_the_endpoints_and_stays_ready_and_the_cheapest_goes_first() {
    let namespace = Namespace::new("traffic");
    namespace.application_with("chat", 4, 9100);
    let admin = namespace.admin();
    let watched = Watched::new(&admin);
    let target = namespace.account("balancer", &rights(), false).of_balancer(balancing(None));
    let seen = target.snapshot().unwrap().services.remove(0);
    assert_eq!((seen.name.as_str(), seen.desired, seen.replicas.len()), ("chat", 4, 4));
    assert!(seen.autoscaler.is_none());
    let names: Vec<String> = seen.replicas.iter().map(|replica| replica.name.clone()).collect();
    until("all pods in the endpoints", || (namespace.endpoints("chat").len() == 4).then_some(()));

    target.set_traffic("chat", &names[1], Traffic::Inactive).unwrap();
    until("one out of the endpoints", || {
        let endpoints = namespace.endpoints("chat");
        (endpoints.len() == 3 && !endpoints.contains(&names[1])).then_some(())
    });
    target.set_deletion_cost("chat", &names[1], -100).unwrap();
    let version = namespace.pod_version(&names[1]);
    target.set_traffic("chat", &names[1], Traffic::Inactive).unwrap();
    target.set_deletion_cost("chat", &names[1], -100).unwrap();
    assert_eq!(namespace.pod_version(&names[1]), version, "what is so already is not written again");
    // By other means, as `status` shows it: of somebody who is no balancer.
    let service = admin.snapshot().unwrap().services.remove(0);
    let one = service.replicas.iter().find(|replica| replica.name == names[1]).unwrap();
    assert_eq!((one.traffic, one.deletion_cost, one.admin_port), (Traffic::Inactive, -100, Some(9100)));
    assert_eq!(one.phase, platform::target::ReplicaPhase::Ready);

    let orders = vec![format!("{} becomes inactive", names[1]), "4 → 3".to_owned()];
    let balanced = Balanced { orders, reason: "a test: it says so".to_owned() };
    target.tell_balanced("chat", &balanced).unwrap();
    let scaled = target.scale("chat", 3).unwrap();
    assert_eq!((scaled.from, scaled.to, scaled.autoscaled), (4, 3, None));
    namespace.settled("chat", 3);
    assert!(!namespace.pods("chat").contains(&names[1]), "the one with the lowest cost went");
    target.set_traffic("chat", &names[0], Traffic::Inactive).unwrap();
    target.set_traffic("chat", &names[0], Traffic::Active).unwrap();
    until("it is in the endpoints again", || namespace.endpoints("chat").contains(&names[0]).then_some(()));

    watched.until("what was done and said", |events| {
        let said = EventKind::Balanced {
            service: "chat".to_owned(),
            orders: balanced.orders.clone(),
            reason: balanced.reason.clone(),
        };
        let is_inactive = |event: &EventKind| {
            matches!(event, EventKind::TrafficChanged { pod, traffic: Traffic::Inactive, .. } if *pod == names[1])
        };
        events.contains(&said) && events.iter().any(is_inactive)
    });
    // A later question gets the same.
    let last = until("the last decision", || admin.snapshot().unwrap().services.remove(0).balanced);
    assert_eq!((last.orders, last.reason), (balanced.orders, balanced.reason));
    let unknown = target.set_traffic("chat", "chat-x", Traffic::Inactive).unwrap_err();
    assert!(matches!(unknown, TargetError::UnknownReplica { .. }), "{unknown:?}");
    assert!(
        target.drain(&format!("chat/{}", names[0]).parse().unwrap()).is_err(),
        "it may change pods, not delete them"
    );
}

#[test]
fn proposals_are_read_from_the_autoscalers_own_status() {
    let namespace = Namespace::new("asks");
    namespace.application("chat", 1);
    namespace.autoscaler("chat", 1, 3);
    let target = namespace.account("balancer", &rights(), false).of_balancer(balancing(None));
    // 250 of 100 on each: eight would be needed, and three are allowed.
    namespace.load("chat", 250_000);
    until("what the controller saw", || {
        let seen = explain::explain(&target.autoscaler("chat").ok()?).ok()?;
        (seen.current == 3 && seen.proposal == Some(8)).then_some(())
    });
    let service = target.snapshot().unwrap().services.remove(0);
    assert_eq!((service.desired, service.autoscaler.map(|one| (one.min, one.max))), (3, Some((1, 3))));
    let scaled = target.scale("chat", 2).unwrap();
    assert_eq!((scaled.from, scaled.autoscaled), (3, Some((1, 3))), "who owns the replicas is told");
}

/// The admin port of a pod.
struct Admin {
    address: SocketAddr,
    connections: Arc<Mutex<u64>>,
    orders: Arc<Mutex<Vec<String>>>,
}

impl Admin {
    fn serve(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let (connections, orders) = (Arc::new(Mutex::new(7)), Arc::<Mutex<Vec<String>>>::default());
        let admin = Self { address, connections: Arc::clone(&connections), orders: Arc::clone(&orders) };
        // It ends with the tests.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let _ = answer(stream, &connections, &orders);
            }
        });
        admin
    }
}

fn answer(
    mut stream: TcpStream,
    connections: &Mutex<u64>,
    orders: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (status, answer) = if head.starts_with("GET /metrics ") {
        ("200 OK", format!("# TYPE chat_users gauge\nchat_users {}\n", connections.lock()))
    } else if head.starts_with("POST /shed ")
        && head.to_lowercase().contains(&format!("authorization: bearer {TOKEN}"))
    {
        orders.lock().push(String::from_utf8(body).unwrap());
        ("200 OK", r#"{"id":"a","accepted":5}"#.to_owned())
    } else {
        ("401 Unauthorized", "who are you?".to_owned())
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{answer}", answer.len())
}

/// Two listeners with one port, at loopback addresses that are nobody else's.
fn listeners() -> Option<[TcpListener; 2]> {
    let id = std::process::id().to_be_bytes();
    let at = |last| Ipv4Addr::new(127, 200 + id[2] % 50, id[3], last);
    let one = TcpListener::bind((at(1), 0)).ok()?;
    let other = TcpListener::bind((at(2), one.local_addr().ok()?.port())).ok()?;
    Some([one, other])
}

#[test]
fn connections_are_counted_and_shed_at_the_pods_own_ports() {
    let admins = until("a free port", listeners).map(Admin::serve);
    let namespace = Namespace::new("shed");
    namespace.application_with("chat", 2, admins[0].address.port());
    let names = namespace.pods("chat");
    for (name, admin) in names.iter().zip(&admins) {
        namespace.set_ip(name, &admin.address.ip().to_string());
    }
    *admins[1].connections.lock() = 20;
    let target = namespace.account("balancer", &rights(), false).of_balancer(balancing(Some("chat_users")));
    let snapshot = target.snapshot().unwrap();
    assert_eq!(snapshot.problems, [] as [String; 0]);
    let count = |name: &str| {
        let replica = snapshot.services[0].replicas.iter().find(|replica| replica.name == name).unwrap();
        replica.connections
    };
    assert_eq!((count(&names[0]), count(&names[1])), (Some(7), Some(20)));

    let order = Shed { id: "a".to_owned(), count: 6 };
    assert_eq!(target.shed("chat", &names[1], &order).unwrap(), 5);
    assert_eq!(*admins[1].orders.lock(), [r#"{"count":6,"id":"a"}"#]);
    assert!(admins[0].orders.lock().is_empty());

    let stranger = Balancing { token: Some("another-one-12345".to_owned()), ..balancing(Some("users")) };
    let stranger = namespace.account("stranger", &rights(), false).of_balancer(stranger);
    let refused = stranger.shed("chat", &names[0], &order).unwrap_err().to_string();
    assert!(refused.contains("401 Unauthorized: who are you?"), "{refused}");
    let snapshot = stranger.snapshot().unwrap();
    assert!(snapshot.services[0].replicas.iter().all(|replica| replica.connections.is_none()));
    let problems = snapshot.problems.join("\n");
    assert!(problems.contains(&format!("the connections of {} are unknown", names[0])), "{problems}");
    assert!(problems.contains("/metrics has no gauge users"), "{problems}");
    // An administrator outside finds the token where the pod gets it.
    let error = namespace.admin().shed("chat", &names[0], &order).unwrap_err().to_string();
    assert!(error.contains("SHED_TOKEN refers to no Secret"), "{error}");
}

#[test]
fn one_of_two_acts_and_stops_before_the_other_one_begins() {
    let namespace = Namespace::new("election");
    let terms = Terms {
        lasts: Duration::from_secs(3),
        sure: Duration::from_secs(2),
        retry: Duration::from_millis(300),
    };
    let (first, cut) = namespace.through_a_cut("first", &rights());
    let second = namespace.account("second", &rights(), false);
    let stand =
        |target: ClusterTarget, name: &str| Election::begin(&Arc::new(target), "balancer-chat", name, terms);
    let first = stand(first, "first");
    until("the first one leads", || first.leads().then_some(()));
    let second = stand(second, "second");
    until("the second one sees it", || (second.holder() == "first").then_some(()));
    assert!(first.leads() && !second.leads());

    // It cannot reach the API server any more and does not know what others do.
    cut.cut();
    until("the second one leads", || {
        let (led, leads) = (first.leads(), second.leads());
        assert!(!(led && leads), "both lead");
        leads.then_some(())
    });
    assert!(!first.leads());
    cut.mend();
    until("the first one sees that", || (first.holder() == "second").then_some(()));
    assert!(!first.leads() && second.leads());

    second.give_back();
    assert!(!second.leads());
    until("the first one leads again", || first.leads().then_some(()));
    // Somebody deletes it: a candidate makes it again.
    namespace.delete("coordination.k8s.io/v1", "Lease", "balancer-chat");
    until("the lease is there again", || {
        namespace.has("coordination.k8s.io/v1", "Lease", "balancer-chat").then_some(())
    });
    until("the first one leads still", || first.leads().then_some(()));
}
