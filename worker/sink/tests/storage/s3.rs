//! On a real S3 server.

use std::time::Duration;

use serde_json::{Value, json};
use tidemark_harness::anyhow::ensure;
use tidemark_harness::{S3Server, Signal, eventually};
use tidemark_model::Ts;
use tidemark_sink::storage::{StoragePatience, StorageSink};
use tidemark_sink::{Sink, SinkError};

use crate::setup::{Acks, Kept, PATIENCE, context, files, put, rows, settings, table, write};

pub(crate) fn keys(server: &S3Server) -> Kept {
    Kept::default()
        .with("s3", "access-key-id", server.access_key())
        .with("s3", "secret-access-key", server.secret_key())
}

fn at(server: &S3Server, bucket: &str, prefix: &str) -> tidemark_crds::StorageSink {
    let more: Value = json!({
        "endpoint": server.endpoint(), "region": server.region(), "secretName": "s3", "dateSeparator": "none",
    });
    settings(&format!("s3://{bucket}/{prefix}"), more)
}

async fn open(server: &S3Server, prefix: &str) -> StorageSink {
    let settings = at(server, server.bucket(), prefix);
    StorageSink::open_with(&settings, &context(keys(server)), PATIENCE)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_reach_the_bucket_and_numbers_go_on_after_a_restart() {
    let server = S3Server::own().await.unwrap();
    let orders = table(7, "orders");
    for run in 1..=2_u64 {
        let sink = open(&server, "feeds/one").await;
        sink.announce(&orders, Ts(400)).await.unwrap();
        write(&sink, &orders, vec![put("a", format!("{run}"), run)]).await;
        sink.watermark(Ts(1000 * run)).await.unwrap();
        sink.flush().await.unwrap();
    }
    let found = files(&server.bucket_folder().unwrap().join("feeds/one"));
    assert_eq!(rows(&found["shop/orders/400/CDC000001.json"]), ["a=1"]);
    assert_eq!(rows(&found["shop/orders/400/CDC000002.json"]), ["a=2"]);
    assert_eq!(found["shop/orders/400/meta/CDC.index"], "CDC000002.json\n");
    assert_eq!(found["metadata"], "{\"checkpoint-ts\":2000}");
    let data = found.keys().filter(|name| !name.starts_with('.'));
    assert_eq!(data.count(), 5, "and the schema file: {:?}", found.keys());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_of_one_folder_notice_each_other() {
    let server = S3Server::start().await.unwrap();
    let orders = table(7, "orders");
    let prefix = format!("two-{}", std::process::id());
    let (one, two) = (open(&server, &prefix).await, open(&server, &prefix).await);
    one.announce(&orders, Ts(400)).await.unwrap();
    two.announce(&orders, Ts(400)).await.unwrap();
    write(&one, &orders, vec![put("a", "1", 1)]).await;
    write(&two, &orders, vec![put("a", "2", 2)]).await;
    let acks = Acks::default();
    one.write(acks.batch(&orders, vec![put("a", "3", 3)]))
        .await
        .unwrap();
    let error = one.flush().await.unwrap_err();
    assert!(matches!(error, SinkError::Fenced(_)), "{error}");
    assert_eq!(acks.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_bucket_and_wrong_keys_are_told_apart() {
    let server = S3Server::start().await.unwrap();
    let settings = at(&server, "no-such-bucket", "x");
    let error = StorageSink::open_with(&settings, &context(keys(&server)), PATIENCE)
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, SinkError::Config(_)), "{text}");
    assert!(
        text.contains("s3://no-such-bucket/x") && text.contains("create the bucket"),
        "{text}"
    );
    let settings = at(&server, server.bucket(), "x");
    let wrong = keys(&server).with("s3", "secret-access-key", "wrong");
    let error = StorageSink::open_with(&settings, &context(wrong), PATIENCE)
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, SinkError::Config(_)), "{text}");
    assert!(text.contains("sink.storage.secretName"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_of_the_server_is_waited_out() {
    let mut server = S3Server::own().await.unwrap();
    let orders = table(7, "orders");
    let sink = open(&server, "pause").await;
    sink.announce(&orders, Ts(400)).await.unwrap();
    let process = server.process().unwrap();
    process.signal(Signal::STOP).unwrap();
    all_threads_stopped(process.pid()).await;
    let acks = Acks::default();
    sink.write(acks.batch(&orders, vec![put("a", "1", 1)]))
        .await
        .unwrap();
    let early = tokio::time::timeout(Duration::from_secs(1), sink.flush()).await;
    assert!(early.is_err(), "nobody answers");
    assert_eq!(acks.count(), 0);
    process.signal(Signal::CONT).unwrap();
    sink.flush().await.unwrap();
    assert_eq!(acks.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stays_away_ends_the_sink() {
    let mut server = S3Server::own().await.unwrap();
    let orders = table(7, "orders");
    let settings = at(&server, server.bucket(), "away");
    let patience = StoragePatience {
        object: Duration::from_secs(2),
        ..PATIENCE
    };
    let sink = StorageSink::open_with(&settings, &context(keys(&server)), patience)
        .await
        .unwrap();
    sink.announce(&orders, Ts(400)).await.unwrap();
    server.process().unwrap().kill().unwrap();
    let acks = Acks::default();
    sink.write(acks.batch(&orders, vec![put("a", "1", 1)]))
        .await
        .unwrap();
    let error = sink.flush().await.unwrap_err();
    assert!(matches!(error, SinkError::Unavailable(_)), "{error}");
    assert!(error.to_string().contains("s3://tidemark/away"), "{error}");
    assert_eq!(acks.count(), 0);
    let again = StorageSink::open_with(&settings, &context(keys(&server)), patience).await;
    assert!(matches!(again, Err(SinkError::Unavailable(_))), "{again:?}");
}

/// A stop signal reaches the threads one by one.
async fn all_threads_stopped(pid: u32) {
    eventually(Duration::from_secs(60), "stop", || async {
        for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let stat = std::fs::read_to_string(thread?.path().join("stat"))?;
            ensure!(stat.contains(") T "), "{stat}");
        }
        Ok(())
    })
    .await
    .unwrap();
}
