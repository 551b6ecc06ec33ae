//! The text commands of the `tcp` and `udp` services: the meaning of packets and the answers to them. No I/O.
//!
//! * [`framing`] splits a connection's input into packets or lines.
//! * [`command`] parses one packet into a [`Command`] that borrows from it.
//! * [`reply`] has the fixed answers and errors; [`Dialect`] says how they end.
//! * [`limits`] has the sizes of the wire protocol.
//!
//! Nothing here allocates for a command; input is bytes and need not be UTF-8.

pub mod command;
pub mod dialect;
pub mod framing;
pub mod limits;
mod rejection;
pub mod reply;
mod token;

pub use command::Command;
pub use dialect::Dialect;
pub use framing::{Framer, Step};
pub use rejection::Rejection;
pub use token::Token;
