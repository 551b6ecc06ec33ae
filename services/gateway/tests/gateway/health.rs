//! Active health checks against scripted `/readyz` servers.

use platform::endpoints::Endpoint;

use crate::support::{Readyz, Replica, Running, assert_echo, endpoint, is_closed, wait_until};

fn checked(name: &str, replica: &Replica, readyz: &Readyz) -> Endpoint {
    Endpoint { health: Some(readyz.address), ..endpoint(name, replica.address) }
}

#[test]
fn two_failures_take_a_backend_out_and_one_success_brings_it_back() {
    let (first, second) = (Replica::echo(), Replica::echo());
    let (ready, moody) = (Readyz::new(200), Readyz::new(200));
    let endpoints = [checked("tcp-0", &first, &ready), checked("tcp-1", &second, &moody)];
    let running = Running::with(&endpoints, &[("POLICY", "round-robin")]);
    wait_until("both are healthy", || {
        running.backend("tcp-0")["health"] == "healthy" && running.backend("tcp-1")["health"] == "healthy"
    });

    let held: Vec<_> = (0..4).map(|_| running.connect()).collect();
    for client in &held {
        assert_echo(client, "before");
    }
    running.expect_count("tcp-1", "active", 2);

    moody.answer(503);
    running.expect_backend("tcp-1", "health", "unhealthy");
    running.expect_backend("tcp-1", "last_failure", "answered HTTP/1.1 503 Told");
    let accepted = second.accepted();
    for _ in 0..10 {
        assert_echo(&running.connect(), "meanwhile");
    }
    assert_eq!(second.accepted(), accepted, "no new connection goes to it");
    for client in &held {
        assert_echo(client, "those it has go on");
    }

    moody.answer(200);
    running.expect_backend("tcp-1", "health", "healthy");
    for _ in 0..4 {
        assert_echo(&running.connect(), "after");
    }
    assert_eq!(second.accepted(), accepted + 2);
}

#[test]
fn a_backend_that_was_never_ready_gets_nothing() {
    let (replica, readyz) = (Replica::echo(), Readyz::new(503));
    let running = Running::with(&[checked("tcp-0", &replica, &readyz)], &[]);
    running.expect_backend("tcp-0", "health", "unhealthy");
    assert!(is_closed(&running.connect()));
    assert_eq!(replica.accepted(), 0);
    running.expect_metric("gateway_backend_healthy{backend=\"tcp-0\"}", 0);
}

#[test]
fn checks_end_with_their_endpoint() {
    let replica = Replica::echo();
    let (leaving, staying) = (Readyz::new(200), Readyz::new(200));
    let endpoints = [checked("tcp-0", &replica, &leaving), checked("tcp-1", &replica, &staying)];
    let (running, mut file) = Running::with_file(&endpoints, &[]);
    wait_until("it is checked more than once", || leaving.asked() > 2);
    running.replace(&mut file, &endpoints[1..]);
    let (mut asked, mut so_far) = (leaving.asked(), staying.asked());
    wait_until("the other one is checked ten times and this one never", || {
        if leaving.asked() > asked {
            // A check may have been in progress.
            (asked, so_far) = (leaving.asked(), staying.asked());
        }
        staying.asked() > so_far + 10
    });
}
