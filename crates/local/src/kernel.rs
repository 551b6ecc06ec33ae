//! Information from the kernel: sockets (`sock_diag`) and processes (`/proc`).

pub(crate) mod port;
pub(crate) mod proc;
pub(crate) mod sockets;
