//! A Kubernetes cluster as a [`Target`](platform::Target): its autoscalers watched, shown and explained.
//!
//! It needs nothing of ours in the cluster: any `HorizontalPodAutoscaler` and what it scales can be looked at, with
//! read permissions only. What an account may not read is named, and the rest goes on. Nothing here prints.
//!
//! From the API inwards: `connect` (kubeconfig, context, errors that say where), `access` (what this account may do),
//! `watch` (objects as they change), `facts` (what of them matters), `world` (what changed, as events; no clock and no
//! I/O), `observe` (the loop around it).

mod access;
mod act;
mod case;
mod connect;
mod endpoint;
mod error;
mod facts;
mod kinds;
mod logs;
mod metrics;
mod observe;
mod read;
mod snapshot;
mod target;
mod watch;
mod world;

pub use connect::Options;
pub use target::ClusterTarget;
