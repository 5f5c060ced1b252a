//! Values of columns that a row lacks.

use crate::codec::time::{self, Civil};
use crate::codec::{decimal, json};
use crate::table::tp;
use crate::{ColumnType, StoredValue};

/// The value of a default's text for the column type; `None` if the text is none.
///
/// The bits of BIT columns have a field of their own, as `bits`.
pub(crate) fn default_of(ty: &ColumnType, text: &str, bits: Option<&[u8]>) -> Option<StoredValue> {
    Some(match ty.tp {
        tp::TINY | tp::SHORT | tp::LONG | tp::LONGLONG | tp::INT24 if ty.is_unsigned() => {
            StoredValue::UInt(text.parse().ok()?)
        }
        tp::TINY | tp::SHORT | tp::LONG | tp::LONGLONG | tp::INT24 | tp::YEAR => {
            StoredValue::Int(text.parse().ok()?)
        }
        tp::FLOAT => StoredValue::Float(text.parse().ok()?),
        tp::DOUBLE => StoredValue::Double(text.parse().ok()?),
        tp::DECIMAL => {
            let (precision, scale) = precision_and_scale(ty)?;
            StoredValue::Decimal(decimal::from_text(text, precision, scale)?.into())
        }
        tp::TIMESTAMP | tp::DATE | tp::DATETIME | tp::NEW_DATE => {
            StoredValue::Time(Civil::from_text(text)?.to_packed())
        }
        tp::DURATION => StoredValue::Duration(time::duration_from_text(text)?),
        tp::BIT => StoredValue::Bit(big_endian(bits.unwrap_or(text.as_bytes()))?),
        tp::ENUM => StoredValue::Enum(member(ty, text)? + 1),
        tp::SET => {
            let names = text.split(',').filter(|name| !name.is_empty());
            let mask = names.map(|name| member(ty, name)).try_fold(0_u64, |mask, at| {
                let bit = u32::try_from(at?).ok()?;
                Some(mask | 1_u64.checked_shl(bit)?)
            });
            StoredValue::Set(mask?)
        }
        tp::VARCHAR | tp::TINY_BLOB..=tp::STRING => {
            let mut bytes = text.as_bytes().to_vec();
            pad(ty, &mut bytes);
            StoredValue::Bytes(bytes.into())
        }
        tp::VECTOR => StoredValue::Vector(vector(text)?.into()),
        _ => return None,
    })
}

/// What TiDB takes where a NOT NULL column has no default.
pub(crate) fn zero_of(ty: &ColumnType) -> Option<StoredValue> {
    Some(match ty.tp {
        tp::TINY | tp::SHORT | tp::LONG | tp::LONGLONG | tp::INT24 if ty.is_unsigned() => {
            StoredValue::UInt(0)
        }
        tp::TINY | tp::SHORT | tp::LONG | tp::LONGLONG | tp::INT24 | tp::YEAR => StoredValue::Int(0),
        tp::FLOAT => StoredValue::Float(0.0),
        tp::DOUBLE => StoredValue::Double(0.0),
        tp::DECIMAL => {
            let (precision, scale) = precision_and_scale(ty)?;
            StoredValue::Decimal(decimal::from_text("0", precision, scale)?.into())
        }
        tp::TIMESTAMP | tp::DATE | tp::DATETIME | tp::NEW_DATE => StoredValue::Time(0),
        tp::DURATION => StoredValue::Duration(0),
        tp::BIT => StoredValue::Bit(0),
        // The first member.
        tp::ENUM => StoredValue::Enum(u64::from(!ty.elems.is_empty())),
        tp::SET => StoredValue::Set(0),
        tp::VARCHAR | tp::TINY_BLOB..=tp::STRING => {
            let mut bytes = Vec::new();
            pad(ty, &mut bytes);
            StoredValue::Bytes(bytes.into())
        }
        tp::JSON => StoredValue::Json(json::NULL.into()),
        tp::VECTOR => StoredValue::Vector([0; 4].into()),
        _ => return None,
    })
}

/// BINARY is filled up with zero bytes.
fn pad(ty: &ColumnType, bytes: &mut Vec<u8>) {
    // MySQL's longest BINARY has 255 bytes.
    if let Ok(len @ ..=255) = usize::try_from(ty.flen)
        && ty.tp == tp::STRING
        && ty.charset == "binary"
    {
        bytes.resize(bytes.len().max(len), 0);
    }
}

fn precision_and_scale(ty: &ColumnType) -> Option<(u8, u8)> {
    let precision = if ty.flen < 0 { 10 } else { ty.flen };
    Some((
        u8::try_from(precision).ok()?,
        u8::try_from(ty.decimal.max(0)).ok()?,
    ))
}

fn big_endian(bytes: &[u8]) -> Option<u64> {
    if bytes.len() > 8 {
        return None;
    }
    Some(bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

/// A member's place; collations mostly ignore case, and members differ by more than it then.
fn member(ty: &ColumnType, name: &str) -> Option<u64> {
    let find = |same: &dyn Fn(&str) -> bool| ty.elems.iter().position(|elem| same(elem));
    let at = find(&|elem| elem == name).or_else(|| find(&|elem| elem.to_lowercase() == name.to_lowercase()));
    u64::try_from(at?).ok()
}

fn vector(text: &str) -> Option<Vec<u8>> {
    let inner = text.trim().strip_prefix('[')?.strip_suffix(']')?;
    let numbers = inner
        .split(',')
        .map(str::trim)
        .filter(|number| !number.is_empty());
    let numbers: Vec<f32> = numbers.map(|number| number.parse().ok()).collect::<Option<_>>()?;
    let mut stored = u32::try_from(numbers.len()).ok()?.to_le_bytes().to_vec();
    stored.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    Some(stored)
}
