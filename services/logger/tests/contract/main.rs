//! The service between an embedded Kafka and a scripted Elasticsearch.
#![expect(clippy::unwrap_used, reason = "a test")]

mod delivery;
mod elasticsearch;
mod outages;
mod support;
