//! The workload against the product's decoder and the embedded cluster; one binary, for it links once.
// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agreement;
mod cluster;
mod outcomes;
mod schema;

use tidemark_tidb::{Column, TimeZone, Value};

/// MySQL's type byte of YEAR.
const YEAR: u8 = 13;

/// A decoded value's text as canal-json has it: binary strings as latin-1, years as plain numbers (the decoder prints them
/// as TiDB does, with four digits). NULL and an empty string both give nothing.
fn canonical(value: &Value<'_>, column: &Column) -> String {
    if let (Value::Int(year), YEAR) = (value, column.ty.tp) {
        return year.to_string();
    }
    let mut text = Vec::new();
    value.write_text(column, &TimeZone::Utc, &mut text).unwrap();
    if column.ty.is_binary() {
        text.iter().map(|byte| char::from(*byte)).collect()
    } else {
        String::from_utf8(text).unwrap()
    }
}
