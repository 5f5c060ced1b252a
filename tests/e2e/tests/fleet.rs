//! Workers that share a feed on a real API server: they die, are paused, drain, and the judge finds nothing lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use tidemark_cluster::{Cluster, ClusterConfig};
use tidemark_e2e::judging::{beginning, end_judged, workload_config};
use tidemark_e2e::{Destination, Fleet, Worker};
use tidemark_harness::{Kafka, KafkaOptions, Signal};
use tidemark_workload::Workload;
use tokio::time::sleep;

const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_share_a_feed_and_survive_each_other() -> Result<()> {
    let options = KafkaOptions {
        max_message_bytes: Some(4 << 20),
        ..KafkaOptions::default()
    };
    let kafka = Kafka::start(options).await?;
    let mut to = Destination::kafka(kafka, "fleet")?;
    let cluster = Cluster::start(ClusterConfig {
        stores: 3,
        ..ClusterConfig::default()
    })
    .await?;
    let workload = Workload::create(&cluster.pd_endpoints(), workload_config(1, Some(300))).await?;
    let filled = cluster.now().0;
    let start = beginning(&workload).await?;
    let mut feed = to.feed(cluster.pd_endpoints());
    feed.name = "shared".into();
    feed.start_ts = Some(start);
    feed.more = json!({"workers": {"replicas": 3}});
    let mut fleet = Fleet::start(Worker::built()?, &feed).await?;
    for ordinal in 0..3 {
        fleet.run(ordinal).await?;
    }
    fleet.streams(3).await?;
    let running = workload.start();
    fleet.passes_now(&mut to, "all three stream").await?;

    let owner = fleet.owner().await?;
    let other = (owner + 1) % 3;
    fleet.note_checkpoint(&mut to).await?;
    fleet.kill(other)?;
    fleet.run(other).await?;
    fleet
        .passes_now(&mut to, "a member's container died and began anew")
        .await?;
    fleet.streams(3).await?;

    fleet.note_checkpoint(&mut to).await?;
    fleet.kill(owner)?;
    fleet.delete_pod(owner).await?;
    fleet.passes_now(&mut to, "the owner's pod is gone").await?;
    let next = fleet.owner().await?;
    ensure!(next != owner, "the dead can't own");
    fleet.run(owner).await?;
    fleet.streams(3).await?;

    fleet.note_checkpoint(&mut to).await?;
    fleet.kill(next)?;
    fleet.run(next).await?;
    fleet
        .passes_now(&mut to, "the owner's container died and began anew")
        .await?;
    fleet.streams(3).await?;

    let frozen = fleet.owner().await?;
    fleet.note_checkpoint(&mut to).await?;
    fleet.signal(frozen, Signal::STOP)?;
    fleet.passes_now(&mut to, "the owner stands still").await?;
    ensure!(fleet.owner().await? != frozen, "its Lease has run out");
    // It was ended where it stood, so that nothing it had in its hands can come late.
    fleet.was_killed(frozen)?;
    fleet.run(frozen).await?;
    fleet.streams(3).await?;

    fleet.note_checkpoint(&mut to).await?;
    let owner = fleet.owner().await?;
    fleet.drain(owner).await?;
    fleet.passes_now(&mut to, "the owner has drained").await?;
    fleet.streams(2).await?;
    fleet.run(owner).await?;
    fleet.streams(3).await?;

    fleet.note_checkpoint(&mut to).await?;
    fleet.plane.servers.stop_api_server()?;
    sleep(Duration::from_secs(20)).await;
    fleet
        .passes_now(&mut to, "the API server is away for 20 s")
        .await?;
    fleet.plane.servers.start_api_server().await?;
    let before = fleet.checkpoint().await?;
    let begun = Instant::now();
    while fleet.checkpoint().await? <= before {
        ensure!(
            begun.elapsed() < PATIENCE,
            "the checkpoint stands still\n{}",
            fleet.logs()
        );
        to.read_for(Duration::from_millis(200)).await?;
    }
    fleet.streams(3).await?;

    end_judged(&mut fleet, 3, (&workload, running), (start, filled), to).await?;
    fleet.rights_are_the_least().await
}
