//! Where something is reached: a host, by name or address, and a port.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Longest name that DNS allows, in bytes.
const NAME_MAX: usize = 253;

/// A host and a port, written `host:port`; an IPv6 address stands in brackets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPort {
    pub host: Host,
    pub port: u16,
}

/// A machine, as clients name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    Ip(IpAddr),
    /// The client looks it up when it connects.
    Name(String),
}

impl HostPort {
    /// Without a lookup; `None` if the host is a name.
    pub fn socket(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Ip(ip) => Some(SocketAddr::new(ip, self.port)),
            Host::Name(_) => None,
        }
    }
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        Self { host: Host::Ip(address.ip()), port: address.port() }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(ip)) => write!(formatter, "[{ip}]"),
            Self::Ip(ip) => ip.fmt(formatter),
            Self::Name(name) => formatter.pad(name),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, HostPortError> {
        let parse = || {
            let (host, port) = text.rsplit_once(':')?;
            Some(Self { host: host_of(host)?, port: port.parse().ok()? })
        };
        parse().ok_or_else(|| HostPortError { text: text.to_owned() })
    }
}

fn host_of(text: &str) -> Option<Host> {
    if let Some(ip) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return Some(Host::Ip(ip.parse::<Ipv6Addr>().ok()?.into()));
    }
    if let Ok(ip) = text.parse::<std::net::Ipv4Addr>() {
        return Some(Host::Ip(ip.into()));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let is_name = (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(allowed);
    is_name.then(|| Host::Name(text.to_owned()))
}

impl TryFrom<String> for HostPort {
    type Error = HostPortError;

    fn try_from(text: String) -> Result<Self, HostPortError> {
        text.parse()
    }
}

impl From<HostPort> for String {
    fn from(address: HostPort) -> Self {
        address.to_string()
    }
}

impl JsonSchema for HostPort {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HostPort".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// A text that is not a [`HostPort`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?}: expected host:port, such as 127.0.0.1:10000, [::1]:10000 or chat.example.org:10000")]
pub struct HostPortError {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_survive_parsing_and_printing() {
        for text in ["127.77.0.1:10000", "[::1]:5151", "lb-1.eu.example.org:10000", "localhost:80"] {
            let address: HostPort = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(serde_json::to_string(&address).unwrap(), format!("{text:?}"));
            assert_eq!(serde_json::from_str::<HostPort>(&format!("{text:?}")).unwrap(), address);
            assert_eq!(address.socket(), text.parse::<SocketAddr>().ok(), "only an address needs no lookup");
        }
    }

    #[test]
    fn other_texts_are_refused_and_quoted() {
        for text in ["", "host", "host:", ":80", "host:70000", "::1:80", "[host]:80", "a b:80", "a/b:80"] {
            let error = text.parse::<HostPort>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{text:?}: expected host:port")), "{error}");
        }
    }
}
