use tidemark_model::Ts;

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
