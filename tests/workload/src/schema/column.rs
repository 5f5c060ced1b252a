//! Column types and how TiDB's schema names them.

use crate::encode::Collation;

/// How many bytes an integer column has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntWidth {
    /// TINYINT.
    Tiny,
    /// SMALLINT.
    Small,
    /// MEDIUMINT.
    Medium,
    /// INT.
    Int,
    /// BIGINT.
    Big,
}

impl IntWidth {
    /// Bits of a value.
    pub fn bits(self) -> u32 {
        match self {
            Self::Tiny => 8,
            Self::Small => 16,
            Self::Medium => 24,
            Self::Int => 32,
            Self::Big => 64,
        }
    }
}

/// How long a TEXT or BLOB may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LobSize {
    /// 255 bytes.
    Tiny,
    /// 64 KiB.
    Normal,
    /// 16 MiB.
    Medium,
    /// 4 GiB.
    Long,
}

impl LobSize {
    fn tp(self) -> u8 {
        match self {
            Self::Tiny => 249,
            Self::Normal => 252,
            Self::Medium => 250,
            Self::Long => 251,
        }
    }

    fn flen(self) -> i64 {
        match self {
            Self::Tiny => 255,
            Self::Normal => 65_535,
            Self::Medium => 16_777_215,
            Self::Long => 4_294_967_295,
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::Normal => "",
            Self::Medium => "medium",
            Self::Long => "long",
        }
    }
}

/// A column's type.
#[derive(Clone, Debug, PartialEq)]
pub enum ColumnKind {
    /// An integer.
    Int {
        /// Its width.
        width: IntWidth,
        /// Whether it has no sign.
        unsigned: bool,
    },
    /// FLOAT.
    Float,
    /// DOUBLE.
    Double,
    /// DECIMAL.
    Decimal {
        /// Digits in all, at most 65.
        precision: u8,
        /// Digits behind the point, at most 30.
        scale: u8,
    },
    /// CHAR of so many characters.
    Char(u32, Collation),
    /// VARCHAR of so many characters.
    Varchar(u32, Collation),
    /// The TEXT family.
    Text(LobSize, Collation),
    /// BINARY of so many bytes.
    Binary(u32),
    /// VARBINARY of so many bytes.
    Varbinary(u32),
    /// The BLOB family.
    Blob(LobSize),
    /// DATE.
    Date,
    /// DATETIME with fractional digits.
    Datetime(u8),
    /// TIMESTAMP with fractional digits.
    Timestamp(u8),
    /// TIME with fractional digits.
    Time(u8),
    /// YEAR.
    Year,
    /// BIT of so many bits.
    Bit(u8),
    /// ENUM of these members.
    Enum(Vec<String>),
    /// SET of these members.
    Set(Vec<String>),
    /// JSON.
    Json,
    /// VECTOR, of a fixed dimension if one is given.
    Vector(Option<u16>),
}

/// TiDB's `FieldType` of a column kind, without the flags of keys and NOT NULL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldShape {
    /// MySQL's type byte.
    pub tp: u8,
    /// Flags that come with the type.
    pub flags: u32,
    /// Length or precision; -1 for unspecified.
    pub flen: i64,
    /// Scale or fractional digits; -1 for unspecified.
    pub decimal: i64,
    /// Character set.
    pub charset: &'static str,
    /// Collation.
    pub collate: &'static str,
}

const UNSIGNED: u32 = 32;
const ZEROFILL: u32 = 64;
const BINARY: u32 = 128;

impl ColumnKind {
    /// A BIGINT.
    pub const fn bigint() -> Self {
        Self::Int {
            width: IntWidth::Big,
            unsigned: false,
        }
    }

    /// TiDB's field type.
    pub fn shape(&self) -> FieldShape {
        let binary = |tp, flags, flen, decimal| FieldShape {
            tp,
            flags,
            flen,
            decimal,
            charset: "binary",
            collate: "binary",
        };
        let text = |tp, flen: i64, collation: &Collation| FieldShape {
            tp,
            flags: 0,
            flen,
            decimal: 0,
            charset: "utf8mb4",
            collate: collation.name(),
        };
        let timed = |tp, flen: i64, fsp: u8| {
            let fraction = if fsp > 0 { 1 + i64::from(fsp) } else { 0 };
            binary(tp, BINARY, flen + fraction, i64::from(fsp))
        };
        match self {
            Self::Int { width, unsigned } => {
                let (tp, signed_len) = match width {
                    IntWidth::Tiny => (1, 4),
                    IntWidth::Small => (2, 6),
                    IntWidth::Medium => (9, 9),
                    IntWidth::Int => (3, 11),
                    IntWidth::Big => (8, 20),
                };
                match (unsigned, width) {
                    (false, _) => binary(tp, 0, signed_len, 0),
                    (true, IntWidth::Big) => binary(tp, UNSIGNED, 20, 0),
                    (true, _) => binary(tp, UNSIGNED, signed_len - 1, 0),
                }
            }
            Self::Float => binary(4, 0, 12, -1),
            Self::Double => binary(5, 0, 22, -1),
            Self::Decimal { precision, scale } => binary(246, 0, i64::from(*precision), i64::from(*scale)),
            Self::Char(len, collation) => text(254, i64::from(*len), collation),
            Self::Varchar(len, collation) => text(15, i64::from(*len), collation),
            Self::Text(size, collation) => text(size.tp(), size.flen(), collation),
            Self::Binary(len) => binary(254, BINARY, i64::from(*len), 0),
            Self::Varbinary(len) => binary(15, BINARY, i64::from(*len), 0),
            Self::Blob(size) => binary(size.tp(), BINARY, size.flen(), 0),
            Self::Date => binary(10, BINARY, 10, 0),
            Self::Datetime(fsp) => timed(12, 19, *fsp),
            Self::Timestamp(fsp) => timed(7, 19, *fsp),
            Self::Time(fsp) => timed(11, 10, *fsp),
            Self::Year => binary(13, UNSIGNED | ZEROFILL | BINARY, 4, 0),
            Self::Bit(width) => binary(16, UNSIGNED, i64::from(*width), 0),
            Self::Enum(members) => {
                let longest = members.iter().map(|member| member.chars().count()).max();
                text(247, longest.unwrap_or(0) as i64, &Collation::Utf8mb4Bin)
            }
            Self::Set(members) => {
                let letters: usize = members.iter().map(|member| member.chars().count()).sum();
                text(
                    248,
                    (letters + members.len().saturating_sub(1)) as i64,
                    &Collation::Utf8mb4Bin,
                )
            }
            Self::Json => binary(245, BINARY, 4_294_967_295, 0),
            Self::Vector(dimension) => binary(225, BINARY, dimension.map_or(-1, i64::from), 0),
        }
    }

    /// Members of an ENUM or SET.
    pub fn members(&self) -> Option<&[String]> {
        match self {
            Self::Enum(members) | Self::Set(members) => Some(members),
            _ => None,
        }
    }

    /// The type as a CREATE TABLE statement names it.
    pub fn sql(&self) -> String {
        let fraction = |name: &str, fsp: u8| {
            if fsp > 0 {
                format!("{name}({fsp})")
            } else {
                name.to_owned()
            }
        };
        let list = |name: &str, members: &[String]| format!("{name}('{}')", members.join("','"));
        match self {
            Self::Int { width, unsigned } => {
                let name = match width {
                    IntWidth::Tiny => "tinyint",
                    IntWidth::Small => "smallint",
                    IntWidth::Medium => "mediumint",
                    IntWidth::Int => "int",
                    IntWidth::Big => "bigint",
                };
                format!("{name}{}", if *unsigned { " unsigned" } else { "" })
            }
            Self::Float => "float".into(),
            Self::Double => "double".into(),
            Self::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
            Self::Char(len, collation) => format!("char({len}) collate {}", collation.name()),
            Self::Varchar(len, collation) => format!("varchar({len}) collate {}", collation.name()),
            Self::Text(size, collation) => format!("{}text collate {}", size.prefix(), collation.name()),
            Self::Binary(len) => format!("binary({len})"),
            Self::Varbinary(len) => format!("varbinary({len})"),
            Self::Blob(size) => format!("{}blob", size.prefix()),
            Self::Date => "date".into(),
            Self::Datetime(fsp) => fraction("datetime", *fsp),
            Self::Timestamp(fsp) => fraction("timestamp", *fsp),
            Self::Time(fsp) => fraction("time", *fsp),
            Self::Year => "year".into(),
            Self::Bit(width) => format!("bit({width})"),
            Self::Enum(members) => list("enum", members),
            Self::Set(members) => list("set", members),
            Self::Json => "json".into(),
            Self::Vector(dimension) => {
                dimension.map_or("vector".into(), |dimension| format!("vector({dimension})"))
            }
        }
    }

    /// Whether a clustered key holds a sort key from which the text can't be had back, so that the
    /// row repeats the column.
    pub fn needs_restored_data(&self) -> bool {
        match self {
            Self::Char(_, collation) => *collation == Collation::Utf8mb4GeneralCi,
            Self::Varchar(_, collation) | Self::Text(_, collation) => *collation != Collation::Utf8mb40900Bin,
            _ => false,
        }
    }
}
