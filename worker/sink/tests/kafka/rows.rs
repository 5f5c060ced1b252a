use std::time::Duration;

use serde_json::json;
use tidemark_harness::anyhow::ensure;
use tidemark_harness::{Kafka, eventually};
use tidemark_model::Op;
use tidemark_sink::Sink;

use crate::setup::{Acks, assert_whole_and_in_order, commits, json, open, put, table, write_rows};

/// The partition of a row by its key, reckoned here anew.
fn partition_of(schema: &str, table: &str, key: &str, partitions: u32) -> i32 {
    let of_table = crc32fast::hash(format!("{schema}{table}").as_bytes());
    let of_key = crc32fast::hash(format!("key{key}").as_bytes());
    ((of_table ^ of_key) % partitions) as i32
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_arrive_once_in_order_and_in_the_partition_of_their_key() {
    let kafka = Kafka::shared().await.unwrap();
    let sink = open(kafka, "rows", json!({"partitions": 4})).await.unwrap();
    let (rows, acks) = (table(1, "shop", "orders"), Acks::default());
    // Batches of one chunk and of many.
    write_rows(&sink, &rows, &acks, (1000, 3000, 37, 100))
        .await
        .unwrap();
    write_rows(&sink, &rows, &acks, (4000, 30_000, 37, 30_000))
        .await
        .unwrap();
    sink.flush().await.unwrap();
    assert_eq!(acks.count(), 31, "each batch is acknowledged once it is flushed");

    let records = kafka.read("rows").await.unwrap();
    assert_whole_and_in_order(&records, 1000, 33_000);
    for record in &records {
        let message = json(record);
        let key = message["data"][0]["key"].as_str().unwrap();
        assert_eq!(
            record.partition,
            partition_of("shop", "orders", key, 4),
            "{message}"
        );
        assert_eq!(
            (&message["database"], &message["table"]),
            (&json!("shop"), &json!("orders"))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_come_without_a_flush() {
    let kafka = Kafka::shared().await.unwrap();
    let sink = open(kafka, "acks", json!({})).await.unwrap();
    let (rows, acks) = (table(1, "shop", "acks"), Acks::default());
    write_rows(&sink, &rows, &acks, (1000, 50, 5, 10)).await.unwrap();
    sink.write(acks.batch(&rows, Vec::new())).await.unwrap();
    eventually(Duration::from_secs(60), "acknowledgement", || async {
        ensure!(acks.count() == 6, "{} came", acks.count());
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_rows_of_a_table_share_a_partition_if_the_table_decides() {
    let kafka = Kafka::shared().await.unwrap();
    let sink = open(
        kafka,
        "by-table",
        json!({"partitions": 5, "partitionBy": "table"}),
    )
    .await
    .unwrap();
    let (rows, acks) = (table(1, "test", "t1"), Acks::default());
    write_rows(&sink, &rows, &acks, (1000, 500, 50, 100))
        .await
        .unwrap();
    sink.flush().await.unwrap();
    let records = kafka.read("by-table").await.unwrap();
    assert_whole_and_in_order(&records, 1000, 500);
    // crc32("testt1") is 1079797119.
    assert!(
        records
            .iter()
            .all(|record| record.partition == (1_079_797_119 % 5))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commit_ts_spreads_rows_evenly() {
    let kafka = Kafka::shared().await.unwrap();
    let sink = open(kafka, "by-ts", json!({"partitions": 5, "partitionBy": "ts"}))
        .await
        .unwrap();
    let (rows, acks) = (table(1, "test", "t1"), Acks::default());
    write_rows(&sink, &rows, &acks, (1000, 500, 1, 100))
        .await
        .unwrap();
    sink.flush().await.unwrap();
    let commits = commits(&kafka.read("by-ts").await.unwrap());
    assert_eq!(commits.len(), 500);
    assert!(commits.iter().all(|&(partition, ts)| partition as u64 == ts % 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_table_has_its_topic_if_the_expression_says_so() {
    let kafka = Kafka::shared().await.unwrap();
    let sink = open(kafka, "cdc_{schema}.{table}", json!({})).await.unwrap();
    let acks = Acks::default();
    for (id, name) in [(1, "one"), (2, "t wo")] {
        let rows = table(id, "shop", name);
        write_rows(&sink, &rows, &acks, (1000, 20, 5, 20)).await.unwrap();
    }
    sink.flush().await.unwrap();
    for topic in ["cdc_shop.one", "cdc_shop.t_wo"] {
        assert_whole_and_in_order(&kafka.read(topic).await.unwrap(), 1000, 20);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_and_deletes_keep_their_images() {
    let kafka = Kafka::shared().await.unwrap();
    let sink = open(kafka, "images", json!({"partitions": 1})).await.unwrap();
    let (rows, acks) = (table(1, "shop", "images"), Acks::default());
    let mut update = put("k", "new", 20);
    update.old_value = "old".into();
    let mut delete = put("k", "", 30);
    (delete.op, delete.old_value) = (Op::Delete, "new".into());
    sink.write(acks.batch(&rows, vec![put("k", "old", 10), update, delete]))
        .await
        .unwrap();
    sink.flush().await.unwrap();
    let seen: Vec<_> = kafka.read("images").await.unwrap().iter().map(json).collect();
    let types: Vec<_> = seen
        .iter()
        .map(|message| message["type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["INSERT", "UPDATE", "DELETE"]);
    let value = |message: usize, image: &str| seen[message][image][0]["value"].clone();
    assert_eq!((value(1, "old"), value(1, "data")), (json!("old"), json!("new")));
    assert_eq!((value(2, "data"), &seen[2]["old"]), (json!("new"), &json!(null)));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_compression_is_readable() {
    let kafka = Kafka::shared().await.unwrap();
    for compression in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("packed-{compression}");
        let sink = open(kafka, &topic, json!({"compression": compression}))
            .await
            .unwrap();
        let (rows, acks) = (table(1, "shop", "packed"), Acks::default());
        write_rows(&sink, &rows, &acks, (1000, 300, 7, 100))
            .await
            .unwrap();
        sink.flush().await.unwrap();
        assert_whole_and_in_order(&kafka.read(&topic).await.unwrap(), 1000, 300);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_extension_messages_carry_no_commit_ts() {
    let kafka = Kafka::shared().await.unwrap();
    let sink = open(kafka, "plain", json!({"enableTidbExtension": false}))
        .await
        .unwrap();
    let (rows, acks) = (table(1, "shop", "plain"), Acks::default());
    write_rows(&sink, &rows, &acks, (1000, 5, 5, 5)).await.unwrap();
    sink.flush().await.unwrap();
    sink.watermark(tidemark_model::Ts(2000)).await.unwrap();
    sink.flush().await.unwrap();
    let records = kafka.read("plain").await.unwrap();
    assert_eq!(records.len(), 5, "no watermark without the extension");
    assert!(records.iter().all(|record| json(record).get("_tidb").is_none()));
}
