//! Where memcached is.

use std::fmt;

use crate::settings::{Reader, Variable};

pub const MEMCACHED_SERVICE: Variable = Variable::optional(
    "MEMCACHED_SERVICE",
    "Host of memcached (1.6 or newer); if not set, commands that need it answer `error: cache unavailable`.",
);
pub const MEMCACHED_PORT: Variable = Variable::new("MEMCACHED_PORT", "11211", "TCP port of memcached.");
pub const CACHE_TIMEOUT: Variable =
    Variable::new("CACHE_TIMEOUT", "500ms", "What a command that needs memcached may take in all.");

/// Where memcached is. The name is looked up at each attempt to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub host: String,
    pub port: u16,
}

impl Settings {
    /// `None` if no host is set.
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let port = reader.get(&MEMCACHED_PORT);
        Some(Self { host: reader.optional(&MEMCACHED_SERVICE)?, port })
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}
