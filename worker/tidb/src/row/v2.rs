//! Row format v2: sorted column ids, end offsets, data, and perhaps a checksum.
//!
//! ```text
//! u8 128, u8 flags, u16 LE not-null count, u16 LE null count,
//! ids of not-null columns, ids of NULL columns (u8 each, u32 LE if large),
//! end offsets into data of the not-null ones (u16 LE, u32 LE if large), data, [checksum]
//! ```

use crate::codec::{Cursor, comparable, datum, decimal, json};
use crate::table::tp;
use crate::{ColumnType, Value, ValueError};

/// First byte of a v2 row.
pub(crate) const VERSION: u8 = 128;
const FLAG_LARGE: u8 = 1;
const FLAG_CHECKSUM: u8 = 2;

/// A row taken apart; values are not yet read.
#[derive(Debug)]
pub(crate) struct RowV2<'a> {
    large: bool,
    ids: &'a [u8],
    nulls: &'a [u8],
    ends: &'a [u8],
    data: &'a [u8],
    /// The checksum's header and sums, if there is one.
    pub(crate) checksum: Option<&'a [u8]>,
}

/// Where a walk over columns has come to in the row's two id lists.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    value: usize,
    null: usize,
}

/// What a row says of a column.
#[derive(Debug, PartialEq)]
pub(crate) enum Cell<'a> {
    Value(&'a [u8]),
    Null,
    Absent,
}

impl<'a> RowV2<'a> {
    pub(crate) fn parse(row: &'a [u8]) -> Result<Self, ValueError> {
        let mut cursor = Cursor::new(row, "row");
        if cursor.u8()? != VERSION {
            return Err(cursor.fail("not a row of version 2"));
        }
        let flags = cursor.u8()?;
        let large = flags & FLAG_LARGE != 0;
        let (id_width, end_width) = if large { (4, 4) } else { (1, 2) };
        let values = usize::from(cursor.u16_le()?);
        let nulls = usize::from(cursor.u16_le()?);
        let mut parsed = Self {
            large,
            ids: cursor.take(values * id_width)?,
            nulls: cursor.take(nulls * id_width)?,
            ends: cursor.take(values * end_width)?,
            data: cursor.rest(),
            checksum: None,
        };
        if flags & FLAG_CHECKSUM != 0 {
            let len = parsed.data_len();
            let (data, checksum) = parsed
                .data
                .split_at_checked(len)
                .ok_or_else(|| cursor.fail("data cut short"))?;
            (parsed.data, parsed.checksum) = (data, Some(checksum));
        }
        Ok(parsed)
    }

    /// The last end offset.
    fn data_len(&self) -> usize {
        let count = self.ends.len() / if self.large { 4 } else { 2 };
        count.checked_sub(1).map_or(0, |last| self.end(last))
    }

    fn end(&self, at: usize) -> usize {
        let end = if self.large {
            let bytes = self.ends.get(at * 4..).and_then(<[u8]>::first_chunk);
            bytes.map(|bytes| u32::from_le_bytes(*bytes))
        } else {
            let bytes = self.ends.get(at * 2..).and_then(<[u8]>::first_chunk);
            bytes.map(|bytes| u16::from_le_bytes(*bytes).into())
        };
        end.and_then(|end| usize::try_from(end).ok())
            .unwrap_or(usize::MAX)
    }

    fn value(&self, at: usize) -> Result<&'a [u8], ValueError> {
        let start = at.checked_sub(1).map_or(0, |before| self.end(before));
        self.data.get(start..self.end(at)).ok_or(ValueError {
            what: "row",
            offset: start,
            problem: "a value outside the data",
        })
    }

    /// Looks a column up. Columns asked for in the order of their ids are found at once; others
    /// take a binary search.
    pub(crate) fn find(&self, column: i64, walk: &mut Walk) -> Result<Cell<'a>, ValueError> {
        let Ok(id) = u32::try_from(column) else {
            return Ok(Cell::Absent);
        };
        if let Some(at) = self.search(self.ids, id, &mut walk.value) {
            return self.value(at).map(Cell::Value);
        }
        match self.search(self.nulls, id, &mut walk.null) {
            Some(_) => Ok(Cell::Null),
            None => Ok(Cell::Absent),
        }
    }

    fn search(&self, ids: &[u8], id: u32, next: &mut usize) -> Option<usize> {
        let width = if self.large { 4 } else { 1 };
        let count = ids.len() / width;
        let at = |at: usize| id_at(ids, at, self.large);
        let here = at(*next);
        if here == Some(id) {
            *next += 1;
            return Some(*next - 1);
        }
        let before = next.checked_sub(1).and_then(at);
        if before.is_none_or(|before| before < id) && here.is_none_or(|here| id < here) {
            return None;
        }
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low.midpoint(high);
            match at(middle) {
                Some(found) if found < id => low = middle + 1,
                _ => high = middle,
            }
        }
        let found = at(low) == Some(id);
        *next = low + usize::from(found);
        found.then_some(low)
    }
}

fn id_at(ids: &[u8], at: usize, large: bool) -> Option<u32> {
    if large {
        let bytes = ids.get(at * 4..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    } else {
        ids.get(at).copied().map(u32::from)
    }
}

/// Reads the bytes of one value.
pub(crate) fn read_value<'a>(ty: &ColumnType, bytes: &'a [u8]) -> Result<Value<'a>, ValueError> {
    Ok(match ty.tp {
        tp::TINY | tp::SHORT | tp::LONG | tp::LONGLONG | tp::INT24 => {
            if ty.is_unsigned() {
                Value::UInt(unsigned(bytes)?)
            } else {
                Value::Int(signed(bytes)?)
            }
        }
        tp::VARCHAR | tp::TINY_BLOB..=tp::STRING => Value::Bytes(bytes),
        tp::DECIMAL => {
            exact(decimal::stored_len(bytes)?, bytes)?;
            Value::Decimal(bytes)
        }
        tp::TIMESTAMP | tp::DATE | tp::DATETIME | tp::NEW_DATE => Value::Time(unsigned(bytes)?),
        tp::DURATION => Value::Duration(signed(bytes)?),
        tp::YEAR => Value::Int(signed(bytes)?),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "FLOAT is stored as a widened double"
        )]
        tp::FLOAT => Value::Float(float(bytes)? as f32),
        tp::DOUBLE => Value::Double(float(bytes)?),
        tp::ENUM => Value::Enum(unsigned(bytes)?),
        tp::SET => Value::Set(unsigned(bytes)?),
        tp::BIT => Value::Bit(unsigned(bytes)?),
        tp::JSON => {
            exact(json::stored_len(bytes)?, bytes)?;
            Value::Json(bytes)
        }
        tp::VECTOR => {
            exact(datum::vector_len(bytes)?, bytes)?;
            Value::Vector(bytes)
        }
        _ => return Err(fail(bytes, "a column type that is not known")),
    })
}

fn fail(bytes: &[u8], problem: &'static str) -> ValueError {
    ValueError {
        what: "value",
        offset: bytes.len(),
        problem,
    }
}

fn exact(len: usize, bytes: &[u8]) -> Result<(), ValueError> {
    if len == bytes.len() {
        Ok(())
    } else {
        Err(fail(bytes, "bytes left over"))
    }
}

fn unsigned(bytes: &[u8]) -> Result<u64, ValueError> {
    Ok(match *bytes {
        [a] => a.into(),
        [a, b] => u16::from_le_bytes([a, b]).into(),
        [a, b, c, d] => u32::from_le_bytes([a, b, c, d]).into(),
        [a, b, c, d, e, f, g, h] => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => return Err(fail(bytes, "an integer is not 1, 2, 4 or 8 bytes long")),
    })
}

fn signed(bytes: &[u8]) -> Result<i64, ValueError> {
    Ok(match *bytes {
        [a] => i8::from_le_bytes([a]).into(),
        [a, b] => i16::from_le_bytes([a, b]).into(),
        [a, b, c, d] => i32::from_le_bytes([a, b, c, d]).into(),
        [a, b, c, d, e, f, g, h] => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => return Err(fail(bytes, "an integer is not 1, 2, 4 or 8 bytes long")),
    })
}

fn float(bytes: &[u8]) -> Result<f64, ValueError> {
    let bytes = <[u8; 8]>::try_from(bytes).map_err(|_| fail(bytes, "a float is not 8 bytes long"))?;
    Ok(comparable::to_f64(u64::from_be_bytes(bytes)))
}
