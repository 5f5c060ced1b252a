//! Trouble that a feed gets over, under the eye of the judge.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tidemark_cluster::{Cluster, ClusterConfig};
use tidemark_e2e::judging::{beginning, end_judged, workload_config};
use tidemark_e2e::{Destination, Fleet};
use tidemark_harness::eventually;
use tidemark_workload::Workload;
use tokio::time::sleep;

use super::{LOOK, PATIENCE, Site, shows};

/// A pass of the operator makes a Lease anew. Where the loss itself doesn't bring one about, a person may: the next one
/// by itself is minutes away.
const BY_ITSELF: Duration = Duration::from_secs(45);

async fn is_held_anew(fleet: &Fleet, of: &str, before: Option<&str>, patience: Duration) -> Result<()> {
    eventually(patience, &format!("new Lease {of}"), || async {
        sleep(LOOK).await;
        let lease = fleet.lease(of).await?;
        ensure!(lease.metadata.uid.as_deref() != before, "it is the old one");
        let holder = lease.spec.and_then(|spec| spec.holder_identity);
        ensure!(holder.is_some_and(|holder| !holder.is_empty()), "nobody holds it");
        Ok(())
    })
    .await
}

/// Deletes a Lease and waits until there is another, with a holder.
async fn lose_lease(fleet: &Fleet, of: &str) -> Result<()> {
    let before = fleet.lease(of).await?.metadata.uid;
    let begun = Instant::now();
    fleet.delete_lease(of).await?;
    if is_held_anew(fleet, of, before.as_deref(), BY_ITSELF)
        .await
        .is_err()
    {
        let status = fleet.status().await?;
        eprintln!("survivor: nobody makes the Lease {of} anew after {BY_ITSELF:?}: {status}");
        let look = json!({"metadata": {"annotations": {"look": of}}});
        fleet.edit(look).await?;
        is_held_anew(fleet, of, before.as_deref(), PATIENCE)
            .await
            .with_context(|| fleet.logs())?;
    }
    eprintln!(
        "survivor: the Lease {of} was held again after {:.1?}",
        begun.elapsed()
    );
    Ok(())
}

pub(crate) async fn a_feed_survives_lost_leases_and_pd(site: &Site) -> Result<()> {
    let cluster = Cluster::start(ClusterConfig {
        stores: 2,
        seed: 71,
        ..ClusterConfig::default()
    })
    .await?;
    let workload = Workload::create(&cluster.pd_endpoints(), workload_config(71, Some(150))).await?;
    let filled = cluster.now().0;
    let start = beginning(&workload).await?;
    let mut to = Destination::folder("canal-json")?;
    let mut feed = to.feed(cluster.pd_endpoints());
    feed.name = "survivor".into();
    feed.start_ts = Some(start);
    feed.more = json!({"workers": {"replicas": 2}});
    let mut fleet = site.run(&feed).await?;
    fleet.streams(2).await?;
    let running = workload.start();
    fleet.passes_now(&mut to, "both stream").await?;

    let owner = fleet.owner().await?;
    for of in [(1 - owner).to_string(), owner.to_string(), "owner".into()] {
        fleet.note_checkpoint(&mut to).await?;
        lose_lease(&fleet, &of).await?;
        fleet
            .passes_now(&mut to, &format!("the Lease {of} was deleted"))
            .await?;
        fleet.streams(2).await?;
    }

    fleet.note_checkpoint(&mut to).await?;
    let epoch = fleet.status().await?["epoch"].as_i64().context("no epoch")?;
    fleet.edit_status(json!({"epoch": epoch + 5})).await?;
    fleet.passes_now(&mut to, "a stranger raised the epoch").await?;
    fleet.streams(2).await?;

    fleet.note_checkpoint(&mut to).await?;
    cluster.kill_pd(0).await?;
    sleep(Duration::from_secs(15)).await;
    let status = fleet.status().await?;
    eprintln!(
        "survivor: PD away for 15 s: stream {}, held by {}, lag {}",
        status["stream"], status["heldBy"], status["lag"]
    );
    ensure!(status["stream"]["phase"] != "Halted", "{status}");
    cluster.revive_pd(0).await?;
    fleet.passes_now(&mut to, "PD was away for 15 s").await?;
    fleet.streams(2).await?;
    shows(&fleet, &["Ready=True/Replicating"], &[]).await?;

    end_judged(&mut fleet, 2, (&workload, running), (start, filled), to).await
}
