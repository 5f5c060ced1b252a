use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tidemark_model::{KvChange, Op, SpanId, Ts};
use tidemark_sink::storage::{StoragePatience, StorageSink};
use tidemark_sink::{Ack, Batch, OpenContext, Secrets, Sink, SinkError};
use tidemark_tidb::{Table, TimeZone};

/// Longer than any healthy step takes.
pub(crate) const PATIENCE: StoragePatience = StoragePatience {
    connect: Duration::from_secs(60),
    object: Duration::from_secs(60),
};

/// 2023-11-14 22:13:20 UTC.
pub(crate) const NIGHT: u64 = 1_700_000_000_000;

/// Secrets in memory: `(secret, key)` to value.
#[derive(Default)]
pub(crate) struct Kept(pub(crate) HashMap<(String, String), String>);

impl Kept {
    pub(crate) fn with(mut self, secret: &str, key: &str, value: &str) -> Self {
        self.0.insert((secret.into(), key.into()), value.into());
        self
    }
}

impl Secrets for Kept {
    fn read(&self, secret: &str, key: &str) -> Result<Option<Vec<u8>>, SinkError> {
        let kept = self.0.get(&(secret.to_owned(), key.to_owned()));
        Ok(kept.map(|value| value.clone().into_bytes()))
    }
}

/// The context of a worker that runs alone.
pub(crate) fn context(secrets: Kept) -> OpenContext {
    context_of(secrets, 0)
}

pub(crate) fn context_of(secrets: Kept, epoch: u64) -> OpenContext {
    OpenContext {
        feed: "test/feed".into(),
        secrets: Arc::new(secrets),
        zone: TimeZone::Utc,
        epoch,
        start_ts: Ts(1),
    }
}

/// Settings for `url`, with `more` on top.
pub(crate) fn settings(url: &str, more: Value) -> tidemark_crds::StorageSink {
    let mut all = json!({"url": url, "fileIndexDigits": 6, "flushInterval": "1h"});
    let Value::Object(more) = more else {
        panic!("{more} is no object")
    };
    all.as_object_mut().unwrap().extend(more);
    serde_json::from_value(all).unwrap()
}

pub(crate) async fn open(folder: &Path, more: Value) -> Result<StorageSink, SinkError> {
    let settings = settings(&format!("file://{}", folder.display()), more);
    StorageSink::open_with(&settings, &context(Kept::default()), PATIENCE).await
}

/// A table of plain keys and values with a name of its own.
pub(crate) fn table(id: i64, name: &str) -> Arc<Table> {
    let mut table = Table::plain_kv();
    (table.id, table.schema, table.name) = (id, "shop".into(), name.into());
    Arc::new(table)
}

/// The key gets the value in the `nth` transaction of the night.
pub(crate) fn put(key: &str, value: impl Into<Bytes>, nth: u64) -> KvChange {
    at(key, value, NIGHT, nth)
}

pub(crate) fn at(key: &str, value: impl Into<Bytes>, ms: u64, nth: u64) -> KvChange {
    let commit_ts = Ts::new(ms, nth);
    KvChange {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: value.into(),
        old_value: Bytes::new(),
        start_ts: commit_ts.prev(),
        commit_ts,
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

/// Writes the changes and makes them durable.
pub(crate) async fn write(sink: &StorageSink, table: &Arc<Table>, changes: Vec<KvChange>) {
    let acks = Acks::default();
    sink.write(acks.batch(table, changes)).await.unwrap();
    sink.flush().await.unwrap();
    assert_eq!(acks.count(), 1);
}

/// All files below a folder by their paths in it.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, String> {
    fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(folder, folder, &mut found);
    found
}

/// The names alone.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    files(folder).into_keys().collect()
}

/// `key=value` of each row of a canal-json file.
pub(crate) fn rows(file: &str) -> Vec<String> {
    let lines = file.split_terminator("\r\n");
    lines
        .map(|line| {
            let json: Value = serde_json::from_str(line).unwrap();
            let row = &json["data"][0];
            format!(
                "{}={}",
                row["key"].as_str().unwrap(),
                row["value"].as_str().unwrap()
            )
        })
        .collect()
}
