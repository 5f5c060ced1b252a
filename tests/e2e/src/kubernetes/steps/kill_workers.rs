use std::time::Duration;

use anyhow::{Result, ensure};
use tidemark_harness::{Signal, eventually};

use super::super::line::{Line, PATIENCE};
use super::super::stage::{Moment, Stage};

const STEP: &str = "kill-workers";
/// What the stream should go on within, beyond the container's restart, seconds.
const AIM: u64 = 3;

/// SIGKILL of each worker of each feed in turn: the others go on, and the stream with them.
pub(super) async fn run(stage: &Stage) -> Result<()> {
    for line in stage.lines() {
        for pod in line.feed.pods(&stage.site).await? {
            kill(stage, line, &pod.name, STEP, Some(AIM)).await?;
        }
    }
    Ok(())
}

/// Kills one worker and notes how long the feed's watermark stands, and how long Kubernetes takes to start its container;
/// gives when it was killed.
pub(crate) async fn kill(
    stage: &Stage,
    line: &Line,
    pod: &str,
    step: &'static str,
    aim: Option<u64>,
) -> Result<Moment> {
    let site = &stage.site;
    stage.settle().await?;
    let before = line.feed.pod(site, pod).await?;
    let role = match line.feed.owner(site).await? {
        owner if owner == pod => "owner",
        _ => "member",
    };
    let moment = stage.now();
    site.cluster()
        .kill_container(&line.feed.namespace, pod, Signal::KILL)
        .await?;
    stage.say(&format!("{pod} ({role}) killed"));
    let restarted = eventually(PATIENCE, "restarted container", || async {
        let now = line.feed.pod(site, pod).await?;
        ensure!(now.running && now.restarts > before.restarts, "{now:?}");
        Ok(moment.elapsed())
    });
    let (restarted, reached) = tokio::join!(restarted, line.watch.reached(moment.ts, PATIENCE));
    let (restarted, moved) = (restarted?, moment.until(reached?));
    let what = format!("{pod} ({role}): watermark past the kill after");
    stage.time(step, &what, moved, None);
    stage.time(
        step,
        &format!("{pod} ({role}): its container runs again after"),
        restarted,
        None,
    );
    let beyond = if moved > restarted {
        moved - restarted
    } else {
        Duration::ZERO
    };
    stage.time(step, &format!("{pod} ({role}): beyond that"), beyond, aim);
    Ok(moment)
}
