//! The client's side of server-sent events for an event loop: nothing here reads, writes, or keeps what it read.
//!
//! * [`head`] is the request and the head of its answer.
//! * [`body`] takes the answer's chunks apart.
//! * [`pairs`] makes the users and profiles that a load asks for.
//! * [`events`] finds the events in what is left, however it is cut, and looks at no more than the beginning of each line.

pub(crate) mod body;
pub(crate) mod events;
pub(crate) mod head;
pub(crate) mod pairs;
