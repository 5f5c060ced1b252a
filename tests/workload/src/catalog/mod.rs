//! Runs DDL as TiDB does: a job row that goes through its states, metadata changed in the transaction
//! that marks the job done, then the history.

mod jobs;
mod statements;

use thiserror::Error;
use tokio::sync::Mutex;

use crate::client::{ClientError, Stores};
use crate::schema::Action;

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

impl Catalog {
    /// Every DDL that has run, in order.
    pub async fn records(&self) -> Vec<DdlRecord> {
        self.records.lock().await.clone()
    }
}
