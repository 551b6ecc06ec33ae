//! The wire contract of the `tcp` service, over real sockets.
//!
//! Every test has its own server on free ports. Kafka is librdkafka's mock cluster; memcached is a real server of its
//! protocol, and so is etcd, which only the feature `real-servers` needs. No test depends on how long something takes:
//! tests wait for conditions, with a deadline.
#![expect(clippy::unwrap_used, reason = "tests")]

mod broadcast;
mod cache;
mod churn;
mod commands;
mod dialects;
mod drain;
mod framing;
mod garbage;
#[cfg(feature = "real-servers")]
mod presence;
mod shed;
mod slow;
mod support;
