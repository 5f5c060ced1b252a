//! Runs DDL as TiDB does: a job row that goes through its states, metadata changed in the transaction
//! that marks the job done, then the history.

use serde_json::{Value, json};
use thiserror::Error;
use tokio::sync::Mutex;

use crate::client::{ClientError, Ending, Outcome, Stores, Transaction, TransactionKind};
use crate::encode::{meta_field, meta_string};
use crate::schema::{
    Action, ColumnSpec, DatabaseInfo, HistoryInfo, Job, JobState, MYSQL_DATABASE, Partitioning, STATE_NONE,
    STATE_PUBLIC, TableInfo, TableSpec, Underway, ddl_job_table, job_key, job_row, schema_diff, table_info,
};

/// The first id that a bootstrap leaves for users.
const FIRST_USER_ID: i64 = 100;

/// Why a DDL failed.
#[derive(Debug, Error)]
pub enum CatalogError {
    /// The cluster didn't take a transaction.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Metadata can't be written as JSON.
    #[error("schema can't be written as JSON")]
    Json(#[from] serde_json::Error),
    /// Stored metadata isn't what TiDB writes.
    #[error("metadata {name} holds {value:?}, not a number; is this cluster TiDB's?")]
    NotANumber {
        /// The metadata key's name.
        name: &'static str,
        /// What it holds.
        value: String,
    },
    /// A name is taken.
    #[error("database {0:?} exists already; choose another name")]
    Exists(String),
    /// A transaction on metadata met conflicts again and again.
    #[error("a metadata transaction is refused again and again: {0}")]
    Contended(String),
}

/// A database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// TiDB's id.
    pub id: i64,
    /// The name.
    pub name: String,
}

/// A DDL that has run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DdlRecord {
    /// The job's id.
    pub job_id: i64,
    /// What it did.
    pub action: Action,
    /// The database.
    pub schema: String,
    /// The table; empty for databases.
    pub table: String,
    /// The statement.
    pub query: String,
    /// The schema version that it made.
    pub schema_version: i64,
    /// Commit ts of the transaction that marked the job done.
    pub finished_ts: u64,
}

/// Changes schemas, one DDL at a time.
pub struct Catalog {
    stores: Stores,
    /// Finished DDLs in order; locked while one runs.
    records: Mutex<Vec<DdlRecord>>,
}

/// One transaction on metadata.
struct Draft {
    start_ts: u64,
    version: i64,
    version_used: bool,
    last_id: i64,
    ids_used: bool,
    writes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Draft {
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.writes.push((key, Some(value)));
    }

    fn allocate(&mut self) -> i64 {
        self.ids_used = true;
        self.last_id += 1;
        self.last_id
    }

    /// Makes a new schema version of the job's change.
    fn new_version(&mut self, job: &mut Job, new_table_id: i64) {
        self.version += 1;
        self.version_used = true;
        job.history.schema_version = self.version;
        let diff = schema_diff(self.version, job, new_table_id);
        self.put(meta_string(&format!("Diff:{}", self.version)), diff);
    }

    fn put_table(&mut self, database: &Database, info: &TableInfo, id: i64) -> Result<(), CatalogError> {
        self.put(table_key(database.id, id), serde_json::to_vec(info)?);
        Ok(())
    }
}

fn table_key(database_id: i64, table_id: i64) -> Vec<u8> {
    meta_field(
        &format!("DB:{database_id}"),
        format!("Table:{table_id}").as_bytes(),
    )
}

fn database_key(id: i64) -> Vec<u8> {
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

    /// Every DDL that has run, in order.
    pub async fn records(&self) -> Vec<DdlRecord> {
        self.records.lock().await.clone()
    }

    /// CREATE DATABASE.
    ///
    /// # Errors
    /// If the name is taken or the cluster doesn't answer.
    pub async fn create_database(&self, name: &str) -> Result<Database, CatalogError> {
        let now = self.stores.pd().timestamp().await?;
        let start = crate::encode::meta_hash("DBs");
        let mut end = start.clone();
        end.push(0xff);
        let label = format!("\"L\":\"{}\"", name.to_lowercase());
        let taken = self.stores.snapshot(now).scan(&start, &end).await?;
        if taken
            .iter()
            .any(|(_, info)| String::from_utf8_lossy(info).contains(&label))
        {
            return Err(CatalogError::Exists(name.to_owned()));
        }
        let mut database = Database {
            id: self.allocate(1).await?[0],
            name: name.to_owned(),
        };
        let query = format!("CREATE DATABASE `{name}`");
        let job = self.job(Action::CreateSchema, &database, 0, "", query, Value::Null);
        self.run(job, 1, |_, draft, job| {
            let info = DatabaseInfo::new(database.id, name);
            draft.put(database_key(database.id), serde_json::to_vec(&info)?);
            job.history.database = Some(info);
            job.schema_state = STATE_PUBLIC;
            draft.new_version(job, 0);
            Ok(())
        })
        .await?;
        database.name = name.to_owned();
        Ok(database)
    }

    /// CREATE TABLE; gives the table its ids.
    ///
    /// # Errors
    /// If the cluster doesn't answer.
    pub async fn create_table(
        &self,
        database: &Database,
        table: TableSpec,
    ) -> Result<TableSpec, CatalogError> {
        let table = self.with_ids(table).await?;
        let job = self.job(
            Action::CreateTable,
            database,
            table.id,
            &table.name,
            table.sql(),
            Value::Null,
        );
        self.run(job, 1, |_, draft, job| {
            let info = table_info(&table, draft.start_ts, Underway::default());
            draft.put_table(database, &info, table.id)?;
            job.args = json!([info.clone(), false]);
            job.history.table = Some(info);
            job.schema_state = STATE_PUBLIC;
            draft.new_version(job, 0);
            Ok(())
        })
        .await?;
        Ok(table)
    }

    /// Several CREATE TABLEs in one job, as TiDB's bulk loaders ask for.
    ///
    /// # Errors
    /// If the cluster doesn't answer.
    pub async fn create_tables(
        &self,
        database: &Database,
        tables: Vec<TableSpec>,
    ) -> Result<Vec<TableSpec>, CatalogError> {
        let mut made = Vec::with_capacity(tables.len());
        for table in tables {
            made.push(self.with_ids(table).await?);
        }
        let statements: Vec<String> = made.iter().map(TableSpec::sql).collect();
        let first = made.first().map_or(0, |table| table.id);
        let job = self.job(
            Action::CreateTables,
            database,
            first,
            "",
            statements.join(";"),
            Value::Null,
        );
        self.run(job, 1, |_, draft, job| {
            let mut infos = Vec::with_capacity(made.len());
            for table in &made {
                let info = table_info(table, draft.start_ts, Underway::default());
                draft.put_table(database, &info, table.id)?;
                infos.push(info);
            }
            job.args = json!([infos.clone(), false]);
            job.history.tables = Some(infos);
            job.schema_state = STATE_PUBLIC;
            draft.new_version(job, 0);
            Ok(())
        })
        .await?;
        Ok(made)
    }

    /// ALTER TABLE … ADD COLUMN, through its four states.
    ///
    /// # Errors
    /// If the cluster doesn't answer.
    pub async fn add_column(
        &self,
        database: &Database,
        table: &TableSpec,
        column: ColumnSpec,
    ) -> Result<TableSpec, CatalogError> {
        let mut after = table.clone();
        let id = after.columns.iter().map(|column| column.id).max().unwrap_or(0) + 1;
        let query = format!(
            "ALTER TABLE `{}` ADD COLUMN `{}` {}",
            table.name,
            column.name,
            column.kind.sql()
        );
        after.columns.push(ColumnSpec { id, ..column });
        let states = [1, 2, 3, STATE_PUBLIC];
        let job = self.job(
            Action::AddColumn,
            database,
            table.id,
            &table.name,
            query,
            json!([]),
        );
        self.run(job, states.len(), |stage, draft, job| {
            let underway = Underway {
                column: Some(states[stage]),
                ..Underway::default()
            };
            self.alter(draft, job, database, &after, underway, states[stage])
        })
        .await?;
        Ok(after)
    }

    /// ALTER TABLE … ADD INDEX, through its four states. Entries of old rows are not written.
    ///
    /// # Errors
    /// If the cluster doesn't answer.
    pub async fn add_index(
        &self,
        database: &Database,
        table: &TableSpec,
        name: &str,
        columns: &[usize],
    ) -> Result<TableSpec, CatalogError> {
        let after = table.clone().with_index(name, columns, false);
        let names: Vec<&str> = columns
            .iter()
            .map(|offset| table.columns[*offset].name.as_str())
            .collect();
        let query = format!(
            "ALTER TABLE `{}` ADD INDEX `{name}` (`{}`)",
            table.name,
            names.join("`,`")
        );
        let states = [1, 2, 3, STATE_PUBLIC];
        let job = self.job(
            Action::AddIndex,
            database,
            table.id,
            &table.name,
            query,
            json!([]),
        );
        self.run(job, states.len(), |stage, draft, job| {
            let underway = Underway {
                index: Some(states[stage]),
                ..Underway::default()
            };
            self.alter(draft, job, database, &after, underway, states[stage])
        })
        .await?;
        Ok(after)
    }

    fn alter(
        &self,
        draft: &mut Draft,
        job: &mut Job,
        database: &Database,
        after: &TableSpec,
        underway: Underway,
        state: u8,
    ) -> Result<(), CatalogError> {
        let info = table_info(after, draft.start_ts, underway);
        draft.put_table(database, &info, after.id)?;
        job.schema_state = state;
        draft.new_version(job, 0);
        if job.state == JobState::Done {
            job.history.table = Some(info);
        }
        Ok(())
    }

    /// RENAME TABLE within a database.
    ///
    /// # Errors
    /// If the cluster doesn't answer.
    pub async fn rename_table(
        &self,
        database: &Database,
        table: &TableSpec,
        name: &str,
    ) -> Result<TableSpec, CatalogError> {
        let mut after = table.clone();
        after.name = name.to_owned();
        let query = format!("RENAME TABLE `{}` TO `{name}`", table.name);
        let args = json!([database.id, {"O": name, "L": name.to_lowercase()}, {"O": database.name, "L": database.name.to_lowercase()}]);
        let job = self.job(Action::RenameTable, database, table.id, &table.name, query, args);
        self.run(job, 1, |_, draft, job| {
            self.alter(draft, job, database, &after, Underway::default(), STATE_PUBLIC)
        })
        .await?;
        Ok(after)
    }

    /// TRUNCATE TABLE: the table comes back empty under new ids.
    ///
    /// # Errors
    /// If the cluster doesn't answer.
    pub async fn truncate_table(
        &self,
        database: &Database,
        table: &TableSpec,
    ) -> Result<TableSpec, CatalogError> {
        let after = self.with_ids(table.clone()).await?;
        let query = format!("TRUNCATE TABLE `{}`", table.name);
        let args = json!([after.id, false, after.physical_ids(), 0]);
        let job = self.job(
            Action::TruncateTable,
            database,
            table.id,
            &table.name,
            query,
            args,
        );
        self.run(job, 1, |_, draft, job| {
            draft.writes.push((table_key(database.id, table.id), None));
            let info = table_info(&after, draft.start_ts, Underway::default());
            draft.put_table(database, &info, after.id)?;
            job.history.table = Some(info);
            job.schema_state = STATE_PUBLIC;
            draft.new_version(job, after.id);
            Ok(())
        })
        .await?;
        Ok(after)
    }

    /// DROP TABLE, through its three states.
    ///
    /// # Errors
    /// If the cluster doesn't answer.
    pub async fn drop_table(&self, database: &Database, table: &TableSpec) -> Result<(), CatalogError> {
        let query = format!("DROP TABLE `{}`", table.name);
        let states = [2, 1, STATE_NONE];
        let job = self.job(
            Action::DropTable,
            database,
            table.id,
            &table.name,
            query,
            json!([]),
        );
        self.run(job, states.len(), |stage, draft, job| {
            let underway = Underway {
                table: Some(states[stage]),
                ..Underway::default()
            };
            self.alter(draft, job, database, table, underway, states[stage])?;
            if job.state == JobState::Done {
                draft.writes.push((table_key(database.id, table.id), None));
            }
            Ok(())
        })
        .await
    }

    async fn with_ids(&self, mut table: TableSpec) -> Result<TableSpec, CatalogError> {
        let partitions = match &table.partitioning {
            Partitioning::None => 0,
            Partitioning::Hash { ids, .. } => ids.len(),
            Partitioning::Range { bounds, .. } => bounds.len(),
        };
        let mut fresh = self.allocate(partitions + 1).await?.into_iter();
        table.id = fresh.next().unwrap_or_default();
        match &mut table.partitioning {
            Partitioning::None => {}
            Partitioning::Hash { ids, .. } => ids.iter_mut().zip(fresh).for_each(|(id, new)| *id = new),
            Partitioning::Range { bounds, .. } => bounds
                .iter_mut()
                .zip(fresh)
                .for_each(|(bound, new)| bound.0 = new),
        }
        Ok(table)
    }

    async fn allocate(&self, count: usize) -> Result<Vec<i64>, CatalogError> {
        let mut ids = Vec::new();
        self.change(|draft| {
            ids = (0..count).map(|_| draft.allocate()).collect();
            Ok(())
        })
        .await?;
        Ok(ids)
    }

    fn job(
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
    async fn run(
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
    async fn change(
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
