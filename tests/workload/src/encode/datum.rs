//! Typed values: their stored forms and their canonical texts.

use super::decimal::Decimal;
use super::json::Json;
use super::memcomparable as mc;
use super::temporal::{CivilTime, duration_text};
use crate::schema::ColumnKind;

/// A value of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Datum {
    /// NULL.
    Null,
    /// A signed integer or a YEAR.
    Int(i64),
    /// An unsigned integer.
    UInt(u64),
    /// FLOAT.
    Float(f32),
    /// DOUBLE.
    Double(f64),
    /// DECIMAL.
    Decimal(Decimal),
    /// Text.
    Text(String),
    /// A binary string.
    Bytes(Vec<u8>),
    /// DATE, DATETIME, or TIMESTAMP in UTC.
    Time(CivilTime),
    /// TIME in nanoseconds.
    Duration(i64),
    /// ENUM's 1-based member, SET's mask or BIT's integer.
    Mask(u64),
    /// JSON.
    Json(Json),
    /// VECTOR.
    Vector(Vec<f32>),
}

impl Datum {
    /// The canonical text, as canal-json has it; `None` for NULL.
    ///
    /// Binary strings are latin-1, ENUM, SET and BIT are numbers, floats never have an exponent.
    pub fn text(&self, kind: &ColumnKind) -> Option<String> {
        Some(match self {
            Self::Null => return None,
            // A YEAR always has four digits.
            Self::Int(value) => value.to_string(),
            Self::UInt(value) | Self::Mask(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Double(value) => value.to_string(),
            Self::Decimal(value) => value.text(),
            Self::Text(value) => value.clone(),
            Self::Bytes(value) => value.iter().map(|byte| char::from(*byte)).collect(),
            Self::Time(value) => match kind {
                ColumnKind::Datetime(fsp) | ColumnKind::Timestamp(fsp) => value.datetime_text(*fsp),
                _ => value.date_text(),
            },
            Self::Duration(value) => match kind {
                ColumnKind::Time(fsp) => duration_text(*value, *fsp),
                _ => duration_text(*value, 0),
            },
            Self::Json(value) => value.text(),
            Self::Vector(value) => {
                let numbers: Vec<String> = value.iter().map(f32::to_string).collect();
                format!("[{}]", numbers.join(","))
            }
        })
    }

    /// Appends the value as row format v2 holds it; nothing for NULL.
    pub fn put_compact(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => {}
            Self::Int(value) => mc::put_minimal_int(out, *value),
            Self::UInt(value) | Self::Mask(value) => mc::put_minimal_uint(out, *value),
            Self::Float(value) => mc::put_float(out, f64::from(*value)),
            Self::Double(value) => mc::put_float(out, *value),
            Self::Decimal(value) => value.put(out),
            Self::Text(value) => out.extend_from_slice(value.as_bytes()),
            Self::Bytes(value) => out.extend_from_slice(value),
            Self::Time(value) => mc::put_minimal_uint(out, value.packed()),
            Self::Duration(value) => mc::put_minimal_int(out, *value),
            Self::Json(value) => value.put(out),
            Self::Vector(value) => put_vector(out, value),
        }
    }

    /// Appends flag and payload as row format v1 holds them.
    pub fn put_v1(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.push(0),
            Self::Int(value) | Self::Duration(value) => {
                out.push(8);
                mc::put_varint(out, *value);
            }
            Self::UInt(value) | Self::Mask(value) => {
                out.push(9);
                mc::put_uvarint(out, *value);
            }
            Self::Time(value) => {
                out.push(9);
                mc::put_uvarint(out, value.packed());
            }
            Self::Float(value) => put_float(out, f64::from(*value)),
            Self::Double(value) => put_float(out, *value),
            Self::Decimal(value) => {
                out.push(6);
                value.put(out);
            }
            Self::Text(value) => put_compact_bytes(out, value.as_bytes()),
            Self::Bytes(value) => put_compact_bytes(out, value),
            Self::Json(value) => {
                out.push(10);
                value.put(out);
            }
            Self::Vector(value) => {
                out.push(20);
                put_vector(out, value);
            }
        }
    }

    /// Appends flag and payload as keys hold them; texts as the sort keys of their collation.
    ///
    /// JSON and vectors can't be in keys; they count as NULL here.
    pub fn put_key(&self, kind: &ColumnKind, out: &mut Vec<u8>) {
        match self {
            Self::Null | Self::Json(_) | Self::Vector(_) => out.push(0),
            Self::Int(value) => {
                out.push(3);
                mc::put_int(out, *value);
            }
            Self::UInt(value) | Self::Mask(value) => {
                out.push(4);
                mc::put_uint(out, *value);
            }
            Self::Time(value) => {
                out.push(4);
                mc::put_uint(out, value.packed());
            }
            Self::Float(value) => put_float(out, f64::from(*value)),
            Self::Double(value) => put_float(out, *value),
            Self::Decimal(value) => {
                out.push(6);
                value.put(out);
            }
            Self::Duration(value) => {
                out.push(7);
                mc::put_int(out, *value);
            }
            Self::Bytes(value) => {
                out.push(1);
                mc::put_bytes(out, value);
            }
            Self::Text(value) => {
                out.push(1);
                match kind {
                    ColumnKind::Char(_, collation)
                    | ColumnKind::Varchar(_, collation)
                    | ColumnKind::Text(_, collation) => mc::put_bytes(out, &collation.sort_key(value)),
                    _ => mc::put_bytes(out, value.as_bytes()),
                }
            }
        }
    }
}

fn put_float(out: &mut Vec<u8>, value: f64) {
    out.push(5);
    mc::put_float(out, value);
}

fn put_compact_bytes(out: &mut Vec<u8>, value: &[u8]) {
    out.push(2);
    mc::put_varint(out, value.len() as i64);
    out.extend_from_slice(value);
}

fn put_vector(out: &mut Vec<u8>, value: &[f32]) {
    out.extend_from_slice(&(value.len() as u32).to_le_bytes());
    value
        .iter()
        .for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_canal_json() {
        let text = |datum: Datum, kind: ColumnKind| datum.text(&kind);
        assert_eq!(text(Datum::Null, ColumnKind::Json), None);
        assert_eq!(text(Datum::Float(0.1), ColumnKind::Float).as_deref(), Some("0.1"));
        assert_eq!(
            text(Datum::Double(1e20), ColumnKind::Double).as_deref(),
            Some("100000000000000000000")
        );
        assert_eq!(
            text(Datum::Bytes(vec![0, 0xe9]), ColumnKind::Binary(2)).as_deref(),
            Some("\0é")
        );
        assert_eq!(
            text(Datum::Vector(vec![1.0, 2.5]), ColumnKind::Vector(None)).as_deref(),
            Some("[1,2.5]")
        );
        let zero = Datum::Time(CivilTime::default());
        assert_eq!(
            text(zero, ColumnKind::Datetime(2)).as_deref(),
            Some("0000-00-00 00:00:00.00")
        );
    }

    #[test]
    fn vectors_are_counted_floats() {
        let mut out = Vec::new();
        Datum::Vector(vec![1.0, 2.5]).put_compact(&mut out);
        assert_eq!(hex::encode(out), "020000000000803f00002040");
    }

    #[test]
    fn a_common_handle_is_a_row_of_key_datums() {
        let mut out = Vec::new();
        Datum::Text("ab".into()).put_key(
            &ColumnKind::Varchar(9, crate::encode::Collation::Utf8mb4Bin),
            &mut out,
        );
        Datum::Int(7).put_key(&ColumnKind::bigint(), &mut out);
        assert_eq!(hex::encode(out), "016162000000000000f9038000000000000007");
    }
}
