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

/// A value that owns its bytes, such as the default of an added column.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum StoredValue {
    /// NULL.
    #[default]
    Null,
    /// As [`Value::Int`].
    Int(i64),
    /// As [`Value::UInt`].
    UInt(u64),
    /// As [`Value::Float`].
    Float(f32),
    /// As [`Value::Double`].
    Double(f64),
    /// As [`Value::Decimal`].
    Decimal(Box<[u8]>),
    /// As [`Value::Bytes`].
    Bytes(Box<[u8]>),
    /// As [`Value::Time`].
    Time(u64),
    /// As [`Value::Duration`].
    Duration(i64),
    /// As [`Value::Enum`].
    Enum(u64),
    /// As [`Value::Set`].
    Set(u64),
    /// As [`Value::Bit`].
    Bit(u64),
    /// As [`Value::Json`].
    Json(Box<[u8]>),
    /// As [`Value::Vector`].
    Vector(Box<[u8]>),
}

impl StoredValue {
    /// The value, borrowed.
    pub fn as_value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Int(number) => Value::Int(*number),
            Self::UInt(number) => Value::UInt(*number),
            Self::Float(number) => Value::Float(*number),
            Self::Double(number) => Value::Double(*number),
            Self::Decimal(bytes) => Value::Decimal(bytes),
            Self::Bytes(bytes) => Value::Bytes(bytes),
            Self::Time(packed) => Value::Time(*packed),
            Self::Duration(nanos) => Value::Duration(*nanos),
            Self::Enum(member) => Value::Enum(*member),
            Self::Set(members) => Value::Set(*members),
            Self::Bit(bits) => Value::Bit(*bits),
            Self::Json(bytes) => Value::Json(bytes),
            Self::Vector(bytes) => Value::Vector(bytes),
        }
    }
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
