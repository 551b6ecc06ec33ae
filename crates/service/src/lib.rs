//! Shared by every service, so that all of them are configured, monitored and shut down in the same way.
//!
//! * [`settings`]: environment variables as typed values; every bad one is reported, not only the first.
//! * [`shutdown`]: running → draining → forced, for event loops and for asynchronous code alike.
//! * [`admin`]: `/healthz`, `/readyz` and `/metrics` on a thread and a port of their own; [`readiness`] is the content of
//!   `/readyz`.
//! * [`shed`]: orders to move connections to other replicas, on the admin port.
//! * [`listen`], [`handover`], [`limits`]: sockets, created here or handed over, and the limit on open files;
//!   [`datagrams`]: UDP in batches; [`mailbox`]: messages from other threads to an event loop.
//! * [`workers`]: the event loops' threads; [`backend`]: the backends, on a [`background`] thread; [`metrics`]: how
//!   both count.
//! * [`cache`]: memcached, with a deadline for each command and a circuit breaker.
//! * [`kafka`]: broadcasts to all instances, and the producer behind [`logs`].
//! * [`redis`]: connections to Redis that fail in time.
//! * [`sessions`]: shared by services with sessions in Redis.
//! * [`etcd`]: leases, transactions and watches.
//! * [`web`]: the port of a service that speaks HTTP; [`problem`]: its answer to a request that it does not carry out.
//! * [`http`]: the one HTTP client, for probes, scrapes and the APIs of neighbouring servers.
//! * [`logs`]: structured lines on stderr, and to Kafka if it is configured.
//!
//! No service starts a backend or needs one to start: a backend that is down degrades only the commands that use it.

pub mod admin;
pub mod backend;
pub mod background;
pub mod backoff;
pub mod cache;
pub mod datagrams;
mod error;
pub mod etcd;
pub mod handover;
pub mod http;
pub mod kafka;
pub mod limits;
pub mod listen;
pub mod logs;
pub mod mailbox;
pub mod metrics;
pub mod problem;
pub mod readiness;
pub mod redis;
pub mod sessions;
pub mod settings;
pub mod shed;
pub mod shutdown;
pub mod web;
pub mod workers;

pub use error::Error;
pub use readiness::Readiness;
pub use shutdown::{Phase, Shutdown};
