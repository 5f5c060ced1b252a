//! TiDB's own tables, as far as CDC reads them.

use super::column::{ColumnKind, IntWidth, LobSize};
use super::job::{Job, JobState};
use super::table::{ColumnSpec, PrimaryKey, TableSpec};
use crate::encode::{Collation, Datum, RowFormat, encode_row, int_handle, record_key};

/// The id of database `mysql`.
pub const MYSQL_DATABASE: i64 = 1;
/// The id of `mysql.tidb_ddl_job`: one below TiDB's upper bound of 48 bits.
pub const DDL_JOB_TABLE: i64 = 281_474_976_710_654;

/// `mysql.tidb_ddl_job`.
pub fn ddl_job_table() -> TableSpec {
    let int = || ColumnKind::Int {
        width: IntWidth::Int,
        unsigned: false,
    };
    let text = || ColumnKind::Text(LobSize::Medium, Collation::Utf8mb4Bin);
    let columns = vec![
        ColumnSpec::new("job_id", ColumnKind::bigint()),
        ColumnSpec::new("reorg", int()),
        ColumnSpec::new("schema_ids", text()),
        ColumnSpec::new("table_ids", text()),
        ColumnSpec::new("job_meta", ColumnKind::Blob(LobSize::Long)),
        ColumnSpec::new("type", int()),
        ColumnSpec::new("processing", int()),
    ];
    let mut table = TableSpec::new("tidb_ddl_job", columns).with_key(PrimaryKey::IntHandle(0));
    table.id = DDL_JOB_TABLE;
    table
}

/// Key of a job's row.
pub fn job_key(job: &Job) -> Vec<u8> {
    record_key(DDL_JOB_TABLE, &int_handle(job.id))
}

/// Value of a job's row.
///
/// # Errors
/// Only those of the JSON writer.
pub fn job_row(job: &Job) -> serde_json::Result<Vec<u8>> {
    let reorg = Datum::Int(i64::from(job.action == super::job::Action::AddIndex));
    let schema = Datum::Text(job.schema_id.to_string());
    let table = Datum::Text(job.table_id.to_string());
    let meta = Datum::Bytes(job.encode()?);
    let action = Datum::Int(job.action as i64);
    let processing = Datum::Int(i64::from(job.state != JobState::Queueing));
    let columns = [
        (2, &reorg),
        (3, &schema),
        (4, &table),
        (5, &meta),
        (6, &action),
        (7, &processing),
    ];
    Ok(encode_row(RowFormat::V2, &columns, &[], &[]))
}
