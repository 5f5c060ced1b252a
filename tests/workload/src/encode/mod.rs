//! TiDB's encodings of keys, rows and values, written apart from the product's decoder so that
//! each checks the other.

mod collation;
mod datum;
mod decimal;
mod json;
mod key;
mod memcomparable;
mod row;
mod temporal;

pub use collation::Collation;
pub use datum::Datum;
pub use decimal::Decimal;
pub use json::Json;
pub use key::{
    common_handle, index_key, int_handle, meta_field, meta_hash, meta_string, record_key, record_range,
};
pub use memcomparable::{decode_bytes, encode_bytes};
pub use row::{RowFormat, encode_row};
pub use temporal::{CivilTime, duration_text, truncate_micros};
