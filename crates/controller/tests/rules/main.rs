//! A set of tests for each rule, which use only the crate's public API.

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
