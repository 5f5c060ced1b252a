//! Sizes: files, transactions, memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use tempfile::tempdir;
use tidemark_model::{KvChange, Ts};
use tidemark_sink::Sink;

use crate::setup::{Acks, files, open, put, rows, table};

/// The data files' rows in the order of their numbers.
fn data(folder: &std::path::Path) -> Vec<Vec<String>> {
    let found: BTreeMap<String, String> = files(folder);
    let data = found
        .iter()
        .filter(|(name, _)| name.ends_with(".json") && name.contains("/CDC"));
    data.map(|(_, text)| rows(text)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_end_at_their_size_and_between_transactions() {
    let dir = tempdir().unwrap();
    let sink = open(dir.path(), json!({"fileSize": "64Ki", "dateSeparator": "none"}))
        .await
        .unwrap();
    let orders = table(7, "orders");
    sink.announce(&orders, Ts(400)).await.unwrap();
    let acks = Acks::default();
    // 300 transactions of five rows, in batches that end anywhere.
    let changes: Vec<KvChange> = (0..1500_u64)
        .map(|n| put(&format!("k{n}"), format!("v{}", n / 5), 1 + n / 5))
        .collect();
    for part in changes.chunks(112) {
        sink.write(acks.batch(&orders, part.to_vec())).await.unwrap();
    }
    sink.flush().await.unwrap();
    assert_eq!(acks.count(), 1500_usize.div_ceil(112));
    let files = data(dir.path());
    assert!((4..30).contains(&files.len()), "{} files", files.len());
    let all: Vec<String> = files.concat();
    let expected: Vec<String> = (0..1500).map(|n| format!("k{n}=v{}", n / 5)).collect();
    assert_eq!(all, expected, "nothing lost, nothing moved");
    for file in &files {
        assert_eq!(file.len() % 5, 0, "a transaction is split between files");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_batch_is_encoded_on_many_tasks_in_order() {
    let dir = tempdir().unwrap();
    let sink = open(dir.path(), json!({"dateSeparator": "none"})).await.unwrap();
    let orders = table(7, "orders");
    sink.announce(&orders, Ts(400)).await.unwrap();
    let acks = Acks::default();
    let changes = (0..30_000_u64)
        .map(|n| put(&format!("k{n}"), "v", 1 + n))
        .collect();
    sink.write(acks.batch(&orders, changes)).await.unwrap();
    sink.flush().await.unwrap();
    let expected: Vec<String> = (0..30_000).map(|n| format!("k{n}=v")).collect();
    assert_eq!(data(dir.path()).concat(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_fits_into_memory_makes_files_early_and_loses_nothing() {
    let dir = tempdir().unwrap();
    // The buffer is four files, here 64 MiB; the age would never cut one.
    let sink = open(dir.path(), json!({"fileSize": "16Mi", "dateSeparator": "none"}))
        .await
        .unwrap();
    let sink = Arc::new(sink);
    let acks = Acks::default();
    let tables: Vec<_> = (0..20).map(|n| table(n, &format!("t{n:02}"))).collect();
    for table in &tables {
        sink.announce(table, Ts(400)).await.unwrap();
    }
    // 20 tables × 8 MB = 160 MB, and no file gets full by itself.
    let writes = tables.iter().map(|table| {
        let (sink, acks, table) = (Arc::clone(&sink), acks.clone(), Arc::clone(table));
        tokio::spawn(async move {
            for n in 0..8 {
                let changes = (0..10)
                    .map(|row| put(&format!("k{}", n * 10 + row), vec![b'x'; 100_000], 1 + n))
                    .collect();
                sink.write(acks.batch(&table, changes)).await.unwrap();
            }
        })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap();
    }
    assert!(
        acks.count() > 0,
        "memory came free by writing files before they were due"
    );
    sink.flush().await.unwrap();
    assert_eq!(acks.count(), 160);
    let found = files(dir.path());
    for table in &tables {
        let prefix = format!("shop/{}/400/CDC", table.name);
        let keys: Vec<String> = found
            .iter()
            .filter(|(name, _)| name.starts_with(&prefix))
            .flat_map(|(_, text)| rows(text))
            .map(|row| row.split_once('=').unwrap().0.to_owned())
            .collect();
        let expected: Vec<String> = (0..80).map(|n| format!("k{n}")).collect();
        assert_eq!(keys, expected, "{}", table.name);
    }
}
