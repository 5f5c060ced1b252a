//! Plain transactional keys stream like rows: whole, in order, over the death of the worker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use std::time::Duration;

use serde_json::json;
use tidemark_cluster::{Cluster, ClusterConfig};
use tidemark_e2e::{Destination, Worker};
use tidemark_harness::{Kafka, KafkaOptions, eventually};
use tidemark_judge::{Judge, ReplayUnit, Settings};
use tidemark_workload::{KvConfig, KvWorkload, RunningKv};

const PATIENCE: Duration = Duration::from_secs(120);

/// Versions written before the worker is killed, and afterwards.
const ROWS: usize = 1500;

async fn written(running: &Writers, count: usize) {
    eventually(PATIENCE, "writing", || async {
        let so_far = running.workload.truth().len();
        tidemark_harness::anyhow::ensure!(so_far >= count, "{so_far} of {count}");
        Ok(())
    })
    .await
    .unwrap();
}

/// Writers of keys inside and outside of the feed's ranges.
struct Writers {
    workload: KvWorkload,
    outside: KvWorkload,
    streamed: RunningKv,
    ignored: RunningKv,
}

impl Writers {
    async fn start(cluster: &Cluster, seed: u64) -> Self {
        let make = |prefix: &[u8], keys| KvConfig {
            seed,
            prefix: prefix.to_vec(),
            keys,
            ..KvConfig::default()
        };
        let pd = cluster.pd_endpoints();
        let workload = KvWorkload::create(&pd, make(b"plain/", 100)).await.unwrap();
        let outside = KvWorkload::create(&pd, make(b"plain.", 20)).await.unwrap();
        let (streamed, ignored) = (workload.start(), outside.start());
        Self {
            workload,
            outside,
            streamed,
            ignored,
        }
    }
}

async fn streams_whole(mut to: Destination, seed: u64) {
    eprintln!("seed {seed}");
    let config = ClusterConfig {
        stores: 3,
        seed,
        ..ClusterConfig::default()
    };
    let cluster = Cluster::start(config).await.unwrap();
    let start = cluster.now().0;
    for bound in [
        b"plain/\x01".as_slice(),
        b"plain/\x02\xff\x005",
        b"plain/\x03\xff",
    ] {
        cluster.split(bound).unwrap();
    }
    let mut feed = to.feed(cluster.pd_endpoints());
    feed.start_ts = Some(start);
    // Two ranges that meet inside of what is written: writers 0 and 1, and the others.
    feed.more = json!({"source": {"format": "kv"}, "keyRanges": [
        {"start": "plain/", "end": "hex:706c61696e2f02"},
        {"start": "hex:706c61696e2f02", "end": "plain0"},
    ]});
    let mut worker = Worker::new(&Worker::built().unwrap(), &feed.yaml()).unwrap();
    let writers = Writers::start(&cluster, seed).await;
    worker.start_ready().await.unwrap();
    written(&writers, ROWS).await;
    worker.checkpoint_above(start).await.unwrap();

    worker.kill().unwrap();
    to.read_on().await.unwrap();
    let saved = worker.saved_checkpoint().unwrap();
    to.checkpoint(saved);
    cluster.split(b"plain/\x03\xff\x001").unwrap();
    written(&writers, 2 * ROWS).await;
    worker.start_ready().await.unwrap();
    worker.checkpoint_above(saved).await.unwrap();
    written(&writers, 3 * ROWS).await;

    let Writers {
        workload,
        outside,
        streamed,
        ignored,
    } = writers;
    let truth = streamed.stop().await.unwrap();
    assert!(
        !ignored.stop().await.unwrap().is_empty(),
        "nothing was written outside of the ranges"
    );
    drop((workload, outside));
    let last = truth.max_commit_ts();
    worker.checkpoint_above(last).await.unwrap();
    to.read_until(last).await.unwrap();
    worker.drain().await.unwrap();
    to.checkpoint(worker.saved_checkpoint().unwrap());

    let mut settings = Settings {
        start_ts: start,
        must_reach: Some(last),
        ..Settings::default()
    };
    settings
        .keys
        .insert(("tikv".into(), "kv".into()), vec!["key".into()]);
    // Two ranges of one table, and their replays, come side by side.
    settings.replay_unit = ReplayUnit::Key;
    to.adapt(&mut settings);
    let mut judge = Judge::new(truth.rows(), settings);
    to.show(&mut judge);
    let verdict = judge.verdict();
    eprintln!("{verdict}");
    assert!(verdict.holds(), "{verdict}\n{}", worker.log_tail());
    assert!(verdict.figures.truth_rows >= 3 * ROWS as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_keys_reach_kafka_whole_over_a_kill() {
    let kafka = Kafka::start(KafkaOptions::default()).await.unwrap();
    streams_whole(Destination::kafka(kafka, "plain").unwrap(), 11).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_keys_reach_files_whole_over_a_kill() {
    streams_whole(Destination::folder("canal-json").unwrap(), 12).await;
}
