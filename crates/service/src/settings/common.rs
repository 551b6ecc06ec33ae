//! Variables that mean the same for every service.

use super::Variable;

pub const HOST: Variable =
    Variable::new("HOST", "::", "Address to listen on; `::` is every address of both families.");
pub const ADMIN_HOST: Variable = Variable::new(
    "ADMIN_HOST",
    "127.0.0.1",
    "Address of the admin port. Probes and scrapes from outside need the replica's own address.",
);
pub const ADMIN_PORT: Variable =
    Variable::new("ADMIN_PORT", "9100", "TCP port of /healthz, /readyz and /metrics; 0 is any free one.");
pub const WORKERS: Variable =
    Variable::new("WORKERS", "1", "I/O threads. More replicas are the better way to use more cores.");
pub const POD_NAME: Variable =
    Variable::optional("POD_NAME", "Name of this replica in logs; the host's name if not set.");
pub const PROFILES_URL: Variable =
    Variable::new("PROFILES_URL", "http://base-service:8080", "Address of `profiles`: http://HOST[:PORT].");
