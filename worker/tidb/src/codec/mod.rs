//! TiDB's encodings of single values: memcomparable and compact forms, decimals, times, JSON.
//!
//! Readers take a slice, never panic on any bytes, and borrow from it where the form allows.

pub mod comparable;
mod cursor;
pub mod datum;
pub mod decimal;
pub(crate) mod digits;
pub mod json;
pub mod time;
pub mod varint;

pub(crate) use cursor::Cursor;
