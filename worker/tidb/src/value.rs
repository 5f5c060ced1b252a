use thiserror::Error;

/// A column's value, borrowed from the stored row.
///
/// Its text depends on the column's type too (fractional digits, members of enums, time zone), so
/// printing takes the column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// NULL.
    Null,
    /// Signed integers and YEAR.
    Int(i64),
    /// Unsigned integers.
    UInt(u64),
    /// FLOAT.
    Float(f32),
    /// DOUBLE.
    Double(f64),
    /// DECIMAL: TiDB's stored form, precision and scale bytes first.
    Decimal(&'a [u8]),
    /// Text and binary strings: the stored bytes.
    Bytes(&'a [u8]),
    /// DATE, DATETIME and TIMESTAMP (in UTC): TiDB's packed form.
    Time(u64),
    /// TIME in nanoseconds.
    Duration(i64),
    /// ENUM: the 1-based member, 0 for the empty one.
    Enum(u64),
    /// SET: one bit a member.
    Set(u64),
    /// BIT.
    Bit(u64),
    /// JSON: TiDB's stored form, type byte first.
    Json(&'a [u8]),
    /// VECTOR: TiDB's stored form, a count and little-endian floats.
    Vector(&'a [u8]),
}

/// Why stored bytes are no value of the column.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{what} at byte {offset}: {problem}")]
pub struct ValueError {
    /// What was being read.
    pub what: &'static str,
    /// Where it went wrong.
    pub offset: usize,
    /// What is wrong.
    pub problem: &'static str,
}
