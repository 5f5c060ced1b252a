//! What is in the folder, and when.

use std::time::Duration;

use serde_json::json;
use tempfile::tempdir;
use tidemark_harness::anyhow::ensure;
use tidemark_harness::eventually;
use tidemark_model::Ts;
use tidemark_sink::{Sink, SinkError};

use crate::setup::{Acks, NIGHT, at, files, names, open, put, rows, table, write};

const SOON: Duration = Duration::from_secs(60);

#[tokio::test]
async fn rows_lie_in_files_by_table_version_and_commit_date() {
    let dir = tempdir().unwrap();
    let sink = open(dir.path(), json!({})).await.unwrap();
    assert!(names(dir.path()).is_empty(), "the probe left nothing");
    let orders = table(7, "orders");
    sink.announce(&orders, Ts(400)).await.unwrap();
    let next_day = NIGHT + 24 * 3_600_000;
    let changes = vec![put("a", "1", 1), put("b", "2", 2), at("a", "3", next_day, 1)];
    write(&sink, &orders, changes).await;
    let found = files(dir.path());
    let schema = found.keys().find(|name| name.contains("schema")).unwrap().clone();
    assert!(schema.starts_with("shop/orders/meta/schema_400_"), "{schema}");
    assert_eq!(
        found.keys().map(String::as_str).collect::<Vec<_>>(),
        [
            "shop/orders/400/2023-11-14/CDC000001.json",
            "shop/orders/400/2023-11-14/meta/CDC.index",
            "shop/orders/400/2023-11-15/CDC000001.json",
            "shop/orders/400/2023-11-15/meta/CDC.index",
            schema.as_str(),
        ]
    );
    assert_eq!(
        rows(&found["shop/orders/400/2023-11-14/CDC000001.json"]),
        ["a=1", "b=2"]
    );
    assert_eq!(rows(&found["shop/orders/400/2023-11-15/CDC000001.json"]), ["a=3"]);
    assert_eq!(
        found["shop/orders/400/2023-11-14/meta/CDC.index"],
        "CDC000001.json\n"
    );
}

#[tokio::test]
async fn partitions_have_folders_of_their_own() {
    let dir = tempdir().unwrap();
    let sink = open(dir.path(), json!({"dateSeparator": "none"})).await.unwrap();
    let mut parts = (*table(7, "parts")).clone();
    parts.partitions = [71, 72]
        .map(|id| tidemark_tidb::Partition {
            id,
            name: format!("p{id}"),
        })
        .to_vec();
    let parts = std::sync::Arc::new(parts);
    sink.announce(&parts, Ts(400)).await.unwrap();
    let acks = Acks::default();
    for (id, key) in [(71, "a"), (72, "b")] {
        let mut batch = acks.batch(&parts, vec![put(key, "1", 1)]);
        batch.physical_id = id;
        sink.write(batch).await.unwrap();
    }
    sink.flush().await.unwrap();
    let found = files(dir.path());
    assert_eq!(rows(&found["shop/parts/400/71/CDC000001.json"]), ["a=1"]);
    assert_eq!(rows(&found["shop/parts/400/72/CDC000001.json"]), ["b=1"]);
}

#[tokio::test]
async fn csv_files_begin_with_their_header() {
    let dir = tempdir().unwrap();
    let csv = json!({"format": "csv", "dateSeparator": "none", "csv": {"outputFieldHeader": true}});
    let sink = open(dir.path(), csv).await.unwrap();
    let orders = table(7, "orders");
    sink.announce(&orders, Ts(400)).await.unwrap();
    write(&sink, &orders, vec![put("a", "1", 1)]).await;
    write(&sink, &orders, vec![put("b", "2", 2)]).await;
    let header = "\"ticdc-meta$operation\",\"ticdc-meta$table\",\"ticdc-meta$schema\",\"ticdc-meta$commit-ts\",\"key\",\"value\"\r\n";
    let found = files(dir.path());
    for (number, row) in [(1, "\"YQ==\",\"MQ==\""), (2, "\"Yg==\",\"Mg==\"")] {
        let commit = Ts::new(NIGHT, number);
        assert_eq!(
            found[&format!("shop/orders/400/CDC00000{number}.csv")],
            format!("{header}\"I\",\"orders\",\"shop\",{commit},{row}\r\n")
        );
    }
}

#[tokio::test]
async fn an_old_file_is_written_without_being_asked() {
    let dir = tempdir().unwrap();
    let sink = open(dir.path(), json!({"flushInterval": "200ms"})).await.unwrap();
    let orders = table(7, "orders");
    sink.announce(&orders, Ts(400)).await.unwrap();
    let acks = Acks::default();
    sink.write(acks.batch(&orders, vec![put("a", "1", 1)]))
        .await
        .unwrap();
    eventually(SOON, "acknowledgement", || async {
        ensure!(acks.count() == 1);
        Ok(())
    })
    .await
    .unwrap();
    let found = files(dir.path());
    assert_eq!(rows(&found["shop/orders/400/2023-11-14/CDC000001.json"]), ["a=1"]);
    assert_eq!(
        found["shop/orders/400/2023-11-14/meta/CDC.index"],
        "CDC000001.json\n"
    );
}

#[tokio::test]
async fn a_young_small_file_waits() {
    let dir = tempdir().unwrap();
    let sink = open(dir.path(), json!({})).await.unwrap();
    let orders = table(7, "orders");
    sink.announce(&orders, Ts(400)).await.unwrap();
    let acks = Acks::default();
    sink.write(acks.batch(&orders, vec![put("a", "1", 1)]))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(acks.count(), 0);
    assert!(!names(dir.path()).iter().any(|name| name.contains("CDC")));
    drop(sink);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(acks.count(), 0, "what was dropped is not acknowledged");
}

#[tokio::test]
async fn the_checkpoint_rises_at_most_every_two_seconds_and_never_falls() {
    let dir = tempdir().unwrap();
    let read = || std::fs::read_to_string(dir.path().join("metadata")).unwrap();
    let sink = open(dir.path(), json!({})).await.unwrap();
    sink.watermark(Ts(1000)).await.unwrap();
    assert_eq!(read(), "{\"checkpoint-ts\":1000}");
    sink.watermark(Ts(2000)).await.unwrap();
    assert_eq!(read(), "{\"checkpoint-ts\":1000}", "too soon");
    sink.flush().await.unwrap();
    assert_eq!(read(), "{\"checkpoint-ts\":2000}", "a flush publishes the last");
    drop(sink);
    let sink = open(dir.path(), json!({})).await.unwrap();
    sink.watermark(Ts(1500)).await.unwrap();
    sink.flush().await.unwrap();
    assert_eq!(read(), "{\"checkpoint-ts\":2000}", "after a restart too");
    sink.watermark(Ts(2500)).await.unwrap();
    assert_eq!(read(), "{\"checkpoint-ts\":2500}");
}

#[tokio::test]
async fn rows_of_a_table_that_was_not_announced_are_refused() {
    let dir = tempdir().unwrap();
    let sink = open(dir.path(), json!({})).await.unwrap();
    let acks = Acks::default();
    let error = sink
        .write(acks.batch(&table(7, "orders"), vec![put("a", "1", 1)]))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, SinkError::Config(text) if text.contains("shop.orders")),
        "{error}"
    );
}
