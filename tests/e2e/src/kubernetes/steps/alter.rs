use std::time::Duration;

use anyhow::Result;
use tidemark_workload::Ddl;
use tidemark_workload::schema::{ColumnKind, ColumnSpec};

use super::super::line::PATIENCE;
use super::super::stage::Stage;

const STEP: &str = "alter";
/// Of a ts, below its milliseconds.
const LOGICAL_BITS: u32 = 18;
/// Tables of all kinds are in both databases.
const TABLES: [&str; 3] = ["mixed_int_key", "mixed_hash_parts", "mixed_common_key"];

/// Tables of both feeds change while rows are written.
pub(super) async fn run(stage: &Stage) -> Result<()> {
    stage.calm().await;
    let moment = stage.now();
    let (mut last, mut count) = (0, 0);
    for schema in ["shop", "crm"] {
        for table in TABLES {
            let column = ColumnSpec::new("later", ColumnKind::bigint());
            let index = Ddl::AddIndex("by_second".into(), vec![1]);
            for ddl in [Ddl::AddColumn(column), index, Ddl::Truncate] {
                last = stage.workload.ddl(schema, table, ddl).await?;
                count += 1;
            }
        }
    }
    for line in stage.lines() {
        let reached = line.watch.reached(last, PATIENCE).await?;
        let what = format!("{}: watermark past the last of {count} DDLs after", line.name());
        let took = Duration::from_millis(reached.saturating_sub(last >> LOGICAL_BITS));
        stage.time(STEP, &what, took, None);
    }
    stage.calm().await;
    for line in stage.lines() {
        let what = format!("over {count} DDLs");
        stage.bump(STEP, line, moment, &what, None);
    }
    Ok(())
}
