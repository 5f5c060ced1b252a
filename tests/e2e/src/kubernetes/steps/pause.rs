use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tidemark_cluster::GcBarrier;
use tidemark_harness::eventually;

use super::super::line::PATIENCE;
use super::super::stage::Stage;

const STEP: &str = "pause";

/// A paused feed has no workers, but its history stays; what was written meanwhile arrives after it goes on.
pub(super) async fn run(stage: &Stage) -> Result<()> {
    let (site, line) = (&stage.site, &stage.orders);
    let service = service(stage).await?;
    let moment = stage.now();
    line.feed.patch(site, json!({"state": "Paused"})).await?;
    eventually(PATIENCE, "end of the paused feed's workers", || {
        line.feed.settled(site)
    })
    .await?;
    stage.time(STEP, "no worker is left after", moment.elapsed(), None);
    let checkpoint = line.feed.checkpoint(site).await?;
    line.watch.checkpoint(checkpoint).await?;

    let first = barrier(stage, &service)?;
    // The cluster collects garbage as far as it may.
    let collected = site.tikv.advance_gc_safe_point(site.tikv.now());
    ensure!(
        collected.0 <= checkpoint,
        "GC passed the paused feed: {} is above its checkpoint {checkpoint}",
        collected.0
    );
    // Its time to live runs down until the operator renews it.
    let mut last = first;
    eventually(Duration::from_secs(90), "renewed protection of history", || {
        let now = barrier(stage, &service);
        let before = last.clone();
        if let Ok(now) = &now {
            last = now.clone();
        }
        async move {
            let now = now?;
            ensure!(now.ttl_seconds > before.ttl_seconds, "{now:?}");
            Ok(())
        }
    })
    .await?;
    let rested = stage.now();
    let rows = line.watch.progress().rows();
    line.feed.patch(site, json!({"state": "Running"})).await?;
    let reached = line.watch.reached(rested.ts, PATIENCE).await?;
    stage.time(
        STEP,
        "all caught up after the resume in",
        rested.until(reached),
        None,
    );
    let came = line.watch.progress().rows() - rows;
    stage.text(STEP, "rows that had waited", &came.to_string());
    Ok(())
}

/// The name of the feed's safe point in PD.
async fn service(stage: &Stage) -> Result<String> {
    let feed = stage.orders.feed.get(&stage.site).await?;
    let uid = feed["metadata"]["uid"].as_str().context("no uid")?;
    Ok(format!("tidemark-{uid}"))
}

fn barrier(stage: &Stage, service: &str) -> Result<GcBarrier> {
    let barriers = stage.site.tikv.gc_barriers();
    let found = barriers.iter().find(|barrier| barrier.service == service);
    Ok(found
        .with_context(|| format!("PD knows no service {service}, but {barriers:?}"))?
        .clone())
}
