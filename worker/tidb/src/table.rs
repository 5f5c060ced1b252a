use tidemark_model::Ts;

use crate::StoredValue;

/// One version of a table, as far as decoding and sinks need it.
///
/// Made from TiDB's `TableInfo`, or by [`Table::plain_kv`] for sources without TiDB.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// The logical table id.
    pub id: i64,
    /// The database's name.
    pub schema: String,
    /// The table's name.
    pub name: String,
    /// When the definition last changed (`update_timestamp`), or zero.
    pub updated: Ts,
    /// The columns that are emitted, in schema order: public and not virtual.
    pub columns: Vec<Column>,
    /// How keys and values are laid out.
    pub layout: Layout,
    /// Offsets into `columns` of the primary key, in key order; empty without one.
    pub primary_key: Vec<usize>,
    /// Offsets into `columns` of the columns that name a row: the primary key, else the smallest
    /// unique index over NOT NULL columns; empty if there is none.
    pub handle_key: Vec<usize>,
    /// The unique indexes, the primary key among them.
    pub unique: Vec<Index>,
    /// The partitions; empty for a table that has none.
    pub partitions: Vec<Partition>,
}

/// One emitted column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// TiDB's column id.
    pub id: i64,
    /// The name.
    pub name: String,
    /// The type.
    pub ty: ColumnType,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// Whether the column belongs to the primary key.
    pub primary: bool,
    /// Whether it is a stored generated column.
    pub generated: bool,
    /// `DEFAULT` as the schema shows it, for sinks that print schemas.
    pub default: Option<String>,
    /// What rows written before the column was added hold: its default of that time.
    pub absent: StoredValue,
}

/// A column's type, as TiDB's `FieldType` gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnType {
    /// MySQL's type byte: 1 tiny, 2 short, 3 long, 4 float, 5 double, 7 timestamp, 8 longlong,
    /// 9 int24, 10 date, 11 time, 12 datetime, 13 year, 15 varchar, 16 bit, 225 vector, 245 json,
    /// 246 decimal, 247 enum, 248 set, 249..=252 blobs, 253 varstring, 254 string.
    pub tp: u8,
    /// MySQL's column flags.
    pub flags: u32,
    /// Display length, precision, or length in characters; -1 if unspecified.
    pub flen: i64,
    /// Scale, or fractional digits of times; -1 if unspecified.
    pub decimal: i64,
    /// Character set; `binary` for binary strings and all that is no text.
    pub charset: String,
    /// Collation.
    pub collate: String,
    /// Members of enums and sets.
    pub elems: Vec<String>,
}

/// A unique index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// The name.
    pub name: String,
    /// Whether it is the primary key.
    pub primary: bool,
    /// Offsets into [`Table::columns`].
    pub columns: Vec<usize>,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The physical table id.
    pub id: i64,
    /// The name.
    pub name: String,
}

/// How a table's keys and values are laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// TiDB's record keys and rows.
    Tidb(Handle),
    /// Plain keys: the table has two columns, `key` and `value`.
    PlainKv,
}

/// What the handle in a record key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handle {
    /// The hidden `_tidb_rowid`.
    RowId,
    /// The integer primary key: an offset into [`Table::columns`].
    Int(usize),
    /// The columns of a clustered primary key: offsets into [`Table::columns`], with the prefix length of
    /// each where the key holds only a prefix.
    Common(Vec<(usize, Option<usize>)>),
}

impl Table {
    /// The table of a source without TiDB: `tikv.kv` with the columns `key` and `value`.
    pub fn plain_kv() -> Self {
        let column = |id: i64, name: &str, tp: u8, flen: i64, primary: bool| Column {
            id,
            name: name.to_owned(),
            ty: ColumnType {
                tp,
                flags: flag::BINARY | flag::NOT_NULL | if primary { flag::PRIMARY } else { 0 },
                flen,
                decimal: 0,
                charset: "binary".to_owned(),
                collate: "binary".to_owned(),
                elems: Vec::new(),
            },
            not_null: true,
            primary,
            generated: false,
            default: None,
            absent: StoredValue::Null,
        };
        Self {
            id: 0,
            schema: "tikv".to_owned(),
            name: "kv".to_owned(),
            updated: Ts::ZERO,
            columns: vec![
                column(1, "key", tp::VARCHAR, -1, true),
                column(2, "value", tp::LONG_BLOB, u32::MAX.into(), false),
            ],
            layout: Layout::PlainKv,
            primary_key: vec![0],
            handle_key: vec![0],
            unique: vec![Index {
                name: "PRIMARY".to_owned(),
                primary: true,
                columns: vec![0],
            }],
            partitions: Vec::new(),
        }
    }

    /// The ids that the table's rows are stored under: the partitions' where there are some.
    pub fn physical_ids(&self) -> impl Iterator<Item = i64> {
        let own = self.partitions.is_empty().then_some(self.id);
        own.into_iter()
            .chain(self.partitions.iter().map(|partition| partition.id))
    }
}

impl ColumnType {
    /// Whether the integer is unsigned.
    pub fn is_unsigned(&self) -> bool {
        self.flags & flag::UNSIGNED != 0
    }

    /// Whether it is a string or blob type, text or binary.
    pub fn is_string(&self) -> bool {
        matches!(self.tp, tp::VARCHAR | tp::TINY_BLOB..=tp::STRING)
    }

    /// Whether it is a string or blob of bytes rather than text.
    pub fn is_binary(&self) -> bool {
        self.is_string() && self.charset == "binary"
    }

    /// Fraction digits of a time type, 0..=6.
    pub fn fsp(&self) -> usize {
        usize::try_from(self.decimal).unwrap_or(0).min(6)
    }

    /// Whether a key surely holds the value itself. Otherwise it may hold a sort key, which only
    /// clusters without the new collations don't make; rows then carry the value too.
    pub(crate) fn is_whole_in_keys(&self) -> bool {
        if !self.is_string() || self.charset == "binary" || self.collate == "utf8mb4_0900_bin" {
            return true;
        }
        let bytewise = self.collate.ends_with("_bin") && !self.collate.starts_with("gb");
        // Trailing spaces are cut off in keys; CHAR has none.
        bytewise && self.tp == tp::STRING
    }
}

/// MySQL's type bytes by name, as [`ColumnType::tp`] holds them.
#[allow(missing_docs, reason = "the names are MySQL's own")]
pub mod tp {
    pub const TINY: u8 = 1;
    pub const SHORT: u8 = 2;
    pub const LONG: u8 = 3;
    pub const FLOAT: u8 = 4;
    pub const DOUBLE: u8 = 5;
    pub const TIMESTAMP: u8 = 7;
    pub const LONGLONG: u8 = 8;
    pub const INT24: u8 = 9;
    pub const DATE: u8 = 10;
    pub const DURATION: u8 = 11;
    pub const DATETIME: u8 = 12;
    pub const YEAR: u8 = 13;
    pub const NEW_DATE: u8 = 14;
    pub const VARCHAR: u8 = 15;
    pub const BIT: u8 = 16;
    pub const VECTOR: u8 = 225;
    pub const JSON: u8 = 245;
    pub const DECIMAL: u8 = 246;
    pub const ENUM: u8 = 247;
    pub const SET: u8 = 248;
    pub const TINY_BLOB: u8 = 249;
    pub const MEDIUM_BLOB: u8 = 250;
    pub const LONG_BLOB: u8 = 251;
    pub const BLOB: u8 = 252;
    pub const VAR_STRING: u8 = 253;
    pub const STRING: u8 = 254;
}

/// MySQL's column flags.
pub(crate) mod flag {
    pub(crate) const NOT_NULL: u32 = 1;
    pub(crate) const PRIMARY: u32 = 2;
    pub(crate) const UNSIGNED: u32 = 32;
    pub(crate) const BINARY: u32 = 128;
}
