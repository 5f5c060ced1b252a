//! Rows to bytes: the row view that all encoders share, canal-json and CSV.
//!
//! An update that changes the row's name (`Table::handle_key`) is told as a DELETE of the old row and
//! an INSERT of the new, so that a consumer that keys rows by it never keeps the old one. TiCDC splits
//! an update when a column of *any* unique index changes; here it stays one UPDATE unless the
//! handle key changes, since `old` carries the old values of the other indexes. A change of a clustered
//! primary key reaches us as two changes anyway: the key itself moves.

mod canal;
mod csv;
mod digits;
mod error;
mod event;
mod json_text;
pub(crate) mod types;

pub use canal::{CanalDdl, CanalDdlKind, CanalJson, CanalOptions};
pub use csv::{Csv, CsvError};
pub use error::EncodeError;
pub use event::{RowChange, RowEvent, RowKind};
