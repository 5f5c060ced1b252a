//! What a run writes, and what its stream promises.

use anyhow::{Context, Result, ensure};
use std::time::Duration;
use tidemark_judge::{Bank, Judge, ReplayUnit, Settings};
use tidemark_workload::{RunningWorkload, TransactionMix, Workload, WorkloadConfig};

use crate::{Destination, Fleet};

/// The workload of a run: all kinds of tables and transactions, in two databases.
pub fn workload_config(seed: u64, rows_per_second: Option<u64>) -> WorkloadConfig {
    WorkloadConfig {
        seed,
        databases: vec!["shop".into(), "crm".into()],
        rows_per_second,
        mix: TransactionMix {
            abandoned: 3,
            abandoned_ttl: Duration::from_millis(800),
            ..TransactionMix::default()
        },
        ..WorkloadConfig::default()
    }
}

/// Where a stream begins that is to hold the first rows too: the tables are there and empty at this ts.
pub async fn beginning(workload: &Workload) -> Result<u64> {
    let ddls = workload.ddls().await;
    let last = ddls.iter().map(|ddl| ddl.finished_ts).max();
    last.context("no tables")
}

/// What a stream of these tables promises that begins at `start` and has to reach `last`. From `filled` on the bank's sums
/// hold.
pub fn settings(
    workload: &Workload,
    wanted: impl Fn(&str, &str) -> bool,
    start: u64,
    filled: u64,
    last: u64,
) -> Settings {
    let mut settings = Settings {
        start_ts: start,
        must_reach: Some(last),
        // Partitioned tables have several spans, whose replays interleave.
        replay_unit: ReplayUnit::Key,
        ..Settings::default()
    };
    for table in workload.tables() {
        if !wanted(&table.schema, &table.name) {
            continue;
        }
        settings.keys.insert(
            (table.schema.clone(), table.name.clone()),
            table.key_columns.clone(),
        );
        if let Some(sum) = table.expected_sum {
            settings.banks.push(Bank {
                schema: table.schema,
                table: table.name,
                column: "balance".into(),
                sum: sum.into(),
                from_ts: filled,
            });
        }
    }
    settings
}

/// Ends the writing, reads all that was written, drains the first so many workers, and fails unless the judge finds all that the
/// feed promised from `start` on.
pub async fn end_judged(
    fleet: &mut Fleet,
    workers: usize,
    (workload, running): (&Workload, RunningWorkload),
    (start, filled): (u64, u64),
    mut to: Destination,
) -> Result<()> {
    let truth = running.stop().await?;
    let last = truth.max_commit_ts();
    to.read_until(last).await.with_context(|| fleet.logs())?;
    for ordinal in 0..workers {
        fleet.drain(ordinal).await?;
    }
    let checkpoint = fleet.checkpoint().await?;
    ensure!(checkpoint >= last, "draining writes the last checkpoint");
    to.checkpoint(last);
    let mut promised = settings(workload, |_, _| true, start, filled, last);
    to.adapt(&mut promised);
    let mut judge = Judge::new(truth.rows(), promised);
    to.show(&mut judge);
    let verdict = judge.verdict();
    eprintln!("{verdict}");
    ensure!(verdict.holds(), "{verdict}\n{}", fleet.logs());
    Ok(())
}
