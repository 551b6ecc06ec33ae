//! The contract of `profiles`: with the data in memory, or in the Cassandra that `TEST_CASSANDRA` names (`host:port`).
#![expect(clippy::unwrap_used, reason = "tests")]

mod crowds;
mod described;
mod lists;
mod objects;
mod refusals;
mod support;
