//! Users who join and leave in groups, and the words for it.

use std::fmt;

use platform::target::Subject;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::{Rate, number};

/// How many users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Users {
    All,
    /// At least one.
    Number(u64),
}

impl Serialize for Users {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_str("all"),
            Self::Number(users) => serializer.serialize_u64(*users),
        }
    }
}

impl<'de> Deserialize<'de> for Users {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        if value.as_str() == Some("all") {
            return Ok(Self::All);
        }
        match number::count::deserialize(value).map_err(D::Error::custom)? {
            0 => Err(D::Error::custom("`0` users do nothing; expected one or more, or all")),
            users => Ok(Self::Number(users)),
        }
    }
}

impl fmt::Display for Users {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str("all users"),
            Self::Number(1) => formatter.write_str("1 user"),
            Self::Number(users) => write!(formatter, "{users} users"),
        }
    }
}

/// The verb of a sentence with these users as its subject.
fn verb<'a>(users: Users, one: &'a str, more: &'a str) -> &'a str {
    if users == Users::Number(1) { one } else { more }
}

/// `2 users join`, `10000 users join, one per 5ms`
pub(super) fn write_join(formatter: &mut fmt::Formatter<'_>, users: u64, rate: Option<Rate>) -> fmt::Result {
    let users = Users::Number(users);
    write!(formatter, "{users} {}", verb(users, "joins", "join"))?;
    rate.map_or(Ok(()), |rate| write!(formatter, ", {}", rate.words()))
}

/// `6 users of ws/fullest leave`
pub(super) fn write_leave(
    formatter: &mut fmt::Formatter<'_>,
    users: Users,
    of: Option<&Subject>,
) -> fmt::Result {
    write!(formatter, "{users} ")?;
    if let Some(of) = of {
        write!(formatter, "of {of} ")?;
    }
    formatter.write_str(verb(users, "leaves", "leave"))
}

/// Whether such a sentence, an action in words, says that users joined (or else left).
pub(super) fn are_users(action: &str, join: bool) -> bool {
    let (number, rest) = action.split_once(' ').unwrap_or_default();
    let is_of_users = number == "all" || number.parse::<u64>().is_ok();
    let mut words = rest.split([' ', ',']);
    let is_users = matches!(words.next(), Some("user" | "users"));
    let verbs = if join { ["joins", "join"] } else { ["leaves", "leave"] };
    is_of_users && is_users && words.any(|word| verbs.contains(&word))
}
