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
/// Code, threads, librdkafka and the allocator's slack, on top of the quota.
const REST: u64 = 96 << 20;

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
    for _ in 0..8 {
        // 20 MB each: one transaction is most of the quota, all are five times as much.
        workload.large_transaction(2000, 20_000_000).await.unwrap();
        peak = peak.max(worker.usage().unwrap().rss);
        disk = disk.max(worker.metric("tidemark_merge_disk_bytes").await.unwrap());
    }
    let watched = Instant::now();
    while watched.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        peak = peak.max(worker.usage().unwrap().rss);
        disk = disk.max(worker.metric("tidemark_merge_disk_bytes").await.unwrap());
    }
    kafka.resume().unwrap();

    let truth = workload.truth();
    to.read_until(truth.max_commit_ts()).await.unwrap();
    peak = peak.max(worker.usage().unwrap().peak_rss);
    // Past the test runner's capture: the figure is part of what the tests show.
    let _ = writeln!(
        std::io::stderr(),
        "memory: 160 MB of rows, quota {} MiB: {} MiB resident at most, {:.0} MiB on disk",
        QUOTA >> 20,
        peak >> 20,
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
    assert!(peak < QUOTA + REST, "{} MiB resident", peak >> 20);
}
