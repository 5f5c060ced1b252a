//! One owner at a time writes the checkpoint.

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};
use tidemark_harness::S3Server;
use tidemark_model::Ts;
use tidemark_sink::storage::StorageSink;
use tidemark_sink::{Sink, SinkError};

use crate::proxy::{Fate, Proxy};
use crate::s3::keys;
use crate::setup::{Acks, Kept, PATIENCE, context_of, put, settings, table};

/// A prefix that several workers write to.
enum Prefix {
    Folder(TempDir),
    S3(Box<S3Server>),
}

impl Prefix {
    async fn all() -> [Self; 2] {
        [
            Self::Folder(tempdir().unwrap()),
            Self::S3(Box::new(S3Server::own().await.unwrap())),
        ]
    }

    /// A worker that shares the feed; one that runs alone with epoch 0.
    async fn open(&self, epoch: u64) -> StorageSink {
        match self {
            Self::Folder(_) => self.open_at("", epoch).await,
            Self::S3(server) => self.open_at(server.endpoint(), epoch).await,
        }
    }

    async fn open_at(&self, endpoint: &str, epoch: u64) -> StorageSink {
        let (settings, secrets) = match self {
            Self::Folder(dir) => {
                let url = format!("file://{}", dir.path().display());
                (settings(&url, json!({})), Kept::default())
            }
            Self::S3(server) => {
                let more = json!({"endpoint": endpoint, "region": server.region(), "secretName": "s3"});
                let url = format!("s3://{}/feed", server.bucket());
                (settings(&url, more), keys(server))
            }
        };
        let context = context_of(secrets, epoch);
        StorageSink::open_with(&settings, &context, PATIENCE)
            .await
            .unwrap()
    }

    fn metadata(&self) -> Value {
        let path = match self {
            Self::Folder(dir) => dir.path().join("metadata"),
            Self::S3(server) => server.bucket_folder().unwrap().join("feed/metadata"),
        };
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    /// Checkpoint and epoch.
    fn stored(&self) -> (u64, Option<u64>) {
        let metadata = self.metadata();
        (
            metadata["checkpoint-ts"].as_u64().unwrap(),
            metadata["epoch"].as_u64(),
        )
    }
}

async fn publish(sink: &StorageSink, ts: u64) -> Result<(), SinkError> {
    sink.watermark(Ts(ts)).await?;
    sink.flush().await
}

fn fenced<T: std::fmt::Debug>(refused: Result<T, SinkError>, words: &[&str]) {
    match refused {
        Err(SinkError::Fenced(text)) => {
            for word in words {
                assert!(text.contains(word), "{text} without {word}");
            }
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_epoch_is_refused() {
    for prefix in Prefix::all().await {
        let newer = prefix.open(7).await;
        newer.take_over(7).await.unwrap();
        publish(&newer, 1000).await.unwrap();
        let before = prefix.metadata();
        let older = prefix.open(6).await;
        fenced(older.take_over(6).await, &["metadata", "epoch 7", "is 6"]);
        fenced(older.watermark(Ts(2000)).await, &["epoch 7"]);
        assert_eq!(prefix.metadata(), before);
        publish(&newer, 3000).await.unwrap();
        assert_eq!(prefix.stored(), (3000, Some(7)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_equal_epoch_of_another_writer_is_refused() {
    for prefix in Prefix::all().await {
        let one = prefix.open(7).await;
        one.take_over(7).await.unwrap();
        let other = prefix.open(7).await;
        fenced(other.take_over(7).await, &["epoch 7", "another owner", "raised"]);
        one.take_over(7).await.unwrap();
        publish(&one, 1000).await.unwrap();
        assert_eq!(prefix.stored(), (1000, Some(7)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_owner_takes_over_and_the_older_ones_next_checkpoint_is_refused() {
    for prefix in Prefix::all().await {
        let old = prefix.open(3).await;
        old.take_over(3).await.unwrap();
        publish(&old, 1000).await.unwrap();
        let new = prefix.open(4).await;
        new.take_over(4).await.unwrap();
        assert_eq!(prefix.stored(), (1000, Some(4)), "the checkpoint stays");
        fenced(publish(&old, 2000).await, &["epoch 4", "is 3", "newer owner"]);
        fenced(publish(&old, 3000).await, &["epoch 4"]);
        assert_eq!(prefix.stored(), (1000, Some(4)));
        publish(&new, 500).await.unwrap();
        assert_eq!(prefix.stored(), (1000, Some(4)), "it never falls");
        publish(&new, 1500).await.unwrap();
        assert_eq!(prefix.stored(), (1500, Some(4)));

        // The one before is a worker like others now, and may become owner again.
        let orders = table(7, "orders");
        old.announce(&orders, Ts(400)).await.unwrap();
        let acks = Acks::default();
        old.write(acks.batch(&orders, vec![put("a", "1", 1)]))
            .await
            .unwrap();
        old.hand_over().await.unwrap();
        assert_eq!(acks.count(), 1);
        old.take_over(5).await.unwrap();
        publish(&old, 2000).await.unwrap();
        fenced(publish(&new, 2500).await, &["epoch 5", "is 4"]);
        assert_eq!(prefix.stored(), (2000, Some(5)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_destination_tells_the_epoch_that_it_has_seen() {
    for prefix in Prefix::all().await {
        let alone = prefix.open(0).await;
        assert_eq!(alone.fence().await.unwrap(), None, "nothing is there");
        publish(&alone, 1000).await.unwrap();
        assert_eq!(alone.fence().await.unwrap(), None, "no epoch is there");
        let owner = prefix.open(3).await;
        owner.take_over(3).await.unwrap();
        assert_eq!(prefix.open(1).await.fence().await.unwrap(), Some(3));
        assert_eq!(owner.fence().await.unwrap(), Some(3));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_owner_writes_where_it_begins_in_numbers_alone() {
    for prefix in Prefix::all().await {
        let owner = prefix.open(1).await;
        fenced(owner.watermark(Ts(1000)).await, &["not taken the feed over"]);
        owner.take_over(1).await.unwrap();
        let metadata = prefix.metadata();
        assert_eq!(prefix.stored(), (1, Some(1)));
        // Readers may take it for a map of numbers, and numbers for floats.
        for (name, value) in metadata.as_object().unwrap() {
            assert!(value.as_u64().is_some_and(|n| n < 1 << 53), "{name}: {value}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_runs_alone_overwrites_and_the_owner_notices() {
    for prefix in Prefix::all().await {
        let owner = prefix.open(2).await;
        owner.take_over(2).await.unwrap();
        let alone = prefix.open(0).await;
        publish(&alone, 5000).await.unwrap();
        assert_eq!(prefix.metadata(), json!({"checkpoint-ts": 5000}));
        fenced(publish(&owner, 6000).await, &["epoch 2", "tidemark run"]);
        assert_eq!(prefix.metadata(), json!({"checkpoint-ts": 5000}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_no_other_owner() {
    let server = S3Server::own().await.unwrap();
    let proxy = Proxy::start(server.endpoint()).await;
    let prefix = Prefix::S3(Box::new(server));
    let owner = prefix.open_at(proxy.endpoint(), 3).await;
    for put in 1..=3_u64 {
        proxy.rule("PUT /tidemark/feed/metadata", Fate::Unanswered);
        if put == 1 {
            owner.take_over(3).await.unwrap();
        } else {
            publish(&owner, 1000 * put).await.unwrap();
            assert_eq!(prefix.stored(), (1000 * put, Some(3)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_was_replaced_while_its_write_was_on_the_way_is_refused() {
    let server = S3Server::own().await.unwrap();
    let proxy = Proxy::start(server.endpoint()).await;
    let prefix = Prefix::S3(Box::new(server));
    let old = prefix.open_at(proxy.endpoint(), 3).await;
    old.take_over(3).await.unwrap();
    proxy.rule("PUT /tidemark/feed/metadata", Fate::Held);
    let late = tokio::spawn(async move { publish(&old, 2000).await });
    proxy.seen("PUT /tidemark/feed/metadata").await;
    let new = prefix.open(4).await;
    new.take_over(4).await.unwrap();
    proxy.release();
    fenced(late.await.unwrap(), &["epoch 4", "is 3"]);
    assert_eq!(prefix.stored(), (1, Some(4)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_conditional_writes_is_read_before_each() {
    let server = S3Server::own().await.unwrap();
    let proxy = Proxy::start(server.endpoint()).await;
    for header in ["if-match", "if-none-match"] {
        proxy.rule(&format!("\r\n{header}:"), Fate::Unknown);
    }
    let prefix = Prefix::S3(Box::new(server));
    let (old, new) = (
        prefix.open_at(proxy.endpoint(), 3).await,
        prefix.open_at(proxy.endpoint(), 4).await,
    );
    old.take_over(3).await.unwrap();
    publish(&old, 1000).await.unwrap();
    new.take_over(4).await.unwrap();
    fenced(publish(&old, 2000).await, &["epoch 4"]);
    publish(&new, 3000).await.unwrap();
    assert_eq!(prefix.stored(), (3000, Some(4)));
    let orders = table(7, "orders");
    for sink in [&old, &new] {
        sink.announce(&orders, Ts(400)).await.unwrap();
        let acks = Acks::default();
        sink.write(acks.batch(&orders, vec![put("a", "1", 1)]))
            .await
            .unwrap();
        sink.hand_over().await.unwrap();
        assert_eq!(acks.count(), 1);
    }
    // Both know a place; the second to come is refused though the server would let it.
    let acks = Acks::default();
    for sink in [&old, &new] {
        sink.write(acks.batch(&orders, vec![put("a", "2", 2)]))
            .await
            .unwrap();
        sink.flush().await.unwrap();
    }
    old.write(acks.batch(&orders, vec![put("a", "3", 3)]))
        .await
        .unwrap();
    fenced(old.flush().await, &["CDC000004.json"]);
    assert_eq!(acks.count(), 2);
}
