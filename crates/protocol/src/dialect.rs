//! The two dialects of the same commands.

use std::fmt;
use std::str::FromStr;

/// How a service greets, ends its replies and treats unknown commands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Silent on connect and on unknown commands; a line end only for clients that send lines.
    #[default]
    Playground,
    /// Greets, ends every reply with a line end, and answers unknown commands with a hint.
    Socketz,
}

impl Dialect {
    /// The greeting on connect, with its line end.
    pub fn greeting(self) -> Option<&'static [u8]> {
        match self {
            Self::Playground => None,
            Self::Socketz => Some(b"use 'WHY', 'WHO', 'WHERE', 'QUIT'\n"),
        }
    }

    /// The answer to an unknown command, without its line end.
    pub fn unknown_command(self) -> Option<&'static [u8]> {
        match self {
            Self::Playground => None,
            Self::Socketz => Some(b"invalid command:\n use 'WHY', 'WHO', 'WHERE', 'QUIT'"),
        }
    }

    /// Whether replies end with a line end even for clients that send none.
    pub fn always_ends_lines(self) -> bool {
        self == Self::Socketz
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Playground => "playground",
            Self::Socketz => "socketz",
        })
    }
}

/// An unknown dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownDialect;

impl fmt::Display for UnknownDialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("playground or socketz")
    }
}

impl std::error::Error for UnknownDialect {}

impl FromStr for Dialect {
    type Err = UnknownDialect;

    fn from_str(name: &str) -> Result<Self, UnknownDialect> {
        match name {
            "playground" => Ok(Self::Playground),
            "socketz" => Ok(Self::Socketz),
            _ => Err(UnknownDialect),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for dialect in [Dialect::Playground, Dialect::Socketz] {
            assert_eq!(dialect.to_string().parse(), Ok(dialect));
        }
        assert_eq!("Socketz".parse::<Dialect>(), Err(UnknownDialect));
    }
}
