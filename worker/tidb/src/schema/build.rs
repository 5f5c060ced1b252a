use thiserror::Error;
use tidemark_model::Ts;

use crate::row::{default_of, zero_of};
use crate::table::flag;
use crate::{Column, ColumnType, Handle, Index, Layout, Partition, StoredValue, Table};

use super::info::{ColumnInfo, IndexInfo, PUBLIC, TableInfo};

/// Why a `TableInfo` can't be decoded with.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TableError {
    /// A column's type is not known.
    #[error("table {table}: column `{column}` has type {tp}, which is not known")]
    UnknownType {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// MySQL's type byte.
        tp: u8,
    },
    /// The default of an added column is no value of its type.
    #[error(
        "table {table}: column `{column}` was added with the default {default:?}, which is no value of its type"
    )]
    BadDefault {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// The default's text.
        default: String,
    },
    /// The handle's columns are not among the emitted ones.
    #[error("table {table}: its handle names no public column")]
    NoHandleColumn {
        /// The table.
        table: String,
    },
}

impl Table {
    /// The table as decoding and sinks need it: its public columns without the virtual ones.
    ///
    /// # Errors
    /// If a type, default or handle is beyond what can be decoded.
    pub fn from_info(schema: &str, info: &TableInfo) -> Result<Self, TableError> {
        let named = || format!("{schema}.{}", info.name.original);
        let emitted = |column: &&ColumnInfo| column.state == PUBLIC && !column.is_virtual() && !column.hidden;
        let mut kept: Vec<&ColumnInfo> = info.cols.iter().filter(emitted).collect();
        kept.sort_by_key(|column| column.offset);
        let columns = kept
            .iter()
            .map(|column| build_column(column, &named))
            .collect::<Result<Vec<_>, _>>()?;
        let place = |offset: i64| kept.iter().position(|column| column.offset == offset);

        let primary_index = info
            .index_info
            .iter()
            .find(|index| index.is_primary && index.state == PUBLIC);
        let no_handle = || TableError::NoHandleColumn { table: named() };
        let handle = if info.pk_is_handle {
            Handle::Int(
                columns
                    .iter()
                    .position(|column| column.primary)
                    .ok_or_else(no_handle)?,
            )
        } else if info.is_common_handle {
            let index = primary_index.ok_or_else(no_handle)?;
            let parts = index.idx_cols.iter().map(|part| {
                let prefix = usize::try_from(part.length).ok();
                Ok((place(part.offset).ok_or_else(no_handle)?, prefix))
            });
            Handle::Common(parts.collect::<Result<_, _>>()?)
        } else {
            Handle::RowId
        };

        let mut unique: Vec<Index> = Vec::new();
        if let Handle::Int(at) = handle {
            unique.push(Index {
                name: "PRIMARY".to_owned(),
                primary: true,
                columns: vec![at],
            });
        }
        // An index over a virtual or prefixed column says nothing about the emitted values.
        let whole = |index: &IndexInfo| -> Option<Vec<usize>> {
            let parts = index.idx_cols.iter();
            parts.map(|part| place(part.offset)).collect()
        };
        let mut indexes: Vec<&IndexInfo> = info.index_info.iter().collect();
        indexes.sort_by_key(|index| (!index.is_primary, index.id));
        for index in indexes {
            let used = index.state == PUBLIC && (index.is_unique || index.is_primary);
            if let Some(columns) = used.then(|| whole(index)).flatten() {
                unique.push(Index {
                    name: index.idx_name.original.clone(),
                    primary: index.is_primary,
                    columns,
                });
            }
        }
        let primary_key: Vec<usize> = unique
            .iter()
            .find(|index| index.primary)
            .map(|index| index.columns.clone())
            .unwrap_or_default();
        let handle_key = handle_key(&unique, &columns);
        let partitions = info.partition.iter().filter(|partition| partition.enable);
        let partitions = partitions
            .flat_map(|partition| &partition.definitions)
            .map(|definition| Partition {
                id: definition.id,
                name: definition.name.original.clone(),
            });
        Ok(Self {
            id: info.id,
            schema: schema.to_owned(),
            name: info.name.original.clone(),
            updated: Ts(info.update_timestamp),
            columns,
            layout: Layout::Tidb(handle),
            primary_key,
            handle_key,
            unique,
            partitions: partitions.collect(),
        })
    }
}

/// The primary key, else the shortest unique index over NOT NULL columns, the oldest of several.
fn handle_key(unique: &[Index], columns: &[Column]) -> Vec<usize> {
    let sure = |index: &&Index| {
        let mut parts = index.columns.iter().filter_map(|&at| columns.get(at));
        index.primary || parts.all(|column| column.not_null)
    };
    // `unique` is sorted: the primary key first, then by id; the first of equals is taken.
    let best = unique
        .iter()
        .filter(sure)
        .min_by_key(|index| (!index.primary, index.columns.len()));
    best.map(|index| index.columns.clone()).unwrap_or_default()
}

fn build_column(info: &ColumnInfo, table: &dyn Fn() -> String) -> Result<Column, TableError> {
    let ty = ColumnType {
        tp: info.ty.tp,
        flags: info.ty.flag,
        flen: info.ty.flen,
        decimal: info.ty.decimal,
        charset: info.ty.charset.clone(),
        collate: info.ty.collate.clone(),
        elems: info.ty.elems.clone(),
    };
    let not_null = ty.flags & flag::NOT_NULL != 0;
    let unknown = || TableError::UnknownType {
        table: table(),
        column: info.name.original.clone(),
        tp: ty.tp,
    };
    let zero = zero_of(&ty).ok_or_else(unknown)?;
    let absent = match &info.origin_default {
        Some(text) => default_of(&ty, text, info.origin_default_bit.as_deref()).ok_or_else(|| {
            TableError::BadDefault {
                table: table(),
                column: info.name.original.clone(),
                default: text.clone(),
            }
        })?,
        None if not_null => zero,
        None => StoredValue::Null,
    };
    Ok(Column {
        id: info.id,
        name: info.name.original.clone(),
        not_null,
        primary: ty.flags & flag::PRIMARY != 0,
        generated: !info.generated_expr_string.is_empty(),
        default: info.default_value.clone(),
        absent,
        ty,
    })
}

impl ColumnInfo {
    /// Whether the column is computed on reading and never stored.
    fn is_virtual(&self) -> bool {
        !self.generated_expr_string.is_empty() && !self.generated_stored
    }
}
