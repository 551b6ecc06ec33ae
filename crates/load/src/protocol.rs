//! Over what a load's messages travel.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The transport of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Connections that stay.
    #[default]
    Tcp,
    /// Datagrams. What is a connection over TCP is a peer here: a socket with an address of its own.
    Udp,
}

impl Protocol {
    const NAMES: [(&'static str, Self); 2] = [("tcp", Self::Tcp), ("udp", Self::Udp)];

    /// As it is written before an address (`udp://127.0.0.1:10001`).
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, value)| *value == self).map_or("", |(name, _)| name)
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
        Self::NAMES
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, value)| *value)
            .ok_or_else(|| format!("`{text}` is none of tcp, udp"))
    }
}
