use serde_json::Value;
use tokio::sync::Mutex;

use super::{Catalog, CatalogError, Database, DdlRecord};
use crate::client::{Ending, Outcome, Stores, Transaction, TransactionKind};
use crate::encode::{meta_field, meta_string};
use crate::schema::{
    Action, DatabaseInfo, HistoryInfo, Job, JobState, MYSQL_DATABASE, STATE_NONE, TableInfo, Underway,
    ddl_job_table, job_key, job_row, schema_diff, table_info,
};

/// The first id that a bootstrap leaves for users.
const FIRST_USER_ID: i64 = 100;

/// One transaction on metadata.
pub(super) struct Draft {
    pub(super) start_ts: u64,
    version: i64,
    version_used: bool,
    last_id: i64,
    ids_used: bool,
    pub(super) writes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Draft {
    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.writes.push((key, Some(value)));
    }

    pub(super) fn allocate(&mut self) -> i64 {
        self.ids_used = true;
        self.last_id += 1;
        self.last_id
    }

    /// Makes a new schema version of the job's change.
    pub(super) fn new_version(&mut self, job: &mut Job, new_table_id: i64) {
        self.version += 1;
        self.version_used = true;
        job.history.schema_version = self.version;
        let diff = schema_diff(self.version, job, new_table_id);
        self.put(meta_string(&format!("Diff:{}", self.version)), diff);
    }

    pub(super) fn put_table(
        &mut self,
        database: &Database,
        info: &TableInfo,
        id: i64,
    ) -> Result<(), CatalogError> {
        self.put(table_key(database.id, id), serde_json::to_vec(info)?);
        Ok(())
    }
}

pub(super) fn table_key(database_id: i64, table_id: i64) -> Vec<u8> {
    meta_field(
        &format!("DB:{database_id}"),
        format!("Table:{table_id}").as_bytes(),
    )
}

pub(super) fn database_key(id: i64) -> Vec<u8> {
    meta_field("DBs", format!("DB:{id}").as_bytes())
}

impl Catalog {
    /// Opens the cluster's schema; an empty cluster gets what TiDB's bootstrap leaves that CDC reads.
    ///
    /// # Errors
    /// If the cluster doesn't answer.
    pub async fn open(stores: Stores) -> Result<Self, CatalogError> {
        let catalog = Self {
            stores,
            records: Mutex::default(),
        };
        let now = catalog.stores.pd().timestamp().await?;
        let version = catalog
            .stores
            .snapshot(now)
            .get(&meta_string("SchemaVersionKey"))
            .await?;
        if version.is_none() {
            catalog.bootstrap().await?;
        }
        Ok(catalog)
    }

    async fn bootstrap(&self) -> Result<(), CatalogError> {
        self.change(|draft| {
            draft.last_id = FIRST_USER_ID;
            draft.ids_used = true;
            draft.version = 1;
            draft.version_used = true;
            let table = ddl_job_table();
            let info = table_info(&table, draft.start_ts, Underway::default());
            draft.put(table_key(MYSQL_DATABASE, table.id), serde_json::to_vec(&info)?);
            for (id, name) in [(MYSQL_DATABASE, "mysql"), (2, "test")] {
                draft.put(
                    database_key(id),
                    serde_json::to_vec(&DatabaseInfo::new(id, name))?,
                );
            }
            draft.put(meta_string("DDLTableVersion"), b"4".to_vec());
            draft.put(meta_string("BootstrapKey"), b"1".to_vec());
            Ok(())
        })
        .await?;
        Ok(())
    }

    pub(super) fn job(
        &self,
        action: Action,
        database: &Database,
        table_id: i64,
        table_name: &str,
        query: String,
        args: Value,
    ) -> Job {
        Job {
            id: 0,
            action,
            schema_id: database.id,
            table_id,
            schema_name: database.name.clone(),
            table_name: table_name.to_owned(),
            state: JobState::Queueing,
            schema_state: STATE_NONE,
            query,
            start_ts: 0,
            args,
            history: HistoryInfo::default(),
        }
    }

    /// Takes a job through its states: queued, running, its stages, history. Boxed, for it holds several jobs.
    pub(super) async fn run(
        &self,
        mut job: Job,
        stages: usize,
        mut stage: impl FnMut(usize, &mut Draft, &mut Job) -> Result<(), CatalogError>,
    ) -> Result<(), CatalogError> {
        let mut records = self.records.lock().await;
        self.change(|draft| {
            job.id = draft.allocate();
            job.start_ts = draft.start_ts;
            draft.put(job_key(&job), job_row(&job)?);
            Ok(())
        })
        .await?;
        job.state = JobState::Running;
        self.change(|draft| {
            draft.put(job_key(&job), job_row(&job)?);
            Ok(())
        })
        .await?;
        let mut finished_ts = 0;
        for index in 0..stages {
            let mut next = job.clone();
            finished_ts = self
                .change(|draft| {
                    next = job.clone();
                    if index + 1 == stages {
                        next.state = JobState::Done;
                        next.history.finished_ts = draft.start_ts;
                    }
                    stage(index, draft, &mut next)?;
                    draft.put(job_key(&next), job_row(&next)?);
                    Ok(())
                })
                .await?;
            job = next;
        }
        let mut synced = job.clone();
        synced.state = JobState::Synced;
        self.change(|draft| {
            draft.writes.push((job_key(&synced), None));
            let history = meta_field("DDLJobHistory", &synced.id.to_be_bytes());
            draft.put(history, synced.encode()?);
            Ok(())
        })
        .await?;
        records.push(DdlRecord {
            job_id: job.id,
            action: job.action,
            schema: job.schema_name,
            table: job.table_name,
            query: job.query,
            schema_version: job.history.schema_version,
            finished_ts,
        });
        Ok(())
    }

    /// Runs one metadata transaction, again on a conflict; gives its commit ts.
    pub(super) async fn change(
        &self,
        mut fill: impl FnMut(&mut Draft) -> Result<(), CatalogError>,
    ) -> Result<u64, CatalogError> {
        let mut last = String::new();
        for _ in 0..50 {
            let mut txn = Transaction::begin(&self.stores, TransactionKind::default()).await?;
            let mut draft = Draft {
                start_ts: txn.start_ts(),
                version: self.number(txn.start_ts(), "SchemaVersionKey").await?,
                version_used: false,
                last_id: self.number(txn.start_ts(), "NextGlobalID").await?,
                ids_used: false,
                writes: Vec::new(),
            };
            fill(&mut draft)?;
            if draft.version_used {
                draft.put(
                    meta_string("SchemaVersionKey"),
                    draft.version.to_string().into_bytes(),
                );
            }
            if draft.ids_used {
                draft.put(
                    meta_string("NextGlobalID"),
                    draft.last_id.to_string().into_bytes(),
                );
            }
            for (key, value) in draft.writes {
                match value {
                    Some(value) => txn.put(key, value),
                    None => txn.delete(key),
                }
            }
            match Box::pin(txn.finish(Ending::Commit)).await? {
                Outcome::Committed(commit_ts) => return Ok(commit_ts),
                Outcome::RolledBack(reason) => last = reason,
            }
        }
        Err(CatalogError::Contended(last))
    }

    async fn number(&self, ts: u64, name: &'static str) -> Result<i64, CatalogError> {
        let Some(value) = self.stores.snapshot(ts).get(&meta_string(name)).await? else {
            return Ok(0);
        };
        let value = String::from_utf8_lossy(&value).into_owned();
        value
            .parse()
            .map_err(|_| CatalogError::NotANumber { name, value })
    }
}
