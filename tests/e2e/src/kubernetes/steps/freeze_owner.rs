use std::time::Duration;

use anyhow::{Result, ensure};
use tidemark_harness::{Signal, eventually};
use tokio::time::sleep;

use super::super::line::PATIENCE;
use super::super::stage::{Moment, Stage};

const STEP: &str = "freeze-owner";
/// Longer than a Lease of 15 s lives, shorter than the kubelet's patience with a worker that doesn't answer.
const FROZEN: Duration = Duration::from_secs(25);

/// SIGSTOP of the owner until another owns the feed, then SIGCONT: the old one has lost its rights and knows it.
pub(super) async fn run(stage: &Stage) -> Result<()> {
    let (site, line) = (&stage.site, &stage.orders);
    let owner = line.feed.owner(site).await?;
    let signal = |signal| {
        site.cluster()
            .kill_container(&line.feed.namespace, &owner, signal)
    };
    let holder = line.feed.holder(site).await?;
    let moment = stage.now();
    signal(Signal::STOP).await?;
    stage.say(&format!("{owner} (owner) stopped"));
    let taken = taken_over(stage, &holder, moment).await;
    // From here on it may write what it had in its hands.
    let told = line.watch.late_writer(true).await;
    let awakened = signal(Signal::CONT).await;
    told?;
    taken?;
    awakened?;
    stage.say(&format!("{owner} goes on"));
    line.settle(site).await?;
    line.watch.late_writer(false).await
}

async fn taken_over(stage: &Stage, holder: &str, moment: Moment) -> Result<()> {
    let (site, line) = (&stage.site, &stage.orders);
    let taken = eventually(PATIENCE, "another owner", || async {
        let now = line.feed.holder(site).await?;
        ensure!(!now.is_empty() && now != holder, "{now:?} holds the Lease");
        Ok(moment.elapsed())
    })
    .await?;
    stage.time(STEP, "another has the owner's Lease after", taken, Some(18));
    let moved = moment.until(line.watch.reached(moment.ts, PATIENCE).await?);
    stage.time(STEP, "watermark past the stop after", moved, Some(21));
    sleep(FROZEN.saturating_sub(moment.elapsed())).await;
    Ok(())
}
