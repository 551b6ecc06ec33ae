//! What workers ask the backend for, and what comes back.

use std::net::SocketAddr;
use std::time::Instant;

use protocol::Token;
pub(crate) use service::backend::Reply;

/// A handle to a connection: its index, and a number that distinguishes it from earlier ones at the same index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handle {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// A command that needs a backend.
pub(crate) struct Request {
    /// The number of the worker that gets the completion.
    pub(crate) worker: usize,
    pub(crate) handle: Handle,
    /// The client's address, which tokens are bound to.
    pub(crate) client: SocketAddr,
    /// When the command was read: its deadline counts from here.
    pub(crate) received: Instant,
    pub(crate) work: Work,
}

/// What to do.
pub(crate) enum Work {
    Login,
    Store { token: Token, key: Box<[u8]>, value: Box<[u8]> },
    Fetch { token: Token, key: Box<[u8]> },
    Broadcast { token: Token, value: Box<[u8]> },
}

impl Work {
    /// Whether the commands behind it wait for its reply.
    pub(crate) fn is_ordered(&self) -> bool {
        !matches!(self, Self::Broadcast { .. })
    }
}

/// The outcome of a request.
pub(crate) struct Completion {
    pub(crate) handle: Handle,
    /// Later commands of the connection waited for it.
    pub(crate) ordered: bool,
    pub(crate) reply: Reply,
}
