//! History that PD protects in feeds' names.

mod connection;
mod keeper;

pub(crate) use connection::release;
pub(crate) use keeper::{Protection, SafePoints};
