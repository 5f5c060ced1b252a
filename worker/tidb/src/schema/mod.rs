//! The schema: TiDB's metadata as stored, the tables at a timestamp, and the DDL jobs that change them.

mod action;
mod apply;
mod build;
mod change;
mod follow;
mod info;
mod job;
mod job_table;
mod snapshot;

#[cfg(test)]
mod tests;

pub use action::ActionType;
pub use apply::{ApplyError, DdlEffect, Schema, UnsupportedDdl, Wanted};
pub use build::TableError;
pub use change::{Ddl, TableChange};
pub use info::{
    CiName, ColumnInfo, DbInfo, FieldType, IndexColumn, IndexInfo, PartitionDefinition, PartitionInfo,
    TableInfo,
};
pub use job::{Binlog, DdlJob, JobState, MultiSchemaInfo, SubJob};
pub use job_table::{DDL_JOB_TABLE_ID, DdlJobTable, JobTableError};
pub use snapshot::{
    Ineligible, IneligibleReason, Snapshot, SnapshotBuilder, SnapshotError, is_system_schema,
};
