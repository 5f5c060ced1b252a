use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use thiserror::Error;
use tidemark_model::Ts;

use crate::Table;
use crate::meta_key::{MetaKey, SchemaKey};

use super::info::{CiName, DbInfo, TableInfo};
use super::{DDL_JOB_TABLE_ID, DdlJobTable, JobTableError, TableError, Wanted};

/// Databases of TiDB and its tools, whose tables are never streamed.
const SYSTEM_SCHEMAS: [&str; 9] = [
    "information_schema",
    "inspection_schema",
    "lightning_task_info",
    "metrics_schema",
    "mysql",
    "performance_schema",
    "sys",
    "tidb_cdc",
    "workload_schema",
];

/// Whether the database belongs to TiDB or its tools.
pub fn is_system_schema(name: &str) -> bool {
    SYSTEM_SCHEMAS
        .iter()
        .any(|system| system.eq_ignore_ascii_case(name))
}

/// Why a table that the filter takes is not streamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IneligibleReason {
    /// It has neither a primary key nor a unique index over NOT NULL columns.
    NoHandleKey,
    /// It is temporary: its rows live in sessions only.
    Temporary,
}

/// A table that the filter takes but that is not streamed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ineligible {
    /// The database's name.
    pub schema: String,
    /// The table's name.
    pub name: String,
    /// Why.
    pub reason: IneligibleReason,
}

/// The schema at a timestamp.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The timestamp that the metadata was read at.
    pub ts: Ts,
    /// All databases: ids and names.
    pub databases: BTreeMap<i64, String>,
    /// The tables to stream.
    pub tables: Vec<Arc<Table>>,
    /// Tables that the filter takes and that can't be streamed.
    pub ineligible: Vec<Ineligible>,
    /// Where DDL jobs show, if that table's metadata was among what was read.
    pub ddl_jobs: Option<DdlJobTable>,
}

/// Why scanned metadata is no schema.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// A database's JSON is malformed.
    #[error("the metadata of database id {id} is malformed JSON")]
    Database {
        /// The database's id.
        id: i64,
        /// What is wrong.
        #[source]
        problem: serde_json::Error,
    },
    /// A table's JSON is malformed.
    #[error("the metadata of table id {id} is malformed JSON")]
    TableJson {
        /// The table's id.
        id: i64,
        /// What is wrong.
        #[source]
        problem: serde_json::Error,
    },
    /// A table that the filter takes can't be decoded with.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The table of DDL jobs can't be read.
    #[error(transparent)]
    JobTable(#[from] JobTableError),
    /// A table's database was not among what was read.
    #[error("table id {table} belongs to database id {database}, which does not exist")]
    NoDatabase {
        /// The table's id.
        table: i64,
        /// The database's id.
        database: i64,
    },
}

/// Builds a [`Snapshot`] of scanned meta keys and values, in any order.
pub struct SnapshotBuilder {
    ts: Ts,
    wanted: Wanted,
    databases: BTreeMap<i64, String>,
    /// Tables that came before their databases.
    waiting: Vec<(i64, i64, Vec<u8>)>,
    tables: Vec<Arc<Table>>,
    ineligible: Vec<Ineligible>,
    ddl_jobs: Option<DdlJobTable>,
}

/// Only what the filter needs; most tables of a large cluster are skipped with no more.
#[derive(Default, Deserialize)]
#[serde(default)]
struct TableName {
    name: CiName,
}

/// What a table's metadata leads to.
pub(crate) enum Candidate {
    Table(Arc<Table>),
    Ineligible(Ineligible),
    /// A view, a sequence.
    NoRows,
}

/// Judges a table that the filter takes.
pub(crate) fn candidate(schema: &str, info: &TableInfo) -> Result<Candidate, TableError> {
    if info.view || info.sequence {
        return Ok(Candidate::NoRows);
    }
    let ineligible = |reason| {
        Candidate::Ineligible(Ineligible {
            schema: schema.to_owned(),
            name: info.name.original.clone(),
            reason,
        })
    };
    if info.temp_table_type != 0 {
        return Ok(ineligible(IneligibleReason::Temporary));
    }
    let table = Table::from_info(schema, info)?;
    if table.handle_key.is_empty() {
        return Ok(ineligible(IneligibleReason::NoHandleKey));
    }
    Ok(Candidate::Table(Arc::new(table)))
}

impl SnapshotBuilder {
    /// Begins a snapshot at `ts`; `wanted` says by schema and name which tables to stream.
    pub fn new(ts: Ts, wanted: Wanted) -> Self {
        Self {
            ts,
            wanted,
            databases: BTreeMap::new(),
            waiting: Vec::new(),
            tables: Vec::new(),
            ineligible: Vec::new(),
            ddl_jobs: None,
        }
    }

    /// Takes one pair of a scan; keys that hold no schema are skipped.
    ///
    /// # Errors
    /// If the JSON is malformed, or a wanted table can't be decoded with.
    pub fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), SnapshotError> {
        match MetaKey::parse(key).ok().and_then(|key| key.schema_key()) {
            None => Ok(()),
            Some(SchemaKey::Database { id }) => {
                let info: DbInfo = serde_json::from_slice(value)
                    .map_err(|problem| SnapshotError::Database { id, problem })?;
                self.databases.insert(id, info.name.original);
                Ok(())
            }
            Some(SchemaKey::Table { id, .. }) if id == DDL_JOB_TABLE_ID => {
                let info = parse_table(id, value)?;
                self.ddl_jobs = Some(DdlJobTable::from_info(&info)?);
                Ok(())
            }
            Some(SchemaKey::Table { database, id }) => match self.databases.get(&database).cloned() {
                Some(schema) => self.add_table(&schema, id, value),
                None => {
                    self.waiting.push((database, id, value.to_vec()));
                    Ok(())
                }
            },
        }
    }

    /// The ids and names of the databases seen so far whose tables are to be scanned: `mysql` for its
    /// DDL jobs, and those that are not TiDB's own.
    pub fn databases(&self) -> impl Iterator<Item = (i64, &str)> {
        let all = self.databases.iter().map(|(id, name)| (*id, name.as_str()));
        all.filter(|(_, name)| name.eq_ignore_ascii_case("mysql") || !is_system_schema(name))
    }

    /// The snapshot, once everything was added.
    ///
    /// # Errors
    /// If a table's database is missing, and as [`Self::add`].
    pub fn finish(mut self) -> Result<Snapshot, SnapshotError> {
        for (database, table, value) in std::mem::take(&mut self.waiting) {
            let Some(schema) = self.databases.get(&database).cloned() else {
                return Err(SnapshotError::NoDatabase { table, database });
            };
            self.add_table(&schema, table, &value)?;
        }
        Ok(Snapshot {
            ts: self.ts,
            databases: self.databases,
            tables: self.tables,
            ineligible: self.ineligible,
            ddl_jobs: self.ddl_jobs,
        })
    }

    fn add_table(&mut self, schema: &str, id: i64, value: &[u8]) -> Result<(), SnapshotError> {
        if is_system_schema(schema) {
            return Ok(());
        }
        let TableName { name } =
            serde_json::from_slice(value).map_err(|problem| SnapshotError::TableJson { id, problem })?;
        if !(self.wanted)(schema, &name.original) {
            return Ok(());
        }
        match candidate(schema, &parse_table(id, value)?)? {
            Candidate::Table(table) => self.tables.push(table),
            Candidate::Ineligible(ineligible) => self.ineligible.push(ineligible),
            Candidate::NoRows => {}
        }
        Ok(())
    }
}

fn parse_table(id: i64, value: &[u8]) -> Result<TableInfo, SnapshotError> {
    serde_json::from_slice(value).map_err(|problem| SnapshotError::TableJson { id, problem })
}
