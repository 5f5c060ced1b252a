use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tidemark_harness::{Kafka, Record};
use tidemark_model::{KvChange, Op, SpanId, Ts};
use tidemark_sink::kafka::{KafkaPatience, KafkaSink};
use tidemark_sink::{Ack, Batch, Secrets, Sink, SinkError};
use tidemark_tidb::{Table, TimeZone};

/// Longer than any healthy step takes.
pub(crate) const PATIENCE: KafkaPatience = KafkaPatience {
    connect: Duration::from_secs(60),
    delivery: Duration::from_secs(120),
};

/// Secrets in memory: `(secret, key)` to value.
#[derive(Default)]
pub(crate) struct Kept(HashMap<(String, String), Vec<u8>>);

impl Kept {
    pub(crate) fn with(mut self, secret: &str, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.0
            .insert((secret.into(), key.into()), value.as_ref().to_vec());
        self
    }
}

impl Secrets for Kept {
    fn read(&self, secret: &str, key: &str) -> Result<Option<Vec<u8>>, SinkError> {
        Ok(self.0.get(&(secret.to_owned(), key.to_owned())).cloned())
    }
}

/// Settings of a sink at `brokers`, with `more` on top.
pub(crate) fn settings(brokers: &str, topic: &str, more: Value) -> tidemark_crds::KafkaSink {
    let mut all = json!({"brokers": [brokers], "topic": topic});
    let Value::Object(more) = more else {
        panic!("settings are an object")
    };
    all.as_object_mut().unwrap().extend(more);
    serde_json::from_value(all).unwrap()
}

pub(crate) fn utc() -> TimeZone {
    TimeZone::parse("UTC").unwrap()
}

pub(crate) async fn open(kafka: &Kafka, topic: &str, more: Value) -> Result<KafkaSink, SinkError> {
    let settings = settings(&kafka.bootstrap(), topic, more);
    KafkaSink::connect(&settings, &Kept::default(), &utc(), PATIENCE).await
}

/// A table of plain keys and values with a name of its own.
pub(crate) fn table(id: i64, schema: &str, name: &str) -> Arc<Table> {
    let mut table = Table::plain_kv();
    table.id = id;
    table.schema = schema.into();
    table.name = name.into();
    Arc::new(table)
}

/// The key `key` gets the value `value` at `ts`.
pub(crate) fn put(key: &str, value: impl Into<Bytes>, ts: u64) -> KvChange {
    KvChange {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: value.into(),
        old_value: Bytes::new(),
        start_ts: Ts(ts - 1),
        commit_ts: Ts(ts),
        op: Op::Put,
    }
}

/// Counts the acknowledgements of its batches.
#[derive(Clone, Default)]
pub(crate) struct Acks(Arc<AtomicUsize>);

impl Acks {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// A batch of the table's changes whose acknowledgement is counted here.
    pub(crate) fn batch(&self, table: &Arc<Table>, changes: Vec<KvChange>) -> Batch {
        let count = Arc::clone(&self.0);
        Batch {
            span: SpanId(1),
            table: Arc::clone(table),
            physical_id: table.id,
            changes,
            grant: None,
            ack: Ack::new(move || {
                count.fetch_add(1, Ordering::SeqCst);
            }),
        }
    }
}

/// Writes `count` rows, in batches of `size`: row `n` has key `k{n % keys}`, value `v{n}` and commit ts `first + n`.
pub(crate) async fn write_rows(
    sink: &KafkaSink,
    table: &Arc<Table>,
    acks: &Acks,
    (first, count, keys, size): (u64, u64, u64, usize),
) -> Result<(), SinkError> {
    let changes: Vec<KvChange> = (0..count)
        .map(|n| put(&format!("k{}", n % keys), format!("v{n}"), first + n))
        .collect();
    for part in changes.chunks(size) {
        sink.write(acks.batch(table, part.to_vec())).await?;
    }
    Ok(())
}

/// A record's message.
pub(crate) fn json(record: &Record) -> Value {
    assert_eq!(record.key, None, "canal-json has no key");
    serde_json::from_slice(record.value.as_ref().expect("a value")).expect("JSON")
}

/// Partition and commit ts of each row among the records, in the order of each partition.
pub(crate) fn commits(records: &[Record]) -> Vec<(i32, u64)> {
    records
        .iter()
        .map(|record| (record.partition, json(record)))
        .filter(|(_, message)| message["type"] != "TIDB_WATERMARK")
        .map(|(partition, message)| (partition, message["_tidb"]["commitTs"].as_u64().unwrap()))
        .collect()
}

/// Partition and ts of each watermark among the records.
pub(crate) fn marks(records: &[Record]) -> Vec<(i32, u64)> {
    records
        .iter()
        .map(|record| (record.partition, json(record)))
        .filter(|(_, message)| message["type"] == "TIDB_WATERMARK")
        .map(|(partition, message)| (partition, message["_tidb"]["watermarkTs"].as_u64().unwrap()))
        .collect()
}

/// Asserts that the records hold each commit ts of `first..first + count` once, each partition in rising order.
pub(crate) fn assert_whole_and_in_order(records: &[Record], first: u64, count: u64) {
    let commits = commits(records);
    for pair in commits.windows(2) {
        assert!(
            pair[0].0 != pair[1].0 || pair[0].1 < pair[1].1,
            "out of order or twice: {pair:?}"
        );
    }
    let mut seen: Vec<u64> = commits.into_iter().map(|(_, ts)| ts).collect();
    seen.sort_unstable();
    let expected: Vec<u64> = (first..first + count).collect();
    assert!(seen == expected, "{} of {count} rows", seen.len());
}

/// The text of a configuration error.
pub(crate) fn config_error(result: Result<KafkaSink, SinkError>) -> String {
    match result {
        Err(SinkError::Config(text)) => text,
        other => panic!("expected a configuration error, got {other:?}"),
    }
}
