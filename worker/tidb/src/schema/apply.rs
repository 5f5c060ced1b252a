use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use foldhash::fast::RandomState;
use thiserror::Error;
use tidemark_model::Ts;

use crate::Table;

use super::action::Meaning;
use super::snapshot::{Candidate, candidate};
use super::{ActionType, DdlJob, Snapshot, TableError, TableInfo, is_system_schema};

/// Says by schema and table name whether a table is to be streamed. System schemas are left out anyway.
pub type Wanted = Arc<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// The tables that are streamed, moved on by finished DDL jobs.
#[derive(Clone)]
pub struct Schema {
    /// DDL up to this timestamp is known.
    snapshot_ts: Ts,
    wanted: Wanted,
    databases: BTreeMap<i64, String>,
    /// By the logical id.
    tables: BTreeMap<i64, Arc<Table>>,
    /// Physical ids to logical ones.
    physical: HashMap<i64, i64, RandomState>,
}

/// What a DDL job means for the stream.
#[derive(Clone, Debug, PartialEq)]
pub enum DdlEffect {
    /// Nothing that is streamed changed.
    Nothing,
    /// Tables to stream from now on; rows committed after the job are theirs.
    Created(Vec<Arc<Table>>),
    /// Definitions that replace the earlier ones; rows keep their form.
    Refreshed(Vec<Arc<Table>>),
    /// The stream must stop here: rows after this DDL can't be streamed rightly.
    Unsupported(UnsupportedDdl),
}

/// A DDL that the stream can't pass.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{action} on {table} at commit ts {finished_ts} can't be followed yet: {query:?}; start a new feed after that ts"
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
        let meaning = match job.action.meaning() {
            Meaning::Several => several(job),
            meaning => meaning,
        };
        match meaning {
            Meaning::Nothing => Ok(DdlEffect::Nothing),
            Meaning::CreateSchema => {
                let named = job.binlog.db_info.as_ref().map(|info| info.name.original.clone());
                self.databases
                    .insert(job.schema_id, named.unwrap_or_else(|| job.schema_name.clone()));
                Ok(DdlEffect::Nothing)
            }
            Meaning::CreateTables => self.create(job, finished_ts),
            Meaning::Harmless => self.refresh(job, finished_ts),
            Meaning::DropSchema => Ok(self.drop_schema(job, finished_ts)),
            Meaning::RecoverSchema => {
                let schema = self.schema_name(job);
                let ours = !is_system_schema(&schema);
                Ok(if ours {
                    unsupported(job, schema, finished_ts)
                } else {
                    DdlEffect::Nothing
                })
            }
            Meaning::Breaking | Meaning::Several => Ok(self.breaking(job, finished_ts, false)),
            Meaning::Arriving => Ok(self.breaking(job, finished_ts, true)),
            Meaning::WholeCluster => Ok(unsupported(job, "*.*".to_owned(), finished_ts)),
        }
    }

    fn create(&mut self, job: &DdlJob, finished_ts: Ts) -> Result<DdlEffect, ApplyError> {
        if job.table_infos().next().is_none() {
            return Err(ApplyError::NoTableInfo {
                action: job.action,
                finished_ts,
                job: job.id,
            });
        }
        let schema = self.schema_name(job);
        let mut created = Vec::new();
        for info in job.table_infos() {
            if self.tables.contains_key(&info.id) || !self.wants(&schema, &info.name.original) {
                continue;
            }
            if let Some(table) = build(&schema, info, job, finished_ts)? {
                self.insert(Arc::clone(&table));
                created.push(table);
            }
        }
        Ok(if created.is_empty() {
            DdlEffect::Nothing
        } else {
            DdlEffect::Created(created)
        })
    }

    /// Takes the new definitions; a table that gets its first key this way begins to be streamed.
    fn refresh(&mut self, job: &DdlJob, finished_ts: Ts) -> Result<DdlEffect, ApplyError> {
        let schema = self.schema_name(job);
        let (mut created, mut refreshed) = (Vec::new(), Vec::new());
        for info in job.table_infos() {
            let old = self.tables.get(&info.id).map(Arc::clone);
            let schema = old
                .as_ref()
                .map_or(schema.as_str(), |old| old.schema.as_str())
                .to_owned();
            if old.is_none() && !self.wants(&schema, &info.name.original) {
                continue;
            }
            let new = build(&schema, info, job, finished_ts)?;
            match (old, new) {
                (None, None) => {}
                (None, Some(new)) => created.push(new),
                (Some(old), Some(new)) if same_rows(&old, &new) => refreshed.push(new),
                (Some(old), _) => return Ok(unsupported(job, full_name(&old), finished_ts)),
            }
        }
        for table in created.iter().chain(&refreshed) {
            self.insert(Arc::clone(table));
        }
        Ok(if !created.is_empty() {
            DdlEffect::Created(created)
        } else if refreshed.is_empty() {
            DdlEffect::Nothing
        } else {
            DdlEffect::Refreshed(refreshed)
        })
    }

    fn drop_schema(&mut self, job: &DdlJob, finished_ts: Ts) -> DdlEffect {
        let schema = self.schema_name(job);
        if self.tables.values().any(|table| table.schema == schema) {
            return unsupported(job, schema, finished_ts);
        }
        self.databases.remove(&job.schema_id);
        DdlEffect::Nothing
    }

    /// Columns, ids or names change: that concerns the stream if a table is streamed, or becomes one
    /// that should be.
    fn breaking(&self, job: &DdlJob, finished_ts: Ts, arriving: bool) -> DdlEffect {
        let ids = job.table_infos().flat_map(|info| {
            let partitions = info.partition.iter().flat_map(|partition| &partition.definitions);
            std::iter::once(info.id).chain(partitions.map(|partition| partition.id))
        });
        let streamed = std::iter::once(job.table_id).chain(ids).find_map(|id| {
            self.tables
                .get(&id)
                .or_else(|| self.tables.get(self.physical.get(&id)?))
        });
        if let Some(table) = streamed {
            return unsupported(job, full_name(table), finished_ts);
        }
        let found = arriving.then(|| self.arrival(job)).flatten();
        found.map_or(DdlEffect::Nothing, |table| unsupported(job, table, finished_ts))
    }

    /// A table with rows that comes into the filter: only these jobs give a table a name or bring it back.
    fn arrival(&self, job: &DdlJob) -> Option<String> {
        let mut known = false;
        for info in job.table_infos() {
            known = true;
            let schema = self
                .databases
                .get(&job.schema_id_of(info.id))
                .unwrap_or(&job.schema_name);
            let has_rows = || {
                !matches!(
                    candidate(schema, info),
                    Ok(Candidate::Ineligible(_) | Candidate::NoRows)
                )
            };
            if self.wants(schema, &info.name.original) && has_rows() {
                return Some(format!("{schema}.{}", info.name.original));
            }
        }
        let schema = self.schema_name(job);
        let named = !known && self.wants(&schema, &job.table_name);
        named.then(|| format!("{schema}.{}", job.table_name))
    }

    fn wants(&self, schema: &str, table: &str) -> bool {
        !is_system_schema(schema) && (self.wanted)(schema, table)
    }

    fn schema_name(&self, job: &DdlJob) -> String {
        self.databases
            .get(&job.schema_id)
            .unwrap_or(&job.schema_name)
            .clone()
    }

    fn insert(&mut self, table: Arc<Table>) {
        for id in table.physical_ids() {
            self.physical.insert(id, table.id);
        }
        self.tables.insert(table.id, table);
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

/// A change of several things is as bad as its worst part.
fn several(job: &DdlJob) -> Meaning {
    let parts = job.multi_schema_info.iter().flat_map(|info| &info.sub_jobs);
    let mut meanings = parts.map(|part| part.action.meaning()).peekable();
    let known = meanings.peek().is_some();
    if known && meanings.all(|meaning| matches!(meaning, Meaning::Harmless | Meaning::Nothing)) {
        Meaning::Harmless
    } else {
        Meaning::Breaking
    }
}

fn build(
    schema: &str,
    info: &TableInfo,
    job: &DdlJob,
    finished_ts: Ts,
) -> Result<Option<Arc<Table>>, ApplyError> {
    let problem = |problem| ApplyError::Table {
        action: job.action,
        finished_ts,
        problem,
    };
    Ok(match candidate(schema, info).map_err(problem)? {
        Candidate::Table(table) => Some(table),
        Candidate::Ineligible(_) | Candidate::NoRows => None,
    })
}

/// Whether rows of both definitions lie in the same places and decode alike.
fn same_rows(old: &Table, new: &Table) -> bool {
    let alike = |(old, new): (&crate::Column, &crate::Column)| {
        old.id == new.id
            && old.name == new.name
            && old.ty.tp == new.ty.tp
            && old.ty.decimal == new.ty.decimal
            && old.ty.elems == new.ty.elems
            && old.ty.is_unsigned() == new.ty.is_unsigned()
    };
    old.name == new.name
        && old.layout == new.layout
        && old.partitions == new.partitions
        && old.columns.len() == new.columns.len()
        && old.columns.iter().zip(&new.columns).all(alike)
}

fn full_name(table: &Table) -> String {
    format!("{}.{}", table.schema, table.name)
}

fn unsupported(job: &DdlJob, table: String, finished_ts: Ts) -> DdlEffect {
    DdlEffect::Unsupported(UnsupportedDdl {
        action: job.action,
        table,
        query: job.query.clone(),
        finished_ts,
    })
}
