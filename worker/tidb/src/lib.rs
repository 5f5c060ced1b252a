//! TiDB's encodings: keys, rows, values, schema metadata and DDL jobs.
//!
//! A [`Table`] comes from the schema at a timestamp; it turns a record's key and value into
//! [`Value`]s, which borrow from them and print themselves.

pub mod codec;
pub mod key;
pub mod meta_key;
mod row;
pub mod schema;
mod table;
mod text;
mod value;
#[cfg(feature = "vectors")]
pub mod vectors;
mod zone;

pub use key::{RecordKey, RowKey, record_span};
pub use row::{Checksum, DecodeError};
pub use table::{Column, ColumnType, Handle, Index, Layout, Partition, Table, tp};
pub use value::{StoredValue, Value, ValueError};
pub use zone::{TimeZone, ZoneError};
