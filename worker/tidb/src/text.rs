use crate::codec::time::{self, Civil};
use crate::codec::{Cursor, decimal, digits, json};
use crate::table::tp;
use crate::{Column, TimeZone, Value, ValueError};

impl<'a> Value<'a> {
    /// Appends the canonical text; the column says how many fraction digits there are, and whether a
    /// time is a DATE, DATETIME or TIMESTAMP.
    ///
    /// Numbers are plain digits without exponents; BIT, ENUM and SET are their integers; strings are
    /// their stored bytes; TIMESTAMP shows in `zone`; NULL appends nothing.
    ///
    /// # Errors
    /// If stored bytes are malformed; what was appended until then is no value.
    pub fn write_text(&self, column: &Column, zone: &TimeZone, out: &mut Vec<u8>) -> Result<(), ValueError> {
        match *self {
            Value::Null => {}
            Value::Int(number) if column.ty.tp == tp::YEAR && number >= 0 => {
                digits::write_padded(number.unsigned_abs(), 4, out);
            }
            Value::Int(number) => digits::write_i64(number, out),
            Value::UInt(number) | Value::Enum(number) | Value::Set(number) | Value::Bit(number) => {
                digits::write_u64(number, out);
            }
            Value::Float(number) => digits::write_fmt(format_args!("{number}"), out),
            Value::Double(number) => digits::write_fmt(format_args!("{number}"), out),
            Value::Decimal(stored) => {
                let scale = usize::try_from(column.ty.decimal).unwrap_or(0);
                decimal::write_text(stored, scale, out)?;
            }
            Value::Bytes(bytes) => out.extend_from_slice(bytes),
            Value::Time(packed) => {
                let civil = Civil::from_packed(packed)?;
                match column.ty.tp {
                    tp::DATE | tp::NEW_DATE => civil.write_date(out),
                    tp::TIMESTAMP => zone.localise(civil).write_datetime(column.ty.fsp(), out),
                    _ => civil.write_datetime(column.ty.fsp(), out),
                }
            }
            Value::Duration(nanos) => time::write_duration(nanos, column.ty.fsp(), out),
            Value::Json(stored) => json::write_text(stored, out)?,
            Value::Vector(stored) => write_vector(stored, out)?,
        }
        Ok(())
    }

    /// The member's name of an ENUM value; empty for 0, `None` for other values or an unknown member.
    pub fn enum_name<'c>(&self, column: &'c Column) -> Option<&'c str> {
        match *self {
            Value::Enum(0) => Some(""),
            Value::Enum(member) => {
                let at = usize::try_from(member - 1).ok()?;
                column.ty.elems.get(at).map(String::as_str)
            }
            _ => None,
        }
    }

    /// The members' names of a SET value, in the order of the definition; none for other values.
    pub fn set_names<'c>(&self, column: &'c Column) -> impl Iterator<Item = &'c str> + use<'c> {
        let members = if let Value::Set(members) = *self {
            members
        } else {
            0
        };
        let named = column.ty.elems.iter().take(64).enumerate();
        named
            .filter(move |(at, _)| members & 1 << at != 0)
            .map(|(_, name)| name.as_str())
    }
}

/// `[1,2.5]`.
fn write_vector(stored: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    let mut cursor = Cursor::new(stored, "vector");
    let count = cursor.u32_le()?;
    out.push(b'[');
    for at in 0..count {
        if at > 0 {
            out.push(b',');
        }
        let number = f32::from_le_bytes(cursor.array()?);
        digits::write_fmt(format_args!("{number}"), out);
    }
    out.push(b']');
    Ok(())
}
