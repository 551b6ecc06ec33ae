//! What services with sessions in Redis share: the name of an instance there, all
//! sessions, and the orders to move some.

pub mod host_id;
pub mod listed;
pub mod orders;
