//! etcd: leases, transactions, lists and watches, through the JSON gateway on every member's client port.
//!
//! gRPC would need a second HTTP stack and `protoc` at build time; a handful of requests a second does not justify
//! that. A request goes to the member that answered last, and once to each of the others if that one does not answer;
//! only a [`Watch`] stays with one member. No answer of a member can make memory grow beyond the limits below, or cause
//! a panic.

mod client;
mod lines;
mod wire;

use std::fmt;
use std::time::Duration;

pub use self::client::{Client, List, Watch};
pub use self::lines::Lines;
pub use self::wire::{Batch, Change, Committed, Entry, Lease, Txn, read_watched};
use crate::http::{self, Url};
use crate::settings::{Reader, Variable};

pub const ETCD_ENDPOINTS: Variable = Variable::optional(
    "ETCD_ENDPOINTS",
    "Members of etcd (3.4 or newer), as in `http://etcd01:2379,http://etcd02:2379`: `WHO` then covers all servers \
     that share them. If not set, it covers only this server.",
);
pub const ETCD_LEASE_TTL: Variable = Variable::new(
    "ETCD_LEASE_TTL",
    "10",
    "How long the clients of a killed server stay in etcd; whole seconds, 2 to 600.",
);

/// Maximum number of members.
const ENDPOINTS_MAX: usize = 16;
/// etcd grants no lease shorter than one and a half elections, which take a second by default.
const LEASE_TTL_LEAST: Duration = Duration::from_secs(2);
const LEASE_TTL_MOST: Duration = Duration::from_mins(10);

/// The address of etcd, and the lifetime of a lease that nobody keeps alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// At least one.
    pub endpoints: Vec<Url>,
    pub lease_ttl: Duration,
}

impl Settings {
    /// `None` if no member is given.
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let lease_ttl = reader.duration(&ETCD_LEASE_TTL);
        if !(LEASE_TTL_LEAST..=LEASE_TTL_MOST).contains(&lease_ttl) || lease_ttl.subsec_nanos() != 0 {
            let expected = "a number of whole seconds from 2 to 600";
            reader.refuse_given(&ETCD_LEASE_TTL, expected);
        }
        let text: String = reader.optional(&ETCD_ENDPOINTS)?;
        match endpoints(&text) {
            Ok(endpoints) => Some(Self { endpoints, lease_ttl }),
            Err(expected) => {
                reader.refuse(&ETCD_ENDPOINTS, text, expected);
                None
            }
        }
    }
}

/// The members, or what was expected.
fn endpoints(text: &str) -> Result<Vec<Url>, String> {
    let urls: Result<Vec<Url>, _> = text.split(',').map(str::trim).map(http::url).collect();
    match urls {
        Ok(urls) if urls.len() > ENDPOINTS_MAX => Err(format!("at most {ENDPOINTS_MAX} members")),
        Ok(urls) if urls.iter().all(|url| url.path() == "/" && url.query().is_none()) => Ok(urls),
        _ => {
            Err("http://HOST:PORT of a member, or several separated by commas; https is not supported".into())
        }
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator}{}", endpoint.as_str().trim_end_matches('/'))?;
        }
        Ok(())
    }
}

/// Why etcd did not carry out a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No member gave a valid answer; with each one's reason. It is unknown whether the request was carried out.
    #[error("{0}")]
    Away(String),
    /// The lease has expired or was revoked.
    #[error("the lease is gone")]
    LeaseGone,
    /// The watched revision is no longer in etcd's history: list again.
    #[error("the history was compacted")]
    Compacted,
    /// A member refuses, and others would too.
    #[error("etcd refuses: {0}")]
    Refused(String),
    /// More than the caller can hold.
    #[error("{0}")]
    TooMuch(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Env;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<Settings>, String> {
        let env: Env = pairs.iter().copied().collect();
        let mut reader = Reader::new(&env);
        let settings = Settings::read(&mut reader);
        reader.finish(settings).map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn members_are_read_with_or_without_spaces() {
        let settings =
            read(&[("ETCD_ENDPOINTS", "http://etcd01:2379, http://10.0.0.7:2379/")]).unwrap().unwrap();
        assert_eq!(settings.to_string(), "http://etcd01:2379,http://10.0.0.7:2379");
        assert_eq!(settings.lease_ttl, Duration::from_secs(10));
        assert_eq!(read(&[]), Ok(None));
    }

    #[test]
    fn invalid_members_and_times_are_named() {
        for wrong in
            ["etcd01:2379", "https://etcd01:2379", "http://a:1,,http://b:1", "http://a:1/v3", "http://a:1?b"]
        {
            let message = read(&[("ETCD_ENDPOINTS", wrong)]).unwrap_err();
            assert!(message.contains("ETCD_ENDPOINTS") && message.contains("http://HOST:PORT"), "{message}");
        }
        let many = vec!["http://a:1"; ENDPOINTS_MAX + 1].join(",");
        assert!(read(&[("ETCD_ENDPOINTS", &many)]).unwrap_err().contains("at most 16"));
        for wrong in ["1", "601", "2500ms", "0"] {
            let message = read(&[("ETCD_LEASE_TTL", wrong)]).unwrap_err();
            assert!(message.contains("ETCD_LEASE_TTL") && message.contains("from 2 to 600"), "{message}");
        }
    }
}
