//! Values that lie in the record key.

use crate::codec::datum::Datum;
use crate::key::{RecordKey, RowKey};
use crate::table::tp;
use crate::{Column, ColumnType, Value, ValueError};

use super::v1;

/// The integer primary key's value.
pub(crate) fn int_value<'a>(ty: &ColumnType, handle: i64) -> Result<Value<'a>, ValueError> {
    match ty.tp {
        tp::TINY | tp::SHORT | tp::LONG | tp::LONGLONG | tp::INT24 if ty.is_unsigned() => {
            Ok(Value::UInt(handle.cast_unsigned()))
        }
        tp::TINY | tp::SHORT | tp::LONG | tp::LONGLONG | tp::INT24 => Ok(Value::Int(handle)),
        _ => Err(ValueError {
            what: "record key",
            offset: 0,
            problem: "an integer handle for a column of another type",
        }),
    }
}

/// Gives `place` each key column's offset and value as the key holds it: for strings that can be a
/// prefix or a sort key.
pub(crate) fn common_values<'a>(
    columns: &[Column],
    handle: &[(usize, Option<usize>)],
    row_key: &'a RowKey<'_>,
    key: &RecordKey<'a>,
    mut place: impl FnMut(usize, Value<'a>),
) -> Result<(), ValueError> {
    let mut long_strings = 0;
    for (datum, &(at, _)) in key.datums(handle.len()).zip(handle) {
        let Some(column) = columns.get(at) else { continue };
        let value = match datum? {
            Datum::Grouped(grouped) if column.ty.is_string() => {
                Value::Bytes(row_key.string(key, handle.len(), grouped, &mut long_strings))
            }
            datum => v1::datum_value(&column.ty, datum)?,
        };
        place(at, value);
    }
    Ok(())
}
