use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use foldhash::fast::RandomState;
use thiserror::Error;
use tidemark_model::Ts;

use crate::Table;

use super::action::Meaning;
use super::{ActionType, Ddl, DdlJob, Snapshot, TableChange, TableError, is_system_schema};

/// Says by schema and table name whether a table is to be streamed. System schemas are left out anyway.
pub type Wanted = Arc<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// The tables that are streamed, moved on by finished DDL jobs.
#[derive(Clone)]
pub struct Schema {
    /// DDL up to this timestamp is known.
    snapshot_ts: Ts,
    wanted: Wanted,
    pub(super) databases: BTreeMap<i64, String>,
    /// By the logical id.
    pub(super) tables: BTreeMap<i64, Arc<Table>>,
    /// Physical ids to logical ones.
    pub(super) physical: HashMap<i64, i64, RandomState>,
}

/// What a DDL job means for the stream.
#[derive(Clone, Debug, PartialEq)]
pub enum DdlEffect {
    /// Nothing that is streamed changed.
    Nothing,
    /// Tables that are streamed changed.
    Changed(Ddl),
    /// The stream must stop here: rows after this DDL can't be streamed rightly.
    Unsupported(UnsupportedDdl),
}

/// A DDL that the stream can't pass.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{action} on {table} at commit ts {finished_ts} can't be followed: {query:?}; {why}; start a new feed after that ts"
)]
pub struct UnsupportedDdl {
    /// What kind of DDL it is.
    pub action: ActionType,
    /// The schema's and table's name, or the schema's alone.
    pub table: String,
    /// The statement.
    pub query: String,
    /// When it took effect.
    pub finished_ts: Ts,
    /// Why it can't be followed.
    pub why: &'static str,
}

/// Why a job can't be applied.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// A created table can't be decoded with.
    #[error("{action} at commit ts {finished_ts}")]
    Table {
        /// What kind of DDL it is.
        action: ActionType,
        /// When it took effect.
        finished_ts: Ts,
        /// What is wrong.
        #[source]
        problem: TableError,
    },
    /// The job lacks the definition of what it made.
    #[error("{action} at commit ts {finished_ts}: job {job} carries no table definition")]
    NoTableInfo {
        /// What kind of DDL it is.
        action: ActionType,
        /// When it took effect.
        finished_ts: Ts,
        /// The job's id.
        job: i64,
    },
}

impl Schema {
    /// Begins with a snapshot; `wanted` is the filter that the snapshot was built with.
    pub fn new(snapshot: &Snapshot, wanted: Wanted) -> Self {
        let mut schema = Self {
            snapshot_ts: snapshot.ts,
            wanted,
            databases: snapshot.databases.clone(),
            tables: BTreeMap::new(),
            physical: HashMap::default(),
        };
        for table in &snapshot.tables {
            schema.insert(Arc::clone(table));
        }
        schema
    }

    /// The tables, by id.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.tables.values()
    }

    /// The table that stores rows under a table's or partition's id.
    pub fn table_by_physical_id(&self, id: i64) -> Option<Arc<Table>> {
        let logical = self.physical.get(&id)?;
        self.tables.get(logical).map(Arc::clone)
    }

    /// Applies a finished job that took effect at `finished_ts`, its row's commit ts. Jobs must come in
    /// that order; jobs that the snapshot knows are skipped, and a creation may come twice. Jobs without a schema version changed nothing.
    ///
    /// # Errors
    /// If a created table can't be decoded with.
    pub fn apply(&mut self, job: &DdlJob, finished_ts: Ts) -> Result<DdlEffect, ApplyError> {
        let no_effect = job.binlog.schema_version == 0;
        if finished_ts <= self.snapshot_ts || no_effect {
            return Ok(DdlEffect::Nothing);
        }
        match job.action.meaning() {
            Meaning::Nothing => Ok(DdlEffect::Nothing),
            Meaning::CreateSchema => {
                let named = job.binlog.db_info.as_ref().map(|info| info.name.original.clone());
                self.databases
                    .insert(job.schema_id, named.unwrap_or_else(|| job.schema_name.clone()));
                Ok(DdlEffect::Nothing)
            }
            Meaning::CreateTables => self.create(job, finished_ts),
            Meaning::Harmless => self.alter(job, finished_ts, true),
            Meaning::Alters => self.alter(job, finished_ts, false),
            Meaning::Drops => Ok(self.drop_table(job, finished_ts)),
            Meaning::Replaces => self.replace(job, finished_ts),
            Meaning::Renames => self.rename(job, finished_ts),
            Meaning::Exchanges => self.exchange(job, finished_ts),
            Meaning::DropSchema => Ok(self.drop_schema(job, finished_ts)),
            Meaning::RecoverSchema => {
                let schema = self.schema_name(job);
                let ours = !is_system_schema(&schema);
                Ok(if ours {
                    unsupported(
                        job,
                        schema,
                        finished_ts,
                        "rows come back that the stream doesn't hold",
                    )
                } else {
                    DdlEffect::Nothing
                })
            }
            Meaning::Arriving => Ok(self.arriving(job, finished_ts)),
            Meaning::WholeCluster => {
                let why = "rows of all tables change without being written";
                Ok(unsupported(job, "*.*".to_owned(), finished_ts, why))
            }
        }
    }

    /// Takes the changes of a job in.
    pub(super) fn change(&mut self, job: &DdlJob, ts: Ts, changes: Vec<TableChange>) -> DdlEffect {
        let Some(first) = changes.first() else {
            return DdlEffect::Nothing;
        };
        let named = first.after().or(first.before());
        let (schema, table) = match named {
            _ if job.table_id == 0 && job.table_infos().next().is_none() => {
                (self.schema_name(job), String::new())
            }
            Some(table) => (table.schema.clone(), table.name.clone()),
            None => (self.schema_name(job), job.table_name.clone()),
        };
        for old in changes.iter().filter_map(TableChange::before) {
            self.remove(old);
        }
        for new in changes.iter().filter_map(TableChange::after) {
            self.insert(Arc::clone(new));
        }
        DdlEffect::Changed(Ddl {
            ts,
            action: job.action,
            schema,
            table,
            query: job.query.clone(),
            changes,
        })
    }

    pub(super) fn wants(&self, schema: &str, table: &str) -> bool {
        !is_system_schema(schema) && (self.wanted)(schema, table)
    }

    pub(super) fn schema_name(&self, job: &DdlJob) -> String {
        self.databases
            .get(&job.schema_id)
            .unwrap_or(&job.schema_name)
            .clone()
    }

    pub(super) fn insert(&mut self, table: Arc<Table>) {
        for id in table.physical_ids() {
            self.physical.insert(id, table.id);
        }
        self.tables.insert(table.id, table);
    }

    pub(super) fn remove(&mut self, table: &Table) {
        for id in table.physical_ids() {
            if self.physical.get(&id) == Some(&table.id) {
                self.physical.remove(&id);
            }
        }
        self.tables.remove(&table.id);
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema")
            .field("snapshot_ts", &self.snapshot_ts)
            .field("databases", &self.databases)
            .field("tables", &self.tables)
            .finish_non_exhaustive()
    }
}

/// What the stream can't pass.
pub(super) fn unsupported(job: &DdlJob, table: String, finished_ts: Ts, why: &'static str) -> DdlEffect {
    DdlEffect::Unsupported(UnsupportedDdl {
        action: job.action,
        table,
        query: job.query.clone(),
        finished_ts,
        why,
    })
}
