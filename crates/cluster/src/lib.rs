//! A Kubernetes cluster: the platform brought up there ([`install`]), and any namespace as a
//! [`Target`](platform::Target): its autoscalers watched, shown and explained.
//!
//! The target works with any `HorizontalPodAutoscaler`, installs nothing, and needs read permissions only. It names what
//! an account may not read and continues with the rest. Nothing here prints.
//!
//! From the API inwards: `connect` (kubeconfig, context, errors that say where), `access` (what this account may do),
//! `watch` (objects as they change), `facts` (what of them matters), `world` (what changed, as events; no clock and no
//! I/O), `observe` (the loop around it). Beside that: `argocd` (the platform as Argo CD's applications), `balance` and
//! `election` (what a balancer sees and changes, and which of several does).

mod access;
mod act;
pub mod argocd;
mod balance;
mod case;
mod connect;
mod election;
mod endpoint;
mod error;
mod facts;
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
mod port_forward;
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
