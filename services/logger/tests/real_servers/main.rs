//! The service between a real Kafka and a real Elasticsearch: `infrastructure/testbed/test logger` starts those and
//! runs this.
#![expect(clippy::unwrap_used, reason = "a test")]

mod documents;
mod exactly_once;
mod kafka;
mod process;
mod reading;
mod sasl;
mod testbed;
