//! A worker that stood still while its tables were given to another.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tempfile::tempdir;
use tidemark_harness::S3Server;
use tidemark_model::Ts;
use tidemark_sink::storage::StorageSink;
use tidemark_sink::{Sink, SinkError};
use tidemark_tidb::Table;

use crate::proxy::{Fate, Proxy};
use crate::s3::keys;
use crate::setup::{Acks, Kept, PATIENCE, context_of, files, put, rows, settings, table};

async fn folder(dir: &Path) -> StorageSink {
    let url = format!("file://{}", dir.display());
    let settings = settings(&url, json!({"dateSeparator": "none"}));
    let context = context_of(Kept::default(), 1);
    StorageSink::open_with(&settings, &context, PATIENCE)
        .await
        .unwrap()
}

async fn bucket(server: &S3Server, endpoint: &str) -> StorageSink {
    let more = json!({
        "endpoint": endpoint, "region": server.region(), "secretName": "s3", "dateSeparator": "none",
    });
    let settings = settings(&format!("s3://{}/feed", server.bucket()), more);
    let context = context_of(keys(server), 1);
    StorageSink::open_with(&settings, &context, PATIENCE)
        .await
        .unwrap()
}

/// Hands over rows `a=<n>` of these transactions.
async fn write(sink: &StorageSink, table: &Arc<Table>, acks: &Acks, rows: std::ops::RangeInclusive<u64>) {
    let changes = rows.map(|n| put("a", format!("{n}"), n)).collect();
    sink.write(acks.batch(table, changes)).await.unwrap();
}

/// All rows that count in the order of the files.
fn read(folder: &Path) -> Vec<String> {
    let found = files(folder);
    let last = found["meta/CDC.index"].trim_end().to_owned();
    let data = found.iter().filter(|(name, _)| name.starts_with("CDC"));
    data.filter(|(name, _)| **name <= last)
        .flat_map(|(_, text)| rows(text))
        .collect()
}

async fn refused(sink: &StorageSink) {
    let error = sink.flush().await.unwrap_err();
    assert!(
        matches!(&error, SinkError::Fenced(text) if text.contains("another worker")),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn its_file_is_refused_where_the_next_one_has_written() {
    let dir = tempdir().unwrap();
    let server = S3Server::own().await.unwrap();
    let in_bucket = server.bucket_folder().unwrap().join("feed/shop/orders/400");
    let destinations = [
        (
            folder(dir.path()).await,
            folder(dir.path()).await,
            dir.path().join("shop/orders/400"),
        ),
        (
            bucket(&server, server.endpoint()).await,
            bucket(&server, server.endpoint()).await,
            in_bucket,
        ),
    ];
    let orders = table(7, "orders");
    for (late, next, folder) in destinations {
        for sink in [&late, &next] {
            sink.announce(&orders, Ts(400)).await.unwrap();
        }
        let (first, lost, kept) = (Acks::default(), Acks::default(), Acks::default());
        write(&late, &orders, &first, 1..=1).await;
        late.flush().await.unwrap();
        write(&late, &orders, &lost, 2..=3).await;
        write(&next, &orders, &kept, 1..=4).await;
        next.flush().await.unwrap();
        refused(&late).await;
        assert_eq!((first.count(), lost.count(), kept.count()), (1, 0, 1));
        write(&next, &orders, &kept, 5..=5).await;
        next.flush().await.unwrap();
        assert_eq!(read(&folder), ["a=1", "a=1", "a=2", "a=3", "a=4", "a=5"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_first_file_is_refused_too() {
    let server = S3Server::own().await.unwrap();
    let proxy = Proxy::start(server.endpoint()).await;
    let late = bucket(&server, proxy.endpoint()).await;
    let next = bucket(&server, server.endpoint()).await;
    let orders = table(7, "orders");
    for sink in [&late, &next] {
        sink.announce(&orders, Ts(400)).await.unwrap();
    }
    let (lost, kept) = (Acks::default(), Acks::default());
    write(&late, &orders, &lost, 1..=2).await;
    proxy
        .seen("HEAD /tidemark/feed/shop/orders/400/CDC000001.json")
        .await;
    write(&next, &orders, &kept, 1..=3).await;
    next.flush().await.unwrap();
    refused(&late).await;
    assert_eq!((lost.count(), kept.count()), (0, 1));
    let folder = server.bucket_folder().unwrap().join("feed/shop/orders/400");
    assert_eq!(read(&folder), ["a=1", "a=2", "a=3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_file_is_followed_by_the_next_one_and_its_index_is_not_set_back() {
    let server = S3Server::own().await.unwrap();
    let proxy = Proxy::start(server.endpoint()).await;
    let late = bucket(&server, proxy.endpoint()).await;
    let next = bucket(&server, server.endpoint()).await;
    let orders = table(7, "orders");
    for sink in [&late, &next] {
        sink.announce(&orders, Ts(400)).await.unwrap();
    }
    let (lost, kept) = (Acks::default(), Acks::default());
    let index = "PUT /tidemark/feed/shop/orders/400/meta/CDC.index";
    proxy.rule(index, Fate::Held);
    write(&late, &orders, &lost, 1..=2).await;
    let late = tokio::spawn(async move {
        refused(&late).await;
    });
    // Its data is there, its index on the way.
    proxy.seen(index).await;
    for until in [3, 4] {
        write(&next, &orders, &kept, 1..=until).await;
        next.flush().await.unwrap();
    }
    proxy.release();
    late.await.unwrap();
    assert_eq!((lost.count(), kept.count()), (0, 2));
    let folder = server.bucket_folder().unwrap().join("feed/shop/orders/400");
    assert_eq!(files(&folder)["meta/CDC.index"], "CDC000003.json\n");
    let expected = ["a=1", "a=2", "a=1", "a=2", "a=3", "a=1", "a=2", "a=3", "a=4"];
    assert_eq!(
        read(&folder),
        expected,
        "rows come again, in order on first sight"
    );
}

#[tokio::test]
async fn it_notices_that_it_stood_still() {
    let dir = tempdir().unwrap();
    let sink = folder(dir.path()).await;
    let orders = table(7, "orders");
    sink.announce(&orders, Ts(400)).await.unwrap();
    let acks = Acks::default();
    write(&sink, &orders, &acks, 1..=1).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(30)).await;
    tokio::time::resume();
    let error = sink.flush().await.unwrap_err();
    assert!(
        matches!(&error, SinkError::Unavailable(text) if text.contains("stood still for 30")),
        "{error}"
    );
    assert_eq!(acks.count(), 0);
    assert!(!files(dir.path()).keys().any(|name| name.contains("CDC")));
}
