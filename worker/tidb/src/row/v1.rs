//! Row format v1: pairs of a column id and a value, each a datum.

use crate::codec::datum::Datum;
use crate::table::tp;
use crate::{ColumnType, Value, ValueError};

/// The whole of a row without columns.
pub(crate) const EMPTY: [u8; 1] = [0];

/// The pairs of a row.
pub(crate) fn pairs<'a>(row: &'a [u8]) -> impl Iterator<Item = Result<(i64, Datum<'a>), ValueError>> {
    let mut rest = if row == EMPTY { &[] } else { row };
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let pair = read_pair(&mut rest);
        if pair.is_err() {
            rest = &[];
        }
        Some(pair)
    })
}

fn read_pair<'a>(rest: &mut &'a [u8]) -> Result<(i64, Datum<'a>), ValueError> {
    let mut next = || -> Result<Datum<'a>, ValueError> {
        let (datum, used) = Datum::read(rest)?;
        *rest = rest.get(used..).unwrap_or_default();
        Ok(datum)
    };
    let Datum::Int(id) = next()? else {
        return Err(ValueError {
            what: "row",
            offset: 0,
            problem: "a column id that is no integer",
        });
    };
    Ok((id, next()?))
}

/// A datum as a value of the column's type.
pub(crate) fn datum_value<'a>(ty: &ColumnType, datum: Datum<'a>) -> Result<Value<'a>, ValueError> {
    let value = match (ty.tp, datum) {
        (_, Datum::Nil) => Value::Null,
        (tp::TINY | tp::SHORT | tp::LONG | tp::LONGLONG | tp::INT24, datum) => {
            let bits = integer(datum)?;
            if ty.is_unsigned() {
                Value::UInt(bits)
            } else {
                Value::Int(bits.cast_signed())
            }
        }
        (tp::YEAR, datum) => Value::Int(integer(datum)?.cast_signed()),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "FLOAT is stored as a widened double"
        )]
        (tp::FLOAT, Datum::Float(number)) => Value::Float(number as f32),
        (tp::DOUBLE, Datum::Float(number)) => Value::Double(number),
        (tp::DECIMAL, Datum::Decimal(stored)) => Value::Decimal(stored),
        (tp::VARCHAR | tp::TINY_BLOB..=tp::STRING, datum) => Value::Bytes(plain_bytes(datum)?),
        (tp::TIMESTAMP | tp::DATE | tp::DATETIME | tp::NEW_DATE, datum) => Value::Time(integer(datum)?),
        (tp::DURATION, Datum::Duration(nanos)) => Value::Duration(nanos),
        (tp::DURATION, datum) => Value::Duration(integer(datum)?.cast_signed()),
        (tp::ENUM, datum) => Value::Enum(integer(datum)?),
        (tp::SET, datum) => Value::Set(integer(datum)?),
        (tp::BIT, datum) => Value::Bit(integer(datum)?),
        (tp::JSON, Datum::Json(stored)) => Value::Json(stored),
        (tp::VECTOR, Datum::Vector(stored)) => Value::Vector(stored),
        _ => return Err(mismatch()),
    };
    Ok(value)
}

fn mismatch() -> ValueError {
    ValueError {
        what: "datum",
        offset: 0,
        problem: "of another kind than the column's type",
    }
}

/// The 64 bits of an integer of either sign.
fn integer(datum: Datum<'_>) -> Result<u64, ValueError> {
    match datum {
        Datum::Int(number) => Ok(number.cast_unsigned()),
        Datum::UInt(number) => Ok(number),
        _ => Err(mismatch()),
    }
}

fn plain_bytes<'a>(datum: Datum<'a>) -> Result<&'a [u8], ValueError> {
    match datum {
        Datum::Bytes(bytes) => Ok(bytes),
        // No encoder of rows makes long ones; they could not be borrowed.
        Datum::Grouped(grouped) => grouped.contiguous().ok_or(ValueError {
            what: "datum",
            offset: 0,
            problem: "memcomparable bytes longer than 8 in a row",
        }),
        _ => Err(mismatch()),
    }
}
