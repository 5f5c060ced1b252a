//! Settings that can't work are told before the first row.

use serde_json::json;
use tempfile::tempdir;
use tidemark_sink::storage::StorageSink;
use tidemark_sink::{SinkError, open};

use crate::setup::{Kept, PATIENCE, context, settings};

async fn refused(url: &str, more: serde_json::Value) -> String {
    let opened = StorageSink::open_with(&settings(url, more), &context(Kept::default()), PATIENCE).await;
    match opened {
        Err(SinkError::Config(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_folder_that_is_a_file_is_refused_with_url_reason_and_mend() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("taken"), "").unwrap();
    for below in ["taken", "taken/below"] {
        let url = format!("file://{}/{below}", dir.path().display());
        let text = refused(&url, json!({})).await;
        assert!(text.contains(&url), "{text}");
        assert!(
            text.contains("make it a folder that the worker may write to"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_folder_that_takes_no_files_is_refused() {
    // /proc exists, is a folder, and refuses files whoever asks.
    let text = refused("file:///proc", json!({})).await;
    assert!(text.contains("file:///proc"), "{text}");
    assert!(
        text.contains("make it a folder that the worker may write to"),
        "{text}"
    );
}

#[tokio::test]
async fn unknown_urls_and_csv_options_are_refused() {
    for url in ["gs://bucket/x", "nonsense", "s3:///prefix"] {
        let text = refused(url, json!({})).await;
        assert!(text.contains("write s3://bucket/prefix"), "{text}");
    }
    let text = refused(
        "file:///tmp/unused",
        json!({"format": "csv", "csv": {"quote": "ab"}}),
    )
    .await;
    assert!(text.contains("sink.storage.csv.quote"), "{text}");
}

#[tokio::test]
async fn a_secret_without_its_keys_is_refused() {
    let settings = settings("s3://bucket", json!({"secretName": "keys"}));
    let secrets = Kept::default().with("keys", "access-key-id", "me");
    let error = StorageSink::open_with(&settings, &context(secrets), PATIENCE)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("secret keys has no secret-access-key"),
        "{error}"
    );
}

#[tokio::test]
async fn exactly_one_sink_is_opened() {
    let dir = tempdir().unwrap();
    let storage = settings(&format!("file://{}", dir.path().display()), json!({}));
    let mut spec = tidemark_crds::SinkSpec {
        storage: Some(storage),
        ..Default::default()
    };
    let sink = open(&spec, context(Kept::default())).await.unwrap();
    sink.flush().await.unwrap();
    spec.blackhole = Some(Default::default());
    let error = open(&spec, context(Kept::default())).await.err().unwrap();
    assert!(error.to_string().contains("exactly one"), "{error}");
    spec.storage = None;
    let sink = open(&spec, context(Kept::default())).await.unwrap();
    let acks = crate::setup::Acks::default();
    let table = crate::setup::table(1, "t");
    let rows = (0..5000).map(|n| crate::setup::put("k", "v", 1 + n)).collect();
    sink.write(acks.batch(&table, rows)).await.unwrap();
    assert_eq!(acks.count(), 1);
}
