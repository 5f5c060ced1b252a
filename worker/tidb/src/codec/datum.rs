//! Datums: values with a flag byte in front, in keys (comparable forms) and old rows (compact forms).

use crate::ValueError;

use super::comparable::{self, Grouped};
use super::{Cursor, decimal, json, varint};

/// NULL.
pub const NIL: u8 = 0;
/// Memcomparable bytes.
pub const BYTES: u8 = 1;
/// A varint length and bytes.
pub const COMPACT_BYTES: u8 = 2;
/// A comparable signed integer.
pub const INT: u8 = 3;
/// A comparable unsigned integer.
pub const UINT: u8 = 4;
/// A comparable double.
pub const FLOAT: u8 = 5;
/// A decimal with its precision and scale bytes.
pub const DECIMAL: u8 = 6;
/// Nanoseconds as a comparable signed integer.
pub const DURATION: u8 = 7;
/// A zigzag varint.
pub const VARINT: u8 = 8;
/// An unsigned varint.
pub const VARUINT: u8 = 9;
/// Binary JSON, type byte first.
pub const JSON: u8 = 10;
/// A vector of 32-bit floats.
pub const VECTOR: u8 = 20;

/// One datum, borrowed from where it was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Datum<'a> {
    /// NULL.
    Nil,
    /// Bytes in grouped form.
    Grouped(Grouped<'a>),
    /// Plain bytes.
    Bytes(&'a [u8]),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    UInt(u64),
    /// A double.
    Float(f64),
    /// A decimal, precision and scale bytes first.
    Decimal(&'a [u8]),
    /// Nanoseconds.
    Duration(i64),
    /// JSON, type byte first.
    Json(&'a [u8]),
    /// A vector: a count and little-endian floats.
    Vector(&'a [u8]),
}

impl<'a> Datum<'a> {
    /// Reads the datum at the front of `bytes`, and how many bytes it takes.
    ///
    /// # Errors
    /// If the flag is unknown or the payload is cut short or malformed.
    pub fn read(bytes: &'a [u8]) -> Result<(Self, usize), ValueError> {
        let mut cursor = Cursor::new(bytes, "datum");
        let flag = cursor.u8()?;
        let payload = cursor.rest();
        let datum = match flag {
            NIL => Self::Nil,
            BYTES => {
                let grouped = Grouped::read(payload)?;
                cursor.take(grouped.encoded_len())?;
                Self::Grouped(grouped)
            }
            COMPACT_BYTES => {
                let (len, used) = varint::read_i64(payload)?;
                cursor.take(used)?;
                let len = usize::try_from(len).map_err(|_| cursor.fail("a negative length"))?;
                Self::Bytes(cursor.take(len)?)
            }
            INT => Self::Int(comparable::to_i64(cursor.u64_be()?)),
            UINT => Self::UInt(cursor.u64_be()?),
            FLOAT => Self::Float(comparable::to_f64(cursor.u64_be()?)),
            DECIMAL => Self::Decimal(cursor.take(decimal::stored_len(payload)?)?),
            DURATION => Self::Duration(comparable::to_i64(cursor.u64_be()?)),
            VARINT => {
                let (number, used) = varint::read_i64(payload)?;
                cursor.take(used)?;
                Self::Int(number)
            }
            VARUINT => {
                let (number, used) = varint::read_u64(payload)?;
                cursor.take(used)?;
                Self::UInt(number)
            }
            JSON => Self::Json(cursor.take(json::stored_len(payload)?)?),
            VECTOR => Self::Vector(cursor.take(vector_len(payload)?)?),
            _ => return Err(cursor.fail("an unknown flag")),
        };
        Ok((datum, cursor.at()))
    }
}

/// Bytes that the vector at the front takes: a count (u32 LE) and as many f32 LE.
pub(crate) fn vector_len(bytes: &[u8]) -> Result<usize, ValueError> {
    let mut cursor = Cursor::new(bytes, "vector");
    let count = usize::try_from(cursor.u32_le()?).unwrap_or(usize::MAX);
    let len = count.checked_mul(4).and_then(|len| len.checked_add(4));
    let len = len.filter(|&len| len <= bytes.len());
    len.ok_or_else(|| cursor.fail("cut short"))
}
