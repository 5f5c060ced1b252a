use tidemark_model::{KvChange, Op};
use tidemark_tidb::{DecodeError, RowKey, Table, Value};

use super::EncodeError;

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKind {
    /// The row is new.
    Insert,
    /// The row was there and changed.
    Update,
    /// The row is gone.
    Delete,
}

/// One row event as encoders see it; the slices follow `Table::columns`.
#[derive(Clone, Copy, Debug)]
pub struct RowEvent<'a> {
    /// What happened.
    pub kind: RowKind,
    /// The row after; empty for a delete.
    pub new: &'a [Value<'a>],
    /// The row before; empty for an insert.
    pub old: &'a [Value<'a>],
    /// Whether `old` of a delete knows the columns of the key alone: the old value was not told.
    pub key_only: bool,
}

impl<'a> RowEvent<'a> {
    /// The row that the event is about: the new one, or the deleted one.
    pub fn row(&self) -> &'a [Value<'a>] {
        match self.kind {
            RowKind::Delete => self.old,
            RowKind::Insert | RowKind::Update => self.new,
        }
    }
}

/// A decoded change: the images before and after.
#[derive(Debug)]
pub struct RowChange<'a> {
    new: Vec<Value<'a>>,
    old: Vec<Value<'a>>,
    op: Op,
    key_only: bool,
    renamed: bool,
}

impl<'a> RowChange<'a> {
    /// Decodes both images of a change with the table's version that is valid at its commit ts.
    ///
    /// `key` is `RowKey::new(&change.key)`; it keeps the unpacked key columns that values borrow. A put
    /// without an old value is an insert; a delete without one knows its key alone.
    pub fn decode(table: &'a Table, key: &'a RowKey<'_>, change: &'a KvChange) -> Result<Self, EncodeError> {
        let row = |value: &'a [u8]| {
            table
                .decode(key, value)
                .map_err(|problem| row_error(table, change, problem))
        };
        let mut decoded = Self {
            new: Vec::new(),
            old: Vec::new(),
            op: change.op,
            key_only: false,
            renamed: false,
        };
        match change.op {
            Op::Put => {
                decoded.new = row(&change.value)?;
                if !change.old_value.is_empty() {
                    decoded.old = row(&change.old_value)?;
                    decoded.renamed = table
                        .handle_key
                        .iter()
                        .any(|&at| decoded.new.get(at) != decoded.old.get(at));
                }
            }
            Op::Delete if change.old_value.is_empty() => {
                decoded.key_only = true;
                decoded.old = table
                    .decode_handle(key)
                    .map_err(|problem| row_error(table, change, problem))?;
            }
            Op::Delete => decoded.old = row(&change.old_value)?,
        }
        Ok(decoded)
    }

    /// The one event of the change, or the two of an update that changed the row's name.
    pub fn events(&self) -> impl Iterator<Item = RowEvent<'_>> {
        let delete = RowEvent {
            kind: RowKind::Delete,
            new: &[],
            old: &self.old,
            key_only: self.key_only,
        };
        let insert = RowEvent {
            kind: RowKind::Insert,
            new: &self.new,
            old: &[],
            key_only: false,
        };
        let update = RowEvent {
            kind: RowKind::Update,
            new: &self.new,
            old: &self.old,
            key_only: false,
        };
        let (first, second) = match self.op {
            Op::Delete => (delete, None),
            Op::Put if self.renamed => (delete, Some(insert)),
            Op::Put if self.old.is_empty() => (insert, None),
            Op::Put => (update, None),
        };
        std::iter::once(first).chain(second)
    }
}

fn row_error(table: &Table, change: &KvChange, problem: DecodeError) -> EncodeError {
    EncodeError::Row {
        table: format!("{}.{}", table.schema, table.name),
        key: change.key.iter().map(|byte| format!("{byte:02x}")).collect(),
        problem,
    }
}
