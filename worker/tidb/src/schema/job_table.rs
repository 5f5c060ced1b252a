use thiserror::Error;
use tidemark_model::{KvChange, Op, Span};

use crate::{DecodeError, RowKey, Table, Value, record_span};

use super::{DdlJob, TableError, TableInfo};

/// The largest id that TiDB reserves for its own tables.
const MAX_RESERVED_ID: i64 = 0xffff_ffff_ffff;
/// The id of `mysql.tidb_ddl_job` in every cluster since TiDB 6.2.
pub const DDL_JOB_TABLE_ID: i64 = MAX_RESERVED_ID - 1;
/// The column with the job's JSON.
const JOB_COLUMN: &str = "job_meta";

/// The table `mysql.tidb_ddl_job`, whose rows tell of DDL.
#[derive(Clone, Debug, PartialEq)]
pub struct DdlJobTable {
    table: Table,
    job_column: usize,
}

/// Why a change of the job table tells nothing.
#[derive(Debug, Error)]
pub enum JobTableError {
    /// Its definition can't be read.
    #[error("mysql.tidb_ddl_job can't be read")]
    Table(#[source] TableError),
    /// Its definition lacks the job's column.
    #[error("mysql.tidb_ddl_job has no column `job_meta`; TiDB 6.2 or later is needed")]
    NoJobColumn,
    /// A row can't be decoded.
    #[error("a row of mysql.tidb_ddl_job can't be decoded")]
    Row(#[source] DecodeError),
    /// A row's job is no JSON of a job.
    #[error("a job in mysql.tidb_ddl_job is malformed JSON")]
    Job(#[source] serde_json::Error),
}

impl DdlJobTable {
    /// From the table's definition as it stands in the cluster; column ids differ between versions.
    ///
    /// # Errors
    /// If the definition has no readable `job_meta`.
    pub fn from_info(info: &TableInfo) -> Result<Self, JobTableError> {
        let table = Table::from_info("mysql", info).map_err(JobTableError::Table)?;
        let job_column = table.columns.iter().position(|column| column.name == JOB_COLUMN);
        let job_column = job_column.ok_or(JobTableError::NoJobColumn)?;
        Ok(Self { table, job_column })
    }

    /// The keys of its rows.
    pub fn span(&self) -> Span {
        record_span(self.table.id)
    }

    /// The table itself.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The job that the change shows to be done; `None` for deletes and for jobs in other states.
    /// The change's commit ts is when the DDL took effect.
    ///
    /// # Errors
    /// If the row or its JSON can't be read.
    pub fn done_job(&self, change: &KvChange) -> Result<Option<DdlJob>, JobTableError> {
        if change.op == Op::Delete {
            return Ok(None);
        }
        let key = RowKey::new(&change.key);
        let values = self
            .table
            .decode(&key, &change.value)
            .map_err(JobTableError::Row)?;
        match values.get(self.job_column) {
            Some(Value::Bytes(json)) => DdlJob::parse_done(json).map_err(JobTableError::Job),
            _ => Ok(None),
        }
    }
}
