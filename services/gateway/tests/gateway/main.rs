//! The gateway over real sockets: every test has its own listeners, replicas, and endpoints file or DNS server.

#![expect(clippy::unwrap_used, reason = "a step that fails is to fail its test")]

mod backends;
mod churn;
mod dns;
mod dns_server;
mod drain;
mod ends;
mod handover;
mod health;
mod http;
mod limits;
mod memory;
mod process;
mod relay;
mod slow;
mod support;
mod udp;
