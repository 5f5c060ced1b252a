//! A table that is too much for one worker is split over several, and stays so when the owner dies.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tidemark_cluster::{Cluster, ClusterConfig};
use tidemark_e2e::judging::{beginning, end_judged};
use tidemark_e2e::{Destination, Fleet, Worker, record_key};
use tidemark_harness::{Kafka, KafkaOptions, eventually};
use tidemark_workload::{Workload, WorkloadConfig};

const PATIENCE: Duration = Duration::from_secs(120);

async fn spans(fleet: &Fleet) -> Result<i64> {
    fleet.status().await?["spans"].as_i64().context("no spans")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_big_table_is_split_and_its_parts_outlive_the_owner() -> Result<()> {
    let mut to = Destination::kafka(Kafka::start(KafkaOptions::default()).await?, "split")?;
    let cluster = Cluster::start(ClusterConfig::default()).await?;
    let config = WorkloadConfig {
        mixed_tables: false,
        rows_per_second: Some(1500),
        ..WorkloadConfig::default()
    };
    let workload = Workload::create(&cluster.pd_endpoints(), config).await?;
    let filled = cluster.now().0;
    let tables = workload.tables();
    let accounts = tables
        .iter()
        .find(|table| table.name == "accounts")
        .context("no accounts")?;
    for handle in [20, 40, 60, 80] {
        cluster.split(&record_key(accounts.physical_ids[0], handle))?;
    }
    let start = beginning(&workload).await?;
    let mut feed = to.feed(cluster.pd_endpoints());
    feed.name = "split".into();
    feed.start_ts = Some(start);
    feed.more = json!({"workers": {"replicas": 2, "splitAbove": "16Ki"}});
    let mut fleet = Fleet::start(Worker::built()?, &feed).await?;
    for ordinal in 0..2 {
        fleet.run(ordinal).await?;
    }
    let running = workload.start();
    let whole = i64::try_from(tables.len())?;
    eventually(PATIENCE, "split table", || async {
        let spans = spans(&fleet).await?;
        ensure!(spans > whole, "{spans} spans of {whole} tables");
        Ok(())
    })
    .await
    .with_context(|| fleet.logs())?;
    fleet.streams(2).await?;
    fleet.passes_now(&mut to, "its parts stream").await?;

    fleet.note_checkpoint(&mut to).await?;
    let parts = spans(&fleet).await?;
    let owner = fleet.owner().await?;
    fleet.kill(owner)?;
    fleet.run(owner).await?;
    fleet.passes_now(&mut to, "the owner died").await?;
    fleet.streams(2).await?;
    ensure!(spans(&fleet).await? >= parts, "the parts were put together again");

    end_judged(&mut fleet, 2, (&workload, running), (start, filled), to).await
}
