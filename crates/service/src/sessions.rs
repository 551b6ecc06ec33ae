//! Shared by services with sessions in Redis: the name of an instance there, all
//! sessions, and orders to move some.

pub mod host_id;
pub mod listed;
pub mod orders;
