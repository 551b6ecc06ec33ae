//! The client side of server-sent events for an event loop: nothing here reads, writes, or keeps what it read.
//!
//! * [`head`] is the request and the head of its answer.
//! * [`body`] decodes the answer's chunks.
//! * [`events`] finds the events in the rest, however it is split, and looks only at the beginning of each line.

pub(crate) mod body;
pub(crate) mod events;
pub(crate) mod head;
