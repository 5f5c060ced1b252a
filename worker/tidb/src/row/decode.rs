use smallvec::SmallVec;
use thiserror::Error;

use crate::key::{RecordKey, RowKey};
use crate::{Column, Handle, Layout, Table, Value, ValueError};

use super::v2::{Cell, RowV2, Walk};
use super::{handle, v1, v2};

/// Why a record is no row of the table.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The key is no record key, or its handle is not of the table's kind.
    #[error("the key is not one of the table's rows")]
    Key(#[source] ValueError),
    /// The key belongs to another table.
    #[error("the key belongs to table id {found}, not to {expected}")]
    ForeignKey {
        /// The table's id.
        expected: i64,
        /// The id in the key.
        found: i64,
    },
    /// The row's frame is damaged.
    #[error("the row is damaged")]
    Row(#[source] ValueError),
    /// One value does not fit its column.
    #[error("column `{column}` has no readable value")]
    Column {
        /// The column's name.
        column: String,
        /// What is wrong.
        #[source]
        problem: ValueError,
    },
    /// A key column's value can't be told from the key alone: it holds a sort key or a prefix.
    #[error("column `{column}` can't be read from the key alone, which holds a prefix or a sort key of it")]
    KeyLosesValue {
        /// The column's name.
        column: String,
    },
}

impl DecodeError {
    fn column(column: &Column, problem: ValueError) -> Self {
        Self::Column {
            column: column.name.clone(),
            problem,
        }
    }
}

impl Table {
    /// The values of a record, in the order of [`Table::columns`], borrowed from key, record and table.
    ///
    /// Ids that the table doesn't know are skipped. Columns that the row lacks come from the handle, else
    /// they have their default of the time when they were added. An empty value is a row without columns.
    ///
    /// # Errors
    /// If the key is not the table's, or the row is damaged.
    pub fn decode<'a>(&'a self, key: &'a RowKey<'_>, value: &'a [u8]) -> Result<Vec<Value<'a>>, DecodeError> {
        let handle = match &self.layout {
            Layout::PlainKv => return Ok(vec![Value::Bytes(key.raw()), Value::Bytes(value)]),
            Layout::Tidb(handle) => handle,
        };
        let record = self.record_key(key)?;
        let (mut values, lacking) = match value.first() {
            Some(&v2::VERSION) => self.decode_v2(handle, value)?,
            _ => self.decode_v1(handle, value)?,
        };
        match handle {
            Handle::RowId => {}
            Handle::Int(at) => {
                let number = record.int_handle().map_err(DecodeError::Key)?;
                if let (Some(column), Some(slot)) = (self.columns.get(*at), values.get_mut(*at)) {
                    *slot = handle::int_value(&column.ty, number).map_err(DecodeError::Key)?;
                }
            }
            Handle::Common(_) if lacking.is_empty() => {}
            Handle::Common(columns) => {
                handle::common_values(&self.columns, columns, key, &record, |at, value| {
                    if let (Some(slot), true) = (values.get_mut(at), lacking.contains(&at)) {
                        *slot = value;
                    }
                })
                .map_err(DecodeError::Key)?;
            }
        }
        Ok(values)
    }

    /// The handle's columns from the key alone, all others NULL: for deletes whose old row is not known.
    /// With a hidden row id all are NULL.
    ///
    /// # Errors
    /// If the key is not the table's, or doesn't hold a column's whole value.
    pub fn decode_handle<'a>(&'a self, key: &'a RowKey<'_>) -> Result<Vec<Value<'a>>, DecodeError> {
        let mut values = vec![Value::Null; self.columns.len()];
        let handle = match &self.layout {
            Layout::PlainKv => return Ok(vec![Value::Bytes(key.raw()), Value::Null]),
            Layout::Tidb(handle) => handle,
        };
        let record = self.record_key(key)?;
        match handle {
            Handle::RowId => {}
            Handle::Int(at) => {
                let number = record.int_handle().map_err(DecodeError::Key)?;
                if let (Some(column), Some(slot)) = (self.columns.get(*at), values.get_mut(*at)) {
                    *slot = handle::int_value(&column.ty, number).map_err(DecodeError::Key)?;
                }
            }
            Handle::Common(columns) => {
                for &(at, prefix) in columns {
                    let column = self.columns.get(at);
                    if let Some(column) =
                        column.filter(|column| prefix.is_some() || !column.ty.is_whole_in_keys())
                    {
                        let column = column.name.clone();
                        return Err(DecodeError::KeyLosesValue { column });
                    }
                }
                handle::common_values(&self.columns, columns, key, &record, |at, value| {
                    if let Some(slot) = values.get_mut(at) {
                        *slot = value;
                    }
                })
                .map_err(DecodeError::Key)?;
            }
        }
        Ok(values)
    }

    /// Takes the key apart and checks that it is this table's, as far as that costs nothing.
    pub(crate) fn record_key<'k>(&self, key: &RowKey<'k>) -> Result<RecordKey<'k>, DecodeError> {
        let record = RecordKey::parse(key.raw()).map_err(DecodeError::Key)?;
        if self.partitions.is_empty() && record.physical_id != self.id {
            return Err(DecodeError::ForeignKey {
                expected: self.id,
                found: record.physical_id,
            });
        }
        Ok(record)
    }

    /// The row's values, and which columns of a clustered key it lacks.
    fn decode_v2<'a>(&'a self, handle: &Handle, value: &'a [u8]) -> Result<Cells<'a>, DecodeError> {
        let row = RowV2::parse(value).map_err(DecodeError::Row)?;
        let mut walk = Walk::default();
        let mut values = Vec::with_capacity(self.columns.len());
        let mut lacking = Lacking::new();
        for (at, column) in self.columns.iter().enumerate() {
            if matches!(handle, Handle::Int(in_key) if *in_key == at) {
                values.push(Value::Null);
                continue;
            }
            values.push(match row.find(column.id, &mut walk).map_err(DecodeError::Row)? {
                Cell::Value(bytes) => v2::read_value(&column.ty, bytes)
                    .map_err(|problem| DecodeError::column(column, problem))?,
                Cell::Null => Value::Null,
                Cell::Absent => {
                    if handle.holds(at) {
                        lacking.push(at);
                    }
                    column.absent.as_value()
                }
            });
        }
        Ok((values, lacking))
    }

    /// As [`Self::decode_v2`].
    fn decode_v1<'a>(&'a self, handle: &Handle, value: &'a [u8]) -> Result<Cells<'a>, DecodeError> {
        let mut values: Vec<_> = self
            .columns
            .iter()
            .map(|column| column.absent.as_value())
            .collect();
        let mut lacking: Lacking = (0..values.len()).filter(|&at| handle.holds(at)).collect();
        // Pairs mostly come in the columns' order, so each search begins after the last find.
        let mut next = 0;
        for pair in v1::pairs(value) {
            let (id, datum) = pair.map_err(DecodeError::Row)?;
            let from = |start: usize| {
                let mut rest = self.columns.iter().enumerate().skip(start);
                rest.find(|(_, column)| column.id == id)
            };
            let Some((at, column)) = from(next).or_else(|| from(0)) else {
                continue;
            };
            let value = v1::datum_value(&column.ty, datum);
            let value = value.map_err(|problem| DecodeError::column(column, problem))?;
            if let Some(slot) = values.get_mut(at) {
                *slot = value;
            }
            lacking.retain(|lacks| *lacks != at);
            next = at + 1;
        }
        Ok((values, lacking))
    }
}

impl Handle {
    /// Whether the column is part of a clustered key of several or other columns.
    fn holds(&self, at: usize) -> bool {
        matches!(self, Self::Common(columns) if columns.iter().any(|&(column, _)| column == at))
    }
}

type Lacking = SmallVec<[usize; 8]>;
type Cells<'a> = (Vec<Value<'a>>, Lacking);
