//! A table of tests for each rule, through the crate's public surface alone.

mod bench;
mod changes;
mod endpoints;
mod gateways;
mod in_memory;
mod lifecycle;
mod metrics;
mod parts;
mod requests;
mod rollout;
mod teardown;
mod traffic;
