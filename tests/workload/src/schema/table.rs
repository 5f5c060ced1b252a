//! A table as the workload defines it.

use super::column::ColumnKind;
use crate::encode::{Datum, RowFormat, common_handle, index_key, int_handle, record_key};

/// How a column's values come about, if not by writing them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Generated {
    /// Computed when read: not in the row and not in a stream.
    Virtual(String),
    /// Computed when written: an ordinary value in the row.
    Stored(String),
}

/// A column.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnSpec {
    /// TiDB's column id, unique in the table.
    pub id: i64,
    /// The name.
    pub name: String,
    /// The type.
    pub kind: ColumnKind,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// The value of rows written before the column was added; rows may leave the column out then.
    pub origin: Option<Datum>,
    /// The expression, for generated columns.
    pub generated: Option<Generated>,
}

impl ColumnSpec {
    /// A nullable column; its id is given when a table takes it in.
    pub fn new(name: &str, kind: ColumnKind) -> Self {
        Self {
            id: 0,
            name: name.to_owned(),
            kind,
            not_null: false,
            origin: None,
            generated: None,
        }
    }

    /// The same column, refusing NULL.
    pub fn not_null(mut self) -> Self {
        self.not_null = true;
        self
    }

    /// Whether a stream shows the column.
    pub fn is_emitted(&self) -> bool {
        !matches!(self.generated, Some(Generated::Virtual(_)))
    }
}

/// What a record key holds beside the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrimaryKey {
    /// No primary key; the handle is the hidden `_tidb_rowid`.
    None,
    /// A clustered integer column: its offset.
    IntHandle(usize),
    /// Clustered columns of other types: their offsets.
    Common(Vec<usize>),
    /// An index named PRIMARY beside `_tidb_rowid`: the offsets.
    Nonclustered(Vec<usize>),
}

/// An index other than a clustered primary key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexSpec {
    /// TiDB's index id, unique in the table.
    pub id: i64,
    /// The name.
    pub name: String,
    /// Offsets of its columns.
    pub columns: Vec<usize>,
    /// Whether entries are unique.
    pub unique: bool,
}

/// How rows are spread over physical tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Partitioning {
    /// One physical table with the table's id.
    None,
    /// By an integer column modulo the number of partitions.
    Hash {
        /// The column's offset.
        column: usize,
        /// Physical ids.
        ids: Vec<i64>,
    },
    /// By ranges of an integer column.
    Range {
        /// The column's offset.
        column: usize,
        /// Physical ids, and the first value above each; the last one takes the rest.
        bounds: Vec<(i64, Option<i64>)>,
    },
}

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub struct TableSpec {
    /// TiDB's table id; zero until the table is created.
    pub id: i64,
    /// The name.
    pub name: String,
    /// The columns in schema order.
    pub columns: Vec<ColumnSpec>,
    /// What the record key holds.
    pub primary_key: PrimaryKey,
    /// Indexes; a nonclustered primary key is not among them.
    pub indexes: Vec<IndexSpec>,
    /// Partitions.
    pub partitioning: Partitioning,
    /// How rows are written.
    pub row_format: RowFormat,
}

impl TableSpec {
    /// A table without keys; columns get ids from 1 on.
    pub fn new(name: &str, columns: Vec<ColumnSpec>) -> Self {
        let columns = columns
            .into_iter()
            .enumerate()
            .map(|(offset, column)| ColumnSpec {
                id: if column.id == 0 {
                    offset as i64 + 1
                } else {
                    column.id
                },
                ..column
            });
        Self {
            id: 0,
            name: name.to_owned(),
            columns: columns.collect(),
            primary_key: PrimaryKey::None,
            indexes: Vec::new(),
            partitioning: Partitioning::None,
            row_format: RowFormat::V2,
        }
    }

    /// The same table with a primary key, whose columns become NOT NULL.
    pub fn with_key(mut self, key: PrimaryKey) -> Self {
        self.primary_key = key;
        for offset in self.primary_offsets() {
            self.columns[offset].not_null = true;
        }
        self
    }

    /// The same table with an index more.
    pub fn with_index(mut self, name: &str, columns: &[usize], unique: bool) -> Self {
        self.indexes.push(IndexSpec {
            id: self.indexes.len() as i64 + 2,
            name: name.to_owned(),
            columns: columns.to_vec(),
            unique,
        });
        self
    }

    /// Offsets of the primary key's columns, in key order.
    pub fn primary_offsets(&self) -> Vec<usize> {
        match &self.primary_key {
            PrimaryKey::None => Vec::new(),
            PrimaryKey::IntHandle(offset) => vec![*offset],
            PrimaryKey::Common(offsets) | PrimaryKey::Nonclustered(offsets) => offsets.clone(),
        }
    }

    /// Offsets of the columns that name a row: the primary key, else the smallest unique index over NOT NULL
    /// columns; empty if there is none.
    pub fn key_offsets(&self) -> Vec<usize> {
        let primary = self.primary_offsets();
        if !primary.is_empty() {
            return primary;
        }
        let usable = self.indexes.iter().filter(|index| {
            index.unique && index.columns.iter().all(|offset| self.columns[*offset].not_null)
        });
        let smallest = usable.min_by_key(|index| (index.columns.len(), index.id));
        smallest.map_or_else(Vec::new, |index| index.columns.clone())
    }

    /// The physical tables.
    pub fn physical_ids(&self) -> Vec<i64> {
        match &self.partitioning {
            Partitioning::None => vec![self.id],
            Partitioning::Hash { ids, .. } => ids.clone(),
            Partitioning::Range { bounds, .. } => bounds.iter().map(|(id, _)| *id).collect(),
        }
    }

    /// The physical table of a row.
    pub fn physical_id(&self, row: &[Datum]) -> i64 {
        let number = |column: usize| match &row[column] {
            Datum::Int(value) => *value,
            Datum::UInt(value) => value.cast_signed(),
            _ => 0,
        };
        match &self.partitioning {
            Partitioning::None => self.id,
            Partitioning::Hash { column, ids } => {
                // MySQL's hash is the remainder without its sign.
                let index = (number(*column) % ids.len() as i64).unsigned_abs() as usize;
                ids[index]
            }
            Partitioning::Range { column, bounds } => {
                let value = number(*column);
                let within = |bound: &&(i64, Option<i64>)| bound.1.is_none_or(|upper| value < upper);
                bounds.iter().find(within).map_or(self.id, |bound| bound.0)
            }
        }
    }

    /// The encoded handle of a row; `rowid` is its hidden id where no primary key is clustered.
    pub fn handle(&self, row: &[Datum], rowid: i64) -> Vec<u8> {
        match &self.primary_key {
            PrimaryKey::None | PrimaryKey::Nonclustered(_) => int_handle(rowid),
            PrimaryKey::IntHandle(offset) => int_handle(match &row[*offset] {
                Datum::Int(value) => *value,
                Datum::UInt(value) => value.cast_signed(),
                _ => 0,
            }),
            PrimaryKey::Common(offsets) => common_handle(self.key_datums(offsets, row)),
        }
    }

    /// The record key of a row.
    pub fn record_key(&self, row: &[Datum], rowid: i64) -> Vec<u8> {
        record_key(self.physical_id(row), &self.handle(row, rowid))
    }

    /// Whether the row repeats or only holds the column; clustered key columns are in the key alone,
    /// except where the key can't give the text back.
    pub fn in_row(&self, offset: usize) -> bool {
        let column = &self.columns[offset];
        match &self.primary_key {
            _ if !column.is_emitted() => false,
            PrimaryKey::IntHandle(key) => *key != offset,
            PrimaryKey::Common(keys) => !keys.contains(&offset) || column.kind.needs_restored_data(),
            PrimaryKey::None | PrimaryKey::Nonclustered(_) => true,
        }
    }

    /// Keys and values of the row's index entries.
    pub fn index_entries(&self, row: &[Datum], rowid: i64) -> Vec<(Vec<u8>, Vec<u8>)> {
        let table = self.physical_id(row);
        let handle = self.handle(row, rowid);
        let mut entries = Vec::with_capacity(self.indexes.len() + 1);
        let mut entry = |id: i64, columns: &[usize], unique: bool| {
            let datums = self.key_datums(columns, row);
            let distinct = unique && columns.iter().all(|offset| row[*offset] != Datum::Null);
            entries.push(if distinct {
                (index_key(table, id, &datums, &[]), self.unique_value(&handle))
            } else {
                (
                    index_key(table, id, &datums, &self.handle_datum(&handle)),
                    b"0".to_vec(),
                )
            });
        };
        if let PrimaryKey::Nonclustered(columns) = &self.primary_key {
            entry(1, columns, true);
        }
        for index in &self.indexes {
            entry(index.id, &index.columns, index.unique);
        }
        entries
    }

    /// A unique entry's value: the handle in eight bytes, or a common handle behind its length.
    fn unique_value(&self, handle: &[u8]) -> Vec<u8> {
        match &self.primary_key {
            PrimaryKey::Common(_) => {
                let mut value = vec![0, 127, (handle.len() >> 8) as u8, handle.len() as u8];
                value.extend_from_slice(handle);
                value
            }
            _ => {
                // The handle's comparable form has its sign bit flipped; index values have it plain.
                let mut value = handle.to_vec();
                if let Some(first) = value.first_mut() {
                    *first ^= 0x80;
                }
                value
            }
        }
    }

    /// The handle as the last datum of a non-unique entry's key.
    fn handle_datum(&self, handle: &[u8]) -> Vec<u8> {
        match &self.primary_key {
            PrimaryKey::Common(_) => handle.to_vec(),
            _ => [&[3], handle].concat(),
        }
    }

    fn key_datums(&self, offsets: &[usize], row: &[Datum]) -> Vec<u8> {
        let mut datums = Vec::new();
        for offset in offsets {
            row[*offset].put_key(&self.columns[*offset].kind, &mut datums);
        }
        datums
    }

    /// The CREATE TABLE statement.
    pub fn sql(&self) -> String {
        let names = |offsets: &[usize]| {
            let quoted: Vec<String> = offsets
                .iter()
                .map(|offset| format!("`{}`", self.columns[*offset].name))
                .collect();
            quoted.join(",")
        };
        let mut parts: Vec<String> = self.columns.iter().map(column_sql).collect();
        match &self.primary_key {
            PrimaryKey::None => {}
            PrimaryKey::Nonclustered(columns) => {
                parts.push(format!("PRIMARY KEY ({}) NONCLUSTERED", names(columns)));
            }
            PrimaryKey::IntHandle(_) | PrimaryKey::Common(_) => {
                parts.push(format!(
                    "PRIMARY KEY ({}) CLUSTERED",
                    names(&self.primary_offsets())
                ));
            }
        }
        for index in &self.indexes {
            let unique = if index.unique { "UNIQUE " } else { "" };
            parts.push(format!(
                "{unique}KEY `{}` ({})",
                index.name,
                names(&index.columns)
            ));
        }
        let partitions = match &self.partitioning {
            Partitioning::None => String::new(),
            Partitioning::Hash { column, ids } => {
                format!(
                    " PARTITION BY HASH ({}) PARTITIONS {}",
                    names(&[*column]),
                    ids.len()
                )
            }
            Partitioning::Range { column, bounds } => {
                let parts = bounds.iter().enumerate().map(|(index, (_, upper))| {
                    let upper = upper.map_or("MAXVALUE".to_owned(), |upper| format!("({upper})"));
                    format!("PARTITION p{index} VALUES LESS THAN {upper}")
                });
                let parts: Vec<String> = parts.collect();
                format!(
                    " PARTITION BY RANGE ({}) ({})",
                    names(&[*column]),
                    parts.join(",")
                )
            }
        };
        format!("CREATE TABLE `{}` ({}){partitions}", self.name, parts.join(", "))
    }
}

/// A column's definition in SQL.
pub(super) fn column_sql(column: &ColumnSpec) -> String {
    let null = if column.not_null { " NOT NULL" } else { "" };
    let generated = match &column.generated {
        None => String::new(),
        Some(Generated::Virtual(expression)) => format!(" AS ({expression}) VIRTUAL"),
        Some(Generated::Stored(expression)) => format!(" AS ({expression}) STORED"),
    };
    format!("`{}` {}{generated}{null}", column.name, column.kind.sql())
}
