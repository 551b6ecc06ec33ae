//! HAProxy's configuration.

use std::{fmt::Write, net::SocketAddr};

use super::proxy::REPLICAS;

/// One connection takes two descriptors and the usual limit is 20,000; 200 remain for the rest.
const CONNECTIONS_MAX: usize = 9_900;

/// With splicing it also needs descriptors for a quarter as many pipes, or it does not start.
const SPLICED_CONNECTIONS_MAX: usize = 4_000;

/// HAProxy's defaults, except what makes it comparable: the number of threads, the choice of replicas and their checks.
pub(super) fn configuration(front: SocketAddr, threads: usize, bulk: bool) -> String {
    let (splice, connections) =
        if bulk { ("\n    option splice-auto", SPLICED_CONNECTIONS_MAX) } else { ("", CONNECTIONS_MAX) };
    let mut text = format!(
        "global
    nbthread {threads}
    maxconn {connections}
defaults
    mode tcp
    maxconn {connections}
    timeout connect 5s
    timeout client 10m
    timeout server 10m{splice}
frontend tcp
    bind {front} backlog 4096
    default_backend tcp
backend tcp
    balance random(2)
    option httpchk GET /readyz
"
    );
    for (ordinal, replica) in REPLICAS.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "    server tcp-{ordinal} {} check addr {} port {} inter 1s fall 2 rise 2",
            replica.address,
            replica.health.ip(),
            replica.health.port(),
        );
    }
    text
}
