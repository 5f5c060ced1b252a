//! Feeds that can't work, or not yet.

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tidemark_cluster::ClusterConfig;
use tidemark_e2e::{Feed, Fleet};
use tidemark_harness::{Folder, eventually, free_port};
use tidemark_workload::Ddl;

use super::{PATIENCE, Site, advances, cluster, says, shows, to_nowhere};

/// A feed that waits for a person, with this message.
async fn halts(fleet: &Fleet, words: &[&str]) -> Result<()> {
    let message = says(fleet, "Halted", words).await?;
    eprintln!("{}: {message}", fleet.identity().1);
    shows(fleet, &["Stalled=True/Halted", "Ready=False/Halted"], words).await
}

pub(crate) async fn a_wrong_pd_address_is_named_until_pd_is_there(site: &Site) -> Result<()> {
    let port = free_port()?;
    let address = format!("http://127.0.0.1:{port}");
    let fleet = site.run(&to_nowhere("no-pd", vec![address.clone()])).await?;
    let message = says(&fleet, "Retrying", &[&address]).await?;
    eprintln!("no-pd: {message}");
    shows(&fleet, &["Ready=False/Retrying"], &[&address]).await?;
    let config = ClusterConfig {
        pd_port: port,
        seed: 31,
        ..ClusterConfig::default()
    };
    let (_cluster, _) = cluster(config).await?;
    says(&fleet, "Streaming", &[]).await?;
    shows(&fleet, &["Ready=True/Replicating"], &[]).await?;
    advances(&fleet).await?;
    Ok(())
}

pub(crate) async fn a_wrong_cluster_id_is_told_with_both_ids(site: &Site) -> Result<()> {
    let mut feed = to_nowhere("wrong-cluster", site.cluster.pd_endpoints());
    feed.more = json!({"source": {"clusterId": "4711"}});
    let fleet = site.run(&feed).await?;
    halts(&fleet, &["4711", &site.cluster.cluster_id().to_string()]).await?;
    ensure!(
        fleet.checkpoint().await.is_err(),
        "a refused feed has no checkpoint"
    );
    Ok(())
}

pub(crate) async fn another_cluster_under_the_same_address_is_refused(site: &Site) -> Result<()> {
    let config = |seed| ClusterConfig {
        seed,
        ..ClusterConfig::default()
    };
    let (first, tables) = cluster(config(41)).await?;
    let port = first.pd_endpoints()[0]
        .rsplit(':')
        .next()
        .context("a port")?
        .parse()?;
    let fleet = site
        .run(&to_nowhere("other-cluster", first.pd_endpoints()))
        .await?;
    fleet.streams(1).await?;
    advances(&fleet).await?;
    let before = fleet.checkpoint().await?;
    let known = first.cluster_id().to_string();
    first.kill_pd(0).await?;
    drop((first, tables));
    let other = ClusterConfig {
        pd_port: port,
        ..config(42)
    };
    let (second, _) = eventually(PATIENCE, "a second cluster", || cluster(other.clone())).await?;
    halts(&fleet, &[&known, &second.cluster_id().to_string()]).await?;
    let after = fleet.checkpoint().await?;
    ensure!(
        after < before + (60_000 << 18),
        "the other cluster's clock moved the checkpoint from {before} to {after}"
    );
    Ok(())
}

pub(crate) async fn history_that_is_gone_is_refused(site: &Site) -> Result<()> {
    let (cluster, _) = cluster(ClusterConfig {
        seed: 51,
        ..ClusterConfig::default()
    })
    .await?;
    let start = cluster.now().0;
    let reached = cluster.advance_gc_safe_point(cluster.now());
    ensure!(reached.0 > start, "GC has passed the start");
    let mut feed = to_nowhere("too-old", cluster.pd_endpoints());
    feed.start_ts = Some(start);
    let fleet = site.run(&feed).await?;
    let words = [
        "spec.start.ts",
        &start.to_string(),
        &reached.0.to_string(),
        "GC safe point",
        "make a new feed",
    ];
    halts(&fleet, &words).await
}

pub(crate) async fn a_start_in_the_future_is_refused(site: &Site) -> Result<()> {
    let start = site.cluster.now().0 + (3_600_000 << 18);
    let mut feed = to_nowhere("too-new", site.cluster.pd_endpoints());
    feed.start_ts = Some(start);
    let fleet = site.run(&feed).await?;
    halts(
        &fleet,
        &["spec.start.ts", &start.to_string(), "lies in the future"],
    )
    .await
}

pub(crate) async fn a_broker_that_is_not_there_is_named(site: &Site) -> Result<()> {
    let broker = format!("127.0.0.1:{}", free_port()?);
    let mut feed = Feed::to_kafka(site.cluster.pd_endpoints(), &broker, "nowhere");
    feed.name = "no-broker".into();
    let fleet = site.run(&feed).await?;
    let message = says(&fleet, "Retrying", &[&broker]).await?;
    eprintln!("no-broker: {message}");
    shows(&fleet, &["Ready=False/Retrying"], &[&broker]).await
}

pub(crate) async fn a_place_that_can_not_be_written_is_named(site: &Site) -> Result<()> {
    let folder = Folder::new("blocked")?;
    let file = folder.path().join("sink");
    std::fs::write(&file, "a file where a folder should be")?;
    let url = format!("file://{}/feed", file.display());
    let mut feed = Feed::to_storage(site.cluster.pd_endpoints(), &url, "canal-json");
    feed.name = "no-folder".into();
    let fleet = site.run(&feed).await?;
    let path = file.display().to_string();
    let message = eventually(PATIENCE, "words about the folder", || async {
        let stream = fleet.status().await?["stream"].clone();
        let message = stream["message"].as_str().unwrap_or_default().to_owned();
        ensure!(message.contains(&path), "{stream}");
        Ok(format!("{}: {message}", stream["phase"]))
    })
    .await
    .with_context(|| fleet.logs())?;
    eprintln!("no-folder: {message}");
    std::fs::remove_file(&file)?;
    says(&fleet, "Streaming", &[]).await?;
    advances(&fleet).await?;
    Ok(())
}

pub(crate) async fn a_ddl_that_brings_rows_stops_the_feed_below_it(site: &Site) -> Result<()> {
    let (cluster, workload) = cluster(ClusterConfig {
        seed: 61,
        ..ClusterConfig::default()
    })
    .await?;
    let mut feed = to_nowhere("altered", cluster.pd_endpoints());
    feed.tables = vec!["shop.extra_*".into()];
    feed.more = json!({"workers": {"replicas": 2}});
    let mut fleet = site.run(&feed).await?;
    fleet.streams(2).await?;
    // Out of the feed, and back with rows that it hasn't streamed.
    let out = Ddl::Rename("other".into());
    workload.ddl("shop", "extra_0", out).await?;
    let back = Ddl::Rename("extra_0".into());
    let at = workload.ddl("shop", "other", back).await?;
    let words = [
        "RENAME TABLE `other` TO `extra_0`",
        "shop.extra_0",
        &at.to_string(),
    ];
    halts(&fleet, &words).await?;
    let stands = async |fleet: &Fleet| {
        eventually(PATIENCE, "checkpoint below the DDL", || async {
            let checkpoint = fleet.checkpoint().await?;
            ensure!(checkpoint == at - 1, "checkpoint {checkpoint}, DDL at {at}");
            Ok(())
        })
        .await
        .with_context(|| fleet.logs())
    };
    stands(&fleet).await?;
    let owner = fleet.owner().await?;
    fleet.kill(owner)?;
    fleet.run(owner).await?;
    eventually(PATIENCE, "next owner", || async {
        let epoch = fleet.status().await?["epoch"].as_i64();
        ensure!(epoch > Some(1), "epoch {epoch:?}");
        Ok(())
    })
    .await?;
    halts(&fleet, &words).await?;
    stands(&fleet).await
}
