//! The protocol of a load.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{hint, name_of, named};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
    /// WebSocket over TCP.
    Ws,
    /// Server-sent events over HTTP: the clients listen.
    Sse,
}

impl Protocol {
    const NAMES: [(&'static str, Self); 4] =
        [("tcp", Self::Tcp), ("udp", Self::Udp), ("ws", Self::Ws), ("sse", Self::Sse)];

    /// As it is written before an address (`udp://127.0.0.1:10001`).
    pub fn name(self) -> &'static str {
        name_of(&Self::NAMES, &self)
    }

    /// The name of our service that speaks it.
    pub fn service(self) -> &'static str {
        match self {
            Self::Sse => "stream",
            other => other.name(),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Self::NAMES.map(|(name, _)| name);
        named(&Self::NAMES, text)
            .ok_or_else(|| format!("`{text}` is not one of {}{}", names.join(", "), hint(text, names)))
    }
}
