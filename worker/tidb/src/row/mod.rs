//! Rows: from a record's key and value to the values of a table's columns.

mod absent;
mod checksum;
mod decode;
mod handle;
mod v1;
mod v2;

pub(crate) use absent::{default_of, zero_of};
pub use checksum::Checksum;
pub use decode::DecodeError;
#[cfg(feature = "vectors")]
pub(crate) use v1::datum_value;
#[cfg(feature = "vectors")]
pub(crate) use v2::read_value;
