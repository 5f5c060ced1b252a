//! Memory stays in its quota while the sink stands still and a backlog many times the quota waits.
#![allow(missing_docs, clippy::unwrap_used)]

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::json;
use tidemark_cluster::{Cluster, ClusterConfig};
use tidemark_e2e::{Destination, Worker};
use tidemark_harness::{Kafka, KafkaOptions};
use tidemark_judge::{Judge, Settings};
use tidemark_workload::{Workload, WorkloadConfig};

/// The smallest quota that a feed can be given.
const QUOTA: u64 = 32 << 20;
/// What the quota doesn't count: code, threads and librdkafka's queue (about 64 MiB), the allocator's slack, and one 20 MB
/// transaction on its way through the puller: as frames, as prewrites that wait for their commits, as matched rows.
const REST: u64 = 156 << 20;
/// Large transactions that wait, 20 MB each: far more than quota and rest together.
const BACKLOG: usize = 14;

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_broker_and_large_transactions_leave_memory_in_its_quota() {
    let options = KafkaOptions {
        max_message_bytes: Some(4 << 20),
        ..KafkaOptions::default()
    };
    let kafka = Kafka::own(options).await.unwrap();
    let cluster = Cluster::start(ClusterConfig {
        stores: 1,
        ..ClusterConfig::default()
    })
    .await
    .unwrap();
    let config = WorkloadConfig {
        mixed_tables: false,
        bank_accounts: 50,
        ..WorkloadConfig::default()
    };
    let workload = Workload::create(&cluster.pd_endpoints(), config).await.unwrap();
    let start = workload
        .ddls()
        .await
        .iter()
        .map(|ddl| ddl.finished_ts)
        .max()
        .unwrap();

    let bootstrap = kafka.bootstrap();
    let mut to = Destination::kafka_at(&bootstrap, "memory").unwrap();
    let mut feed = to.feed(cluster.pd_endpoints());
    feed.start_ts = Some(start);
    feed.more = json!({"limits": {"memory": "32Mi"}});
    let mut worker = Worker::new(&Worker::built().unwrap(), &feed.yaml()).unwrap();
    worker.start_ready().await.unwrap();

    kafka.pause().unwrap();
    let mut peak = 0;
    let mut disk = 0.0_f64;
    let mut sorted = 0.0_f64;
    for _ in 0..BACKLOG {
        workload.large_transaction(2000, 20_000_000).await.unwrap();
        peak = peak.max(worker.usage().unwrap().rss);
        disk = disk.max(worker.metric("tidemark_merge_disk_bytes").await.unwrap());
        sorted = sorted.max(worker.metric("tidemark_merge_memory_bytes").await.unwrap());
    }
    let watched = Instant::now();
    while watched.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        peak = peak.max(worker.usage().unwrap().rss);
        disk = disk.max(worker.metric("tidemark_merge_disk_bytes").await.unwrap());
        sorted = sorted.max(worker.metric("tidemark_merge_memory_bytes").await.unwrap());
    }
    kafka.resume().unwrap();

    let truth = workload.truth();
    to.read_until(truth.max_commit_ts()).await.unwrap();
    peak = peak.max(worker.usage().unwrap().peak_rss);
    // Past the test runner's capture: the figure is part of what the tests show.
    let _ = writeln!(
        std::io::stderr(),
        "memory: {} MB of rows behind a stopped broker, quota {} MiB: {} MiB resident at most, {:.0} MiB in sorters, {:.0} MiB on disk",
        BACKLOG * 20,
        QUOTA >> 20,
        peak >> 20,
        sorted / f64::from(1 << 20),
        disk / f64::from(1 << 20)
    );
    worker.drain().await.unwrap();
    let settings = Settings {
        start_ts: start,
        must_reach: Some(truth.max_commit_ts()),
        ..Settings::default()
    };
    let mut judge = Judge::new(truth.rows(), settings);
    to.show(&mut judge);
    let verdict = judge.verdict();
    assert!(verdict.holds(), "{verdict}");
    assert!(
        sorted <= f64::from(16 << 20),
        "the sorters took more than their half of the quota: {sorted} bytes"
    );
    assert!(peak < QUOTA + REST, "{} MiB resident", peak >> 20);
}
