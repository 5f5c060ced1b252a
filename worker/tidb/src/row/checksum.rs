use smallvec::SmallVec;

use crate::codec::Cursor;
use crate::key::{self, RecordKey, RowKey};
use crate::{DecodeError, Table, TimeZone, Value, ValueError};

use super::v2::{RowV2, VERSION};

const VERSION_MASK: u8 = 7;
const FLAG_EXTRA: u8 = 8;

/// What the checksum in a row says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// The row carries none.
    Absent,
    /// The row is as it was written.
    Match,
    /// The row differs from what was written.
    Mismatch {
        /// The checksum that the row carries.
        stored: u32,
        /// The checksum that the row has.
        computed: u32,
    },
}

impl Table {
    /// Checks a row against the CRC-32 (IEEE) that TiDB adds with `tidb_enable_row_level_checksum`.
    ///
    /// Version 0 covers the columns' values, 1 the row's bytes and the key, 2 the row's bytes and the handle.
    /// A second sum counts for rows written while a column was added or dropped.
    ///
    /// # Errors
    /// If the row can't be decoded, or its checksum has an unknown version.
    pub fn verify_checksum(&self, key: &RowKey<'_>, value: &[u8]) -> Result<Checksum, DecodeError> {
        if value.first() != Some(&VERSION) {
            return Ok(Checksum::Absent);
        }
        let row = RowV2::parse(value).map_err(DecodeError::Row)?;
        let Some(trailer) = row.checksum else {
            return Ok(Checksum::Absent);
        };
        let mut cursor = Cursor::new(trailer, "checksum");
        let header = cursor.u8().map_err(DecodeError::Row)?;
        let stored = cursor.u32_le().map_err(DecodeError::Row)?;
        let extra = if header & FLAG_EXTRA == 0 {
            None
        } else {
            Some(cursor.u32_le().map_err(DecodeError::Row)?)
        };
        let computed = match header & VERSION_MASK {
            0 => self.value_checksum(key, value)?,
            version @ (1 | 2) => {
                let covered = value.len() - trailer.len() + 1;
                let mut crc = crc32fast::Hasher::new();
                crc.update(value.get(..covered).unwrap_or_default());
                if version == 1 {
                    crc.update(key::without_keyspace(key.raw()));
                } else {
                    crc.update(RecordKey::parse(key.raw()).map_err(DecodeError::Key)?.handle);
                }
                crc.finalize()
            }
            _ => return Err(DecodeError::Row(cursor.fail("an unknown version"))),
        };
        if computed == stored || Some(computed) == extra {
            return Ok(Checksum::Match);
        }
        Ok(Checksum::Mismatch { stored, computed })
    }

    fn value_checksum(&self, key: &RowKey<'_>, value: &[u8]) -> Result<u32, DecodeError> {
        let values = self.decode(key, value)?;
        let mut columns: SmallVec<[_; 32]> = self.columns.iter().zip(values).collect();
        columns.sort_unstable_by_key(|(column, _)| column.id);
        let mut crc = crc32fast::Hasher::new();
        let mut text = Vec::new();
        for (column, value) in columns {
            text.clear();
            match value {
                Value::Null => continue,
                Value::Int(number) => crc.update(&number.to_le_bytes()),
                Value::UInt(number) | Value::Enum(number) | Value::Set(number) | Value::Bit(number) => {
                    crc.update(&number.to_le_bytes());
                }
                Value::Float(number) => crc.update(&finite(number.into()).to_le_bytes()),
                Value::Double(number) => crc.update(&finite(number).to_le_bytes()),
                Value::Vector(stored) => crc.update(stored),
                Value::Bytes(_)
                | Value::Decimal(_)
                | Value::Time(_)
                | Value::Duration(_)
                | Value::Json(_) => {
                    let written = value.write_text(column, &TimeZone::Utc, &mut text);
                    written.map_err(|problem| DecodeError::Column {
                        column: column.name.clone(),
                        problem,
                    })?;
                    let len = u32::try_from(text.len()).map_err(|_| DecodeError::Row(too_long()))?;
                    crc.update(&len.to_le_bytes());
                    crc.update(&text);
                }
            }
        }
        Ok(crc.finalize())
    }
}

fn too_long() -> ValueError {
    ValueError {
        what: "checksum",
        offset: 0,
        problem: "a value of 4 GiB or more",
    }
}

/// Infinities and NaN count as zero.
fn finite(number: f64) -> f64 {
    if number.is_finite() { number } else { 0.0 }
}
