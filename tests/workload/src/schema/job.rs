//! TiDB's DDL jobs and the metadata that they change.

use serde::Serialize;
use serde_json::{Value, json};

use super::info::{DatabaseInfo, TableInfo};

/// `ActionType` of a DDL job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Action {
    /// CREATE DATABASE.
    CreateSchema = 1,
    /// DROP DATABASE.
    DropSchema = 2,
    /// CREATE TABLE.
    CreateTable = 3,
    /// DROP TABLE.
    DropTable = 4,
    /// ALTER TABLE … ADD COLUMN.
    AddColumn = 5,
    /// ALTER TABLE … ADD INDEX.
    AddIndex = 7,
    /// TRUNCATE TABLE.
    TruncateTable = 11,
    /// RENAME TABLE.
    RenameTable = 14,
    /// Several CREATE TABLEs in one job.
    CreateTables = 60,
}

/// `JobState` of a DDL job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum JobState {
    /// At work.
    Running = 1,
    /// Took effect.
    Done = 4,
    /// Finished and known everywhere.
    Synced = 6,
    /// Waits for a worker.
    Queueing = 8,
}

/// What a finished job records of the schema it made.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HistoryInfo {
    /// The schema version that the job made.
    pub schema_version: i64,
    /// The database, for database jobs.
    #[serde(rename = "DBInfo")]
    pub database: Option<DatabaseInfo>,
    /// The table after the job.
    #[serde(rename = "TableInfo")]
    pub table: Option<Box<TableInfo>>,
    /// The start ts of the transaction that finished the job.
    #[serde(rename = "FinishedTS")]
    pub finished_ts: u64,
    /// The tables of a job that makes several.
    #[serde(rename = "MultipleTableInfos")]
    pub tables: Option<Vec<TableInfo>>,
}

/// A DDL job.
#[derive(Clone, Debug)]
pub struct Job {
    /// Job id; also the handle of its row in `mysql.tidb_ddl_job`.
    pub id: i64,
    /// What it does.
    pub action: Action,
    /// The database.
    pub schema_id: i64,
    /// The table; the old one for TRUNCATE, 0 for databases.
    pub table_id: i64,
    /// The database's name.
    pub schema_name: String,
    /// The table's name.
    pub table_name: String,
    /// Where it stands.
    pub state: JobState,
    /// Where its object stands.
    pub schema_state: u8,
    /// The statement.
    pub query: String,
    /// When it was asked for.
    pub start_ts: u64,
    /// Its arguments in form 1: an array.
    pub args: Value,
    /// What it made.
    pub history: HistoryInfo,
}

impl Job {
    /// The job as TiDB stores it in `job_meta`.
    ///
    /// # Errors
    /// Only those of the JSON writer.
    pub fn encode(&self) -> serde_json::Result<Vec<u8>> {
        #[derive(Serialize)]
        struct Stored<'a> {
            id: i64,
            #[serde(rename = "type")]
            action: u8,
            schema_id: i64,
            table_id: i64,
            schema_name: &'a str,
            table_name: &'a str,
            state: u8,
            warning: Option<()>,
            err: Option<()>,
            err_count: i64,
            row_count: i64,
            raw_args: &'a Value,
            schema_state: u8,
            snapshot_ver: u64,
            real_start_ts: u64,
            start_ts: u64,
            dependency_id: i64,
            query: &'a str,
            binlog: &'a HistoryInfo,
            version: u8,
            reorg_meta: Option<()>,
            multi_schema_info: Option<()>,
            priority: u8,
            seq_num: u64,
            charset: &'static str,
            collate: &'static str,
            admin_operator: u8,
            bdr_role: &'static str,
            cdc_write_source: u64,
            local_mode: bool,
            sql_mode: u64,
        }
        serde_json::to_vec(&Stored {
            id: self.id,
            action: self.action as u8,
            schema_id: self.schema_id,
            table_id: self.table_id,
            schema_name: &self.schema_name,
            table_name: &self.table_name,
            state: self.state as u8,
            warning: None,
            err: None,
            err_count: 0,
            row_count: 0,
            raw_args: &self.args,
            schema_state: self.schema_state,
            snapshot_ver: 0,
            real_start_ts: if self.state == JobState::Queueing {
                0
            } else {
                self.start_ts
            },
            start_ts: self.start_ts,
            dependency_id: 0,
            query: &self.query,
            binlog: &self.history,
            version: 1,
            reorg_meta: None,
            multi_schema_info: None,
            priority: 0,
            seq_num: if matches!(self.state, JobState::Done | JobState::Synced) {
                1
            } else {
                0
            },
            charset: "utf8mb4",
            collate: "utf8mb4_bin",
            admin_operator: 0,
            bdr_role: "none",
            cdc_write_source: 0,
            local_mode: false,
            sql_mode: 1_436_549_152,
        })
    }
}

/// The `SchemaDiff` of a schema version.
pub fn schema_diff(version: i64, job: &Job, new_table_id: i64) -> Vec<u8> {
    let (table_id, old_table_id) = if new_table_id == 0 {
        (job.table_id, 0)
    } else {
        (new_table_id, job.table_id)
    };
    json!({
        "version": version,
        "type": job.action as u8,
        "schema_id": job.schema_id,
        "table_id": table_id,
        "old_table_id": old_table_id,
        "old_schema_id": 0,
        "regenerate_schema_map": false,
        "affected_options": null,
    })
    .to_string()
    .into_bytes()
}
