//! The address of memcached.

use std::fmt;
use std::num::NonZeroU16;

use crate::settings::{Reader, Variable};

pub const MEMCACHED_SERVICE: Variable = Variable::optional(
    "MEMCACHED_SERVICE",
    "Host of memcached (1.6 or newer), or several separated by commas. Keys are spread over all their addresses. \
     If not set, commands that need it answer `error: cache unavailable`.",
);
pub const MEMCACHED_PORT: Variable = Variable::new("MEMCACHED_PORT", "11211", "TCP port of memcached.");
pub const CACHE_TIMEOUT: Variable =
    Variable::new("CACHE_TIMEOUT", "500ms", "Total time limit of a command that needs memcached.");

/// The address of memcached. Names are resolved again every half minute, and at each attempt to reach a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// A name or an address, or several separated by commas.
    pub host: String,
    pub port: u16,
}

impl Settings {
    /// `None` if no host is set.
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let port = reader.get::<NonZeroU16>(&MEMCACHED_PORT).get();
        let settings = Self { host: reader.optional(&MEMCACHED_SERVICE)?, port };
        if settings.hosts().any(|host| host.is_empty() || host.contains(char::is_whitespace)) {
            reader.refuse(&MEMCACHED_SERVICE, &settings.host, "a host, or several separated by commas");
        }
        Some(settings)
    }

    pub(super) fn hosts(&self) -> impl Iterator<Item = &str> {
        self.host.split(',').map(str::trim)
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}
