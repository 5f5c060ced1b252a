use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde_json::Value;
use tidemark_harness::{Signal, eventually};

use super::super::line::{Line, PATIENCE};
use super::super::site::Site;
use super::super::stage::{Moment, Stage};

const STEP: &str = "freeze-owner";
/// The exit code of a process that SIGKILL has ended.
const KILLED: i64 = 137;

/// SIGSTOP of the owner for longer than its Lease: another owns the feed, and the old one is ended where it stands before it
/// could write what it had in its hands; a SIGCONT finds nobody.
pub(super) async fn run(stage: &Stage) -> Result<()> {
    let (site, line) = (&stage.site, &stage.orders);
    let owner = line.feed.owner(site).await?;
    let before = line.feed.pod(site, &owner).await?;
    let holder = line.feed.holder(site).await?;
    let moment = stage.now();
    site.cluster()
        .kill_container(&line.feed.namespace, &owner, Signal::STOP)
        .await?;
    stage.say(&format!("{owner} (owner) stopped"));
    let ended = async {
        eventually(PATIENCE, "end of the stopped worker", || async {
            let now = line.feed.pod(site, &owner).await?;
            ensure!(now.running && now.restarts > before.restarts, "{now:?}");
            Ok(moment.elapsed())
        })
        .await
    };
    let (ended, taken) = tokio::try_join!(ended, taken_over(stage, &holder, moment))?;
    stage.time(
        STEP,
        "it was ended, and its container runs again after",
        ended,
        None,
    );
    ensure!(
        died(site, line, &owner).await? <= taken,
        "the stopped worker lived when another took its Lease"
    );
    line.settle(site).await
}

/// When the container that was stopped ended, in whole seconds.
async fn died(site: &Site, line: &Line, pod: &str) -> Result<Timestamp> {
    let pod = site.get(&["pod", pod, "-n", &line.feed.namespace]).await?;
    let end = &pod["status"]["containerStatuses"][0]["lastState"]["terminated"];
    ensure!(end["exitCode"] == KILLED, "it ended otherwise: {end}");
    time(&end["finishedAt"])
}

/// Waits until another owns the feed and the watermark moves; gives when it took the Lease.
async fn taken_over(stage: &Stage, holder: &str, moment: Moment) -> Result<Timestamp> {
    let (site, line) = (&stage.site, &stage.orders);
    let (after, at) = eventually(PATIENCE, "another owner", || async {
        let lease = format!("{}-owner", line.feed.name);
        let lease = site.get(&["lease", &lease, "-n", &line.feed.namespace]).await?;
        let now = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        ensure!(!now.is_empty() && now != holder, "{now:?} holds the Lease");
        Ok((moment.elapsed(), time(&lease["spec"]["acquireTime"])?))
    })
    .await?;
    stage.time(STEP, "another has the owner's Lease after", after, Some(18));
    let moved = moment.until(line.watch.reached(moment.ts, PATIENCE).await?);
    stage.time(STEP, "watermark past the stop after", moved, Some(21));
    Ok(at)
}

fn time(value: &Value) -> Result<Timestamp> {
    let text = value.as_str().with_context(|| format!("no time: {value}"))?;
    Ok(text.parse()?)
}
