//! The text commands of the `tcp` and `udp` services: what a packet means and what is answered. No I/O.
//!
//! * [`framing`] cuts what a connection sends into packets or lines.
//! * [`command`] parses one packet to a [`Command`] that borrows from it.
//! * [`reply`] has the fixed answers and errors; [`Dialect`] says how they end.
//! * [`limits`] has the sizes that hold on the wire.
//!
//! Nothing here allocates for a command; input is bytes and need not be UTF-8.

pub mod command;
pub mod dialect;
pub mod framing;
pub mod limits;
pub mod reply;
mod token;

pub use command::{Command, Rejection};
pub use dialect::Dialect;
pub use framing::{Framer, Step};
pub use token::Token;
