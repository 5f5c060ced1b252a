//! TiDB's encodings: keys, rows, values, schema metadata and DDL jobs.

mod table;
mod value;

pub use table::{Column, ColumnType, Handle, Index, Layout, Partition, Table};
pub use value::{Value, ValueError};
