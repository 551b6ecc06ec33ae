//! A Kubernetes cluster: bringing the platform up there ([`install`]), and any namespace as a
//! [`Target`](platform::Target), whose autoscalers are watched, shown and explained.
//!
//! The target works with any `HorizontalPodAutoscaler`, installs nothing, and needs read permissions only. It names
//! what an account may not read and continues with the rest. Nothing here prints.
//!
//! From the API inwards: `connect` (kubeconfig, context, errors with their place), `access` (this account's
//! permissions), `watch` (objects as they change), `facts` (the parts of them that matter), `world` (changes as events,
//! without clock or I/O), `observe` (the loop around it). Besides: `argocd` (the platform as Argo CD's applications),
//! `balance` and `election` (a balancer's view and changes, and its leader election).

mod access;
mod act;
pub mod argocd;
mod balance;
mod case;
mod caught;
mod client;
mod connect;
mod election;
mod endpoint;
mod error;
mod facts;
mod gateways;
mod group;
pub mod install;
mod kinds;
mod kubeconfig;
mod load;
mod logs;
mod metrics;
pub mod minikube;
mod observe;
mod patience;
mod pod_http;
mod port_forward;
mod proxy;
mod read;
pub mod shell;
mod snapshot;
mod target;
mod timeouts;
mod watch;
mod world;

pub use balance::Balancing;
pub use connect::Options;
pub use election::{Election, Terms};
pub use load::{Heard, LoadJob, LoadRequest};
pub use port_forward::{CONNECTIONS_MAX as FORWARDED_MAX, PortForward};
pub use target::ClusterTarget;
