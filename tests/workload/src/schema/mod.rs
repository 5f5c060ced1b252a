//! Databases, tables and DDL jobs as TiDB keeps them in its metadata.

mod column;
mod info;
mod job;
mod system;
mod table;

pub use column::{ColumnKind, FieldShape, IntWidth, LobSize};
pub use info::{DatabaseInfo, STATE_NONE, STATE_PUBLIC, TableInfo, Underway, table_info};
pub use job::{Action, HistoryInfo, Job, JobState, schema_diff};
pub use system::{DDL_JOB_TABLE, MYSQL_DATABASE, ddl_job_table, job_key, job_row};
pub use table::{ColumnSpec, Generated, IndexSpec, Partitioning, PrimaryKey, TableSpec};
