//! How commands name what they act on.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What a command acts on: a service or a part as a whole (`tcp`, `kafka`), or one replica of it.
///
/// Written as on the command line: `tcp`, `tcp/tcp-1`, `gateway/node-0`, `tcp/fullest`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subject {
    /// A service or a part.
    pub name: String,
    pub replica: Pick,
}

/// Which replica of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pick {
    /// None was named. If the command needs one, it takes the running one with the lowest ordinal.
    Unnamed,
    /// The one with the most connections at this moment (packets per second for `udp`).
    Fullest,
    /// The one with the fewest.
    Emptiest,
    Named(String),
}

impl Pick {
    /// Which one it is depends on how loaded they are.
    pub fn is_by_load(&self) -> bool {
        matches!(self, Self::Fullest | Self::Emptiest)
    }
}

impl Subject {
    /// A service or part as a whole.
    pub fn whole(name: &str) -> Self {
        Self { name: name.to_owned(), replica: Pick::Unnamed }
    }

    /// One replica, by its name.
    pub fn replica(service: &str, replica: &str) -> Self {
        Self { name: service.to_owned(), replica: Pick::Named(replica.to_owned()) }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let replica = match &self.replica {
            Pick::Unnamed => return formatter.write_str(&self.name),
            Pick::Fullest => "fullest",
            Pick::Emptiest => "emptiest",
            Pick::Named(name) => name,
        };
        write!(formatter, "{}/{replica}", self.name)
    }
}

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        let bad = || SubjectError { text: text.to_owned() };
        let (name, replica) = match text.split_once('/') {
            None => (text, Pick::Unnamed),
            Some((_, replica)) if replica.is_empty() || replica.contains('/') => return Err(bad()),
            Some((name, "fullest")) => (name, Pick::Fullest),
            Some((name, "emptiest")) => (name, Pick::Emptiest),
            Some((name, replica)) => (name, Pick::Named(replica.to_owned())),
        };
        if name.is_empty() { Err(bad()) } else { Ok(Self { name: name.to_owned(), replica }) }
    }
}

impl TryFrom<String> for Subject {
    type Error = SubjectError;

    fn try_from(text: String) -> Result<Self, SubjectError> {
        text.parse()
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.to_string()
    }
}

/// A text that is not a [`Subject`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?}: expected a service or part (tcp, kafka) or one replica (tcp/tcp-1, tcp/fullest)")]
pub struct SubjectError {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_survive_parsing_and_printing() {
        for text in ["kafka", "tcp", "tcp/tcp-1", "tcp/fullest", "tcp/emptiest", "gateway/node-0"] {
            assert_eq!(text.parse::<Subject>().unwrap().to_string(), text);
        }
        assert_eq!("tcp/fullest".parse::<Subject>().unwrap().replica, Pick::Fullest);
        for bad in ["", "/", "tcp/", "/tcp-1", "tcp/tcp-1/x"] {
            assert!(bad.parse::<Subject>().unwrap_err().to_string().contains(&format!("{bad:?}")), "{bad}");
        }
    }
}
