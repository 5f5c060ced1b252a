use anyhow::{Context, Result, ensure};
use tidemark_judge::source::{Seen, Sighting};
use tidemark_judge::{Judge, Observation};
use tidemark_workload::RunningWorkload;

use super::line::{Line, PATIENCE};
use super::open::LATE_TABLE;
use super::play::Outcome;
use super::stage::Stage;
use super::steps::LATE_ROWS;
use crate::judging;

/// Ends the writing, waits until everything has arrived, and judges both feeds.
pub(super) async fn close(stage: Stage, running: RunningWorkload, outcome: &mut Outcome) -> Result<()> {
    let truth = running.stop().await?;
    let last = truth.max_commit_ts();
    stage.say(&format!(
        "writing ended: {} rows; waiting for everything to arrive",
        truth.len()
    ));
    let ended = stage.now();
    for line in stage.lines() {
        let reached = line.watch.reached(last, PATIENCE).await;
        match reached {
            Ok(at) => {
                let what = format!("{}: all there after the last write", line.name());
                stage.time("end", &what, ended.until(at), None);
                line.note_checkpoint(&stage.site).await?;
            }
            Err(error) => outcome.failures.push(format!("{}: {error:#}", line.name())),
        }
    }
    stage.say("judging");
    let Stage {
        orders,
        archive,
        workload,
        start,
        filled,
        figures,
        late,
        ..
    } = stage;
    let figures = figures.into_inner();
    for line in [orders, archive] {
        let Line {
            feed, streams, watch, ..
        } = line;
        let mut read = watch.end().await?;
        let late_rows = read.take_out(&format!("orders.{LATE_TABLE}/"));
        if feed.name == "orders"
            && let Err(error) = judge_late(&late_rows, *late.lock())
        {
            outcome.failures.push(format!("{error:#}"));
        }
        let mut settings = judging::settings(&workload, streams, start, filled, last);
        read.adapt(&mut settings);
        let mut judge = Judge::new(truth.rows_of(streams), settings);
        read.show(&mut judge);
        outcome.verdicts.push((feed.name, judge.verdict()));
    }
    outcome.figures = figures;
    Ok(())
}

/// Only the rows of one transaction were to be streamed from the table that came late and left early.
fn judge_late(read: &[Sighting], committed: Option<u64>) -> Result<()> {
    let mut rows = 0;
    for sighting in read {
        let Seen::Observation(Observation::Row(row)) = &sighting.seen else {
            continue;
        };
        let committed =
            committed.with_context(|| format!("a row of {LATE_TABLE}, which no feed streamed"))?;
        ensure!(
            row.commit_ts == committed,
            "a row of {LATE_TABLE} at {}, while it was not streamed; it was at {committed}",
            row.commit_ts
        );
        rows += 1;
    }
    ensure!(
        committed.is_none() || rows >= LATE_ROWS,
        "{rows} of {LATE_ROWS} rows of {LATE_TABLE} came while it was streamed"
    );
    Ok(())
}
