//! DDL jobs as TiDB keeps them in `mysql.tidb_ddl_job`.

use serde::Deserialize;

use super::ActionType;
use super::info::{DbInfo, TableInfo, or_default};

/// How far a job has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct JobState(pub u8);

impl JobState {
    /// Finished with success; the schema has changed.
    pub const DONE: Self = Self(4);
}

/// A DDL job.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct DdlJob {
    /// The id.
    pub id: i64,
    /// What kind of DDL it is.
    #[serde(rename = "type")]
    pub action: ActionType,
    /// The database's id.
    pub schema_id: i64,
    /// The table's id.
    pub table_id: i64,
    /// The database's name.
    #[serde(deserialize_with = "or_default")]
    pub schema_name: String,
    /// The table's name; old versions leave it out.
    #[serde(deserialize_with = "or_default")]
    pub table_name: String,
    /// How far it has come.
    pub state: JobState,
    /// The statement.
    #[serde(deserialize_with = "or_default")]
    pub query: String,
    /// What the DDL made of the schema.
    #[serde(deserialize_with = "or_default")]
    pub binlog: Binlog,
    /// The parts of a statement that changes several things.
    pub multi_schema_info: Option<MultiSchemaInfo>,
    /// When the job was queued.
    pub start_ts: u64,
    /// Arguments; their shape depends on the action and on TiDB's version.
    pub raw_args: serde_json::Value,
}

/// The schema after a DDL.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Binlog {
    /// The schema version that the DDL made; zero if it changed nothing.
    pub schema_version: i64,
    /// The database, where the DDL was about one.
    #[serde(rename = "DBInfo")]
    pub db_info: Option<DbInfo>,
    /// The table, where the DDL was about one.
    pub table_info: Option<TableInfo>,
    /// The tables, where the DDL was about several.
    #[serde(deserialize_with = "or_default")]
    pub multiple_table_infos: Vec<TableInfo>,
}

/// The parts of a statement that changes several things.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct MultiSchemaInfo {
    /// The parts.
    #[serde(deserialize_with = "or_default")]
    pub sub_jobs: Vec<SubJob>,
}

/// One part of a statement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SubJob {
    /// What kind of DDL it is.
    #[serde(rename = "type")]
    pub action: ActionType,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Progress {
    state: JobState,
}

impl DdlJob {
    /// Reads the JSON of `tidb_ddl_job.job_meta`.
    ///
    /// # Errors
    /// If the JSON is malformed.
    pub fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// Reads the job if it is done; jobs under way are only looked through, for their state.
    ///
    /// # Errors
    /// If the JSON is malformed.
    pub fn parse_done(json: &[u8]) -> Result<Option<Self>, serde_json::Error> {
        let progress: Progress = serde_json::from_slice(json)?;
        if progress.state != JobState::DONE {
            return Ok(None);
        }
        Self::parse(json).map(Some)
    }

    /// The id of the database that the table is in after a job that moves several tables; else the
    /// job's own database. The arguments are a list of lists before TiDB 8.4 and an object since.
    pub(crate) fn schema_id_of(&self, table: i64) -> i64 {
        let args = &self.raw_args;
        let renamed = args.get("rename_table_infos").and_then(|infos| {
            let infos = infos.as_array()?.iter();
            let mut moved =
                infos.filter(|info| info.get("table_id").and_then(|id| id.as_i64()) == Some(table));
            moved.next_back()?.get("new_schema_id")?.as_i64()
        });
        let listed = || {
            let (schemas, tables) = (args.get(1)?.as_array()?, args.get(3)?.as_array()?);
            let mut pairs = schemas.iter().zip(tables);
            let moved = pairs.rfind(|(_, id)| id.as_i64() == Some(table))?;
            moved.0.as_i64()
        };
        renamed.or_else(listed).unwrap_or(self.schema_id)
    }

    /// The tables that the job leaves behind.
    pub(crate) fn table_infos(&self) -> impl Iterator<Item = &TableInfo> {
        // Jobs about several tables may repeat one of them in the single field.
        let single = self
            .binlog
            .table_info
            .as_ref()
            .filter(|_| self.binlog.multiple_table_infos.is_empty());
        single.into_iter().chain(&self.binlog.multiple_table_infos)
    }
}
