use anyhow::{Result, ensure};
use serde_json::json;
use tidemark_harness::eventually;

use super::super::line::PATIENCE;
use super::super::open::{LATE_TABLE, ORDERS_TABLES};
use super::super::stage::Stage;

const STEP: &str = "tables";
/// Rows of the one transaction that is to be seen.
pub(crate) const LATE_ROWS: usize = 50;

/// A table is added to a running feed and left out again: its changes in between arrive, those before and after don't, and
/// the others flow.
pub(super) async fn run(stage: &Stage) -> Result<()> {
    let (site, line) = (&stage.site, &stage.orders);
    let before = write(stage).await?;
    // A feed begins with a new table at its checkpoint.
    eventually(PATIENCE, "checkpoint past the first rows", || async {
        let checkpoint = line.feed.checkpoint(site).await?;
        ensure!(checkpoint > before, "{checkpoint}");
        Ok(())
    })
    .await?;
    stage.calm().await;
    let moment = stage.now();
    let tables = json!(["shop.*", "crm.*"]);
    line.feed.patch(site, json!({"tables": tables})).await?;
    line.settle(site).await?;
    stage.bump(STEP, line, moment, &format!("{LATE_TABLE} added"), None);

    let seen = write(stage).await?;
    line.watch.reached(seen, PATIENCE).await?;
    line.settle(site).await?;
    stage.calm().await;
    let moment = stage.now();
    line.watch.progress().leave_out(&format!("orders.{LATE_TABLE}/"));
    line.feed.patch(site, json!({"tables": ORDERS_TABLES})).await?;
    line.settle(site).await?;
    stage.bump(STEP, line, moment, &format!("{LATE_TABLE} left out"), None);
    let after = write(stage).await?;
    line.watch.reached(after, PATIENCE).await?;
    stage.late.lock().replace(seen);
    Ok(())
}

async fn write(stage: &Stage) -> Result<u64> {
    Ok(stage.workload.large_transaction(LATE_ROWS, 20_000).await?)
}
