//! The Kafka reader against librdkafka's own mock brokers, which speak the real protocol.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
mod stream;

use std::process::Command;
use std::time::Duration;

use rdkafka::ClientConfig;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use serde_json::json;
use tidemark_judge::source::{KafkaReader, KafkaSource, SourceError, Topics, Until};
use tidemark_judge::{Invariant, Judge, Settings, Verdict};

use stream::{BEGIN_MS, canal, truth, truth_file, ts};

const PATIENCE: Duration = Duration::from_secs(60);

struct Kafka {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producer: BaseProducer,
}

impl Kafka {
    fn new() -> Self {
        let cluster = MockCluster::new(1).unwrap();
        let producer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .create()
            .unwrap();
        Self { cluster, producer }
    }

    fn topic(&self, name: &str) {
        self.cluster.create_topic(name, 2, 1).unwrap();
    }

    fn send(&self, topic: &str, partition: i32, payload: &str) {
        let record = BaseRecord::<(), str>::to(topic)
            .partition(partition)
            .payload(payload);
        self.producer
            .send(record.timestamp(BEGIN_MS as i64 + 500))
            .unwrap();
    }

    fn watermark(&self, topic: &str, ts: u64) {
        let message = json!({
            "id": 0, "database": "", "table": "", "pkNames": null, "isDdl": false, "type": "TIDB_WATERMARK", "es": ts >> 18,
            "ts": 0, "sql": "", "sqlType": null, "mysqlType": null, "data": null, "old": null, "_tidb": {"watermarkTs": ts},
        });
        (0..2).for_each(|partition| self.send(topic, partition, &message.to_string()));
    }

    /// The rows of some commits by key, each commit followed by its watermark.
    fn commits(&self, topic: &str, commits: std::ops::RangeInclusive<u64>) {
        for n in commits {
            for row in truth().iter().filter(|row| row.commit_ts == ts(n)) {
                self.send(topic, row.key.parse::<i32>().unwrap() % 2, &canal(row));
            }
            self.watermark(topic, ts(n));
        }
        self.producer.flush(PATIENCE).unwrap();
    }

    fn reader(&self, topics: Topics) -> KafkaReader {
        let source = KafkaSource {
            brokers: self.cluster.bootstrap_servers(),
            topics,
            properties: Vec::new(),
        };
        KafkaReader::new(source).unwrap()
    }
}

fn judge() -> Judge {
    Judge::new(
        truth(),
        Settings {
            must_reach: Some(ts(12)),
            ..Settings::default()
        },
    )
}

#[test]
fn all_partitions_are_read_to_the_watermark() {
    let kafka = Kafka::new();
    kafka.topic("cdc.orders");
    kafka.topic("other");
    kafka.commits("cdc.orders", 1..=12);
    let mut judge = judge();
    let mut reader = kafka.reader(Topics::Prefix("cdc.".to_owned()));
    reader
        .read(Until::Watermark(ts(12)), PATIENCE, &mut |sighting| {
            judge.take(sighting);
        })
        .unwrap();
    let verdict = judge.verdict();
    assert!(verdict.holds(), "{verdict}");
    assert_eq!(
        (
            verdict.figures.rows,
            verdict.figures.partitions,
            verdict.figures.watermarks
        ),
        (92, 2, 24)
    );
    assert_eq!(verdict.figures.latency.unwrap().max, 499);
}

#[test]
fn reading_to_the_end_goes_on_where_it_ended() {
    let kafka = Kafka::new();
    kafka.topic("orders");
    kafka.commits("orders", 1..=5);
    let mut judge = judge();
    let mut reader = kafka.reader(Topics::Names(vec!["orders".to_owned()]));
    let mut rows = 0;
    reader
        .read(Until::End, PATIENCE, &mut |sighting| judge.take(sighting))
        .unwrap();
    assert_eq!(judge.final_watermark(), Some(ts(5)));
    reader.read(Until::End, PATIENCE, &mut |_| rows += 1).unwrap();
    assert_eq!(rows, 0, "nothing is told twice");
    kafka.commits("orders", 6..=12);
    reader
        .read(Until::End, PATIENCE, &mut |sighting| judge.take(sighting))
        .unwrap();
    let verdict = judge.verdict();
    assert!(verdict.holds(), "{verdict}");
}

#[test]
fn a_watermark_that_never_comes_ends_by_the_deadline() {
    let kafka = Kafka::new();
    kafka.topic("orders");
    kafka.commits("orders", 1..=3);
    let mut reader = kafka.reader(Topics::Names(vec!["orders".to_owned()]));
    let error = reader
        .read(Until::Watermark(ts(4)), Duration::from_secs(3), &mut |_| {})
        .unwrap_err();
    assert!(matches!(error, SourceError::Deadline { .. }));
    assert!(
        error
            .to_string()
            .contains(&format!("orders/0 offset 15 of 15, watermark {}", ts(3))),
        "{error}"
    );
}

#[test]
fn a_message_that_is_no_canal_json_is_told() {
    let kafka = Kafka::new();
    kafka.topic("orders");
    kafka.send("orders", 1, "{\"type\":\"INSERT\"}");
    kafka.commits("orders", 1..=12);
    let mut judge = judge();
    let mut reader = kafka.reader(Topics::Names(vec!["orders".to_owned()]));
    reader
        .read(Until::End, PATIENCE, &mut |sighting| judge.take(sighting))
        .unwrap();
    let verdict: Verdict = judge.verdict();
    assert_eq!(verdict.broken(), [Invariant::NoInvention]);
    assert!(
        verdict.to_string().contains("orders/1: unreadable: offset 0"),
        "{verdict}"
    );
}

#[test]
fn the_command_judges_topics() {
    let kafka = Kafka::new();
    kafka.topic("cdc.orders");
    kafka.commits("cdc.orders", 1..=11);
    let dir = tempfile::tempdir().unwrap();
    let truth = truth_file(dir.path());
    let brokers = kafka.cluster.bootstrap_servers();
    let run = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemark-judge"));
        command
            .arg("--truth")
            .arg(&truth)
            .args(["--kafka", &brokers, "--topic-prefix", "cdc."])
            .args(more);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, report) = run(&["--to-end"]);
    assert_eq!(code, Some(1), "{report}");
    assert!(report.contains("doesn't reach"), "{report}");
    let (code, report) = run(&["--deadline", "2"]);
    assert_eq!(code, Some(1), "{report}");
    let eleven = ts(11).to_string();
    let (code, report) = run(&["--must-reach", &eleven]);
    assert_eq!(code, Some(0), "{report}");
    kafka.commits("cdc.orders", 12..=12);
    let (code, report) = run(&[]);
    assert_eq!(code, Some(0), "{report}");
    assert!(report.starts_with("all invariants hold"), "{report}");
}
