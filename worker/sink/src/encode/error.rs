use std::error::Error as _;

use thiserror::Error;
use tidemark_tidb::{Column, DecodeError, Table, ValueError};

use crate::SinkError;

/// Why a row has no encoded form.
#[derive(Debug, Error)]
pub enum EncodeError {
    /// The stored row can't be decoded with the table's definition.
    #[error("table {table}: the row with key {key} can't be decoded with the table's definition")]
    Row {
        /// `schema.table`.
        table: String,
        /// The key in hex.
        key: String,
        /// What the decoder says.
        #[source]
        problem: DecodeError,
    },
    /// One value is no value of its column.
    #[error("table {table}, column {column}: the stored value can't be printed")]
    Value {
        /// `schema.table`.
        table: String,
        /// The column's name.
        column: String,
        /// What the decoder says.
        #[source]
        problem: ValueError,
    },
}

impl EncodeError {
    pub(crate) fn value(table: &Table, column: &Column, problem: ValueError) -> Self {
        Self::Value {
            table: format!("{}.{}", table.schema, table.name),
            column: column.name.clone(),
            problem,
        }
    }
}

/// One text, with the reasons behind it.
impl From<EncodeError> for SinkError {
    fn from(error: EncodeError) -> Self {
        let mut text = error.to_string();
        let mut reason = error.source();
        while let Some(error) = reason {
            text.push_str(": ");
            text.push_str(&error.to_string());
            reason = error.source();
        }
        Self::Row(text)
    }
}
