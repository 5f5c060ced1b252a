//! A status that someone edited who shouldn't.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tidemark_e2e::Fleet;
use tidemark_harness::eventually;
use tokio::time::sleep;

use super::{LOOK, PATIENCE, Site, advances, says, shows, to_nowhere};

async fn epoch(fleet: &Fleet) -> Result<i64> {
    fleet.status().await?["epoch"].as_i64().context("no epoch")
}

/// Waits until a field of the status is what it shall be again.
async fn mends(fleet: &Fleet, field: &str, right: impl Fn(&Value) -> bool) -> Result<()> {
    eventually(PATIENCE, &format!("mended {field}"), || async {
        sleep(LOOK).await;
        let status = fleet.status().await?;
        ensure!(right(&status[field]), "{status}");
        Ok(())
    })
    .await
    .with_context(|| fleet.logs())
}

pub(crate) async fn a_feed_survives_a_stranger_in_its_status(site: &Site) -> Result<()> {
    let mut feed = to_nowhere("edited", site.cluster.pd_endpoints());
    feed.more = json!({"workers": {"replicas": 2}});
    let fleet = site.run(&feed).await?;
    fleet.streams(2).await?;
    let pod = |value: &Value| value == "edited-0" || value == "edited-1";

    let before = epoch(&fleet).await?;
    fleet.edit_status(json!({"epoch": before + 5})).await?;
    mends(&fleet, "epoch", |epoch| epoch.as_i64() > Some(before + 5)).await?;
    advances(&fleet).await?;
    fleet.streams(2).await?;

    fleet.edit_status(json!({"owner": "nobody"})).await?;
    mends(&fleet, "owner", pod).await?;
    fleet
        .edit_status(json!({"stream": null, "members": null, "spans": null}))
        .await?;
    mends(&fleet, "stream", |stream| stream["phase"] == "Streaming").await?;
    fleet.streams(2).await?;
    fleet.edit_status(json!({"clusterId": null})).await?;
    let id = site.cluster.cluster_id().to_string();
    mends(&fleet, "clusterId", |cluster| *cluster == id).await?;
    fleet.edit_status(json!({"conditions": []})).await?;
    shows(&fleet, &["Ready=True/Replicating"], &[]).await?;
    advances(&fleet).await?;

    // Another cluster's id: the owner that streams knows better, and says so at once.
    fleet.edit_status(json!({"clusterId": "4711"})).await?;
    mends(&fleet, "clusterId", |cluster| *cluster == id).await?;
    advances(&fleet).await?;
    Ok(())
}

pub(crate) async fn a_checkpoint_in_the_future_is_refused(site: &Site) -> Result<()> {
    let fleet = site
        .run(&to_nowhere("ahead", site.cluster.pd_endpoints()))
        .await?;
    fleet.streams(1).await?;
    advances(&fleet).await?;
    let ahead = site.cluster.now().0 + (86_400_000 << 18);
    fleet
        .edit_status(json!({"checkpointTs": ahead.to_string()}))
        .await?;
    let words = ["status.checkpointTs", &ahead.to_string(), "future"];
    let message = says(&fleet, "Halted", &words).await?;
    eprintln!("ahead: {message}");
    shows(&fleet, &["Stalled=True/Halted", "Ready=False/Halted"], &words).await
}

pub(crate) async fn an_owner_takes_over_while_others_write_the_resource(site: &Site) -> Result<()> {
    let mut feed = to_nowhere("busy", site.cluster.pd_endpoints());
    feed.more = json!({"workers": {"replicas": 2}});
    let mut fleet = site.run(&feed).await?;
    fleet.streams(2).await?;
    let before = epoch(&fleet).await?;
    let owner = fleet.owner().await?;
    fleet.kill(owner)?;
    fleet.run(owner).await?;
    // Each write makes the epoch's compare-and-swap fail if it comes between its two halves.
    let mut writes = 0;
    eventually(PATIENCE, "next owner", || {
        writes += 1;
        let (fleet, writes) = (&fleet, writes);
        async move {
            fleet
                .edit(json!({"metadata": {"annotations": {"busy": writes.to_string()}}}))
                .await?;
            let epoch = epoch(fleet).await?;
            ensure!(epoch > before, "epoch {epoch}");
            Ok(())
        }
    })
    .await
    .with_context(|| fleet.logs())?;
    eprintln!("busy: taken over during {writes} writes");
    fleet.streams(2).await?;
    advances(&fleet).await?;
    Ok(())
}
