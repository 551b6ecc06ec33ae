//! What services with sessions in Redis share: the name of an instance there, and the orders to move sessions.

pub mod host_id;
pub mod orders;
