//! The service between an embedded Kafka and an Elasticsearch that does what the test wants.
#![expect(clippy::unwrap_used, reason = "a test")]

mod delivery;
mod elasticsearch;
mod outages;
mod support;
