//! Live rows of all kinds of transactions.

use std::sync::atomic::Ordering;

use tidemark_cluster::ClusterConfig;
use tidemark_cluster::cdc::{CdcConfig, CdcControl};
use tidemark_proto::cdcpb::ChangeDataRequest;
use tidemark_proto::cdcpb::event::{LogType, Row};

use crate::client::{Feed, bytes, region, start};
use crate::writer::{Writer, delete, lock, put};

/// A cluster, a writer, and request 1 on the region of plain keys, initialized.
async fn following(config: ClusterConfig) -> (tidemark_cluster::Cluster, Writer, Feed) {
    let cluster = start(config).await;
    let writer = Writer::new(&cluster);
    let mut feed = Feed::open(&cluster).await;
    feed.register(&region(&cluster, "a"), 1, 0);
    feed.initialized(1).await;
    (cluster, writer, feed)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_phases_give_prewrite_with_old_value_and_commit_with_short_value() {
    let (_cluster, writer, mut feed) = following(ClusterConfig::default()).await;
    writer.write(vec![put("a", "0")]).await;
    let (start_ts, commit_ts) = writer
        .write(vec![put("a", vec![1; 255]), put("b", vec![2; 256])])
        .await;
    let commit = feed.row(1, LogType::Commit, "b").await;
    assert_eq!((commit.start_ts, commit.commit_ts), (start_ts, commit_ts));
    assert!(
        commit.value.is_empty() && commit.old_value.is_empty(),
        "a long value comes with PREWRITE alone"
    );
    let rows: Vec<_> = feed
        .rows(1)
        .into_iter()
        .filter(|row| row.start_ts == start_ts)
        .collect();
    let of = |kind: LogType, key: &str| {
        rows.iter()
            .find(|row| row.r#type() == kind && row.key == bytes(key))
            .unwrap()
    };
    let (prewrite, commit) = (of(LogType::Prewrite, "a"), of(LogType::Commit, "a"));
    assert_eq!(
        (prewrite.value.len(), &prewrite.old_value, prewrite.commit_ts),
        (255, &bytes("0"), 0)
    );
    assert_eq!((commit.value.len(), commit.old_value.len()), (255, 0));
    assert_eq!(of(LogType::Prewrite, "b").value.len(), 256);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_phase_gives_one_committed_row_with_the_old_value() {
    let (_cluster, writer, mut feed) = following(ClusterConfig::default()).await;
    writer.one_pc(vec![put("a", "1")]).await;
    let commit_ts = writer.one_pc(vec![delete("a")]).await;
    feed.resolved(1, commit_ts).await;
    assert_eq!(feed.kinds(1)[1..], ["COMMITTED a", "COMMITTED a"]);
    let last = feed.rows(1).pop().unwrap();
    assert_eq!(
        (last.commit_ts, last.op_type, last.old_value),
        (commit_ts, 2, bytes("1"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_async_commit_looks_like_two_phases_and_stays_above_sent_resolved_timestamps() {
    let (_cluster, writer, mut feed) = following(ClusterConfig::default()).await;
    let start_ts = writer.now();
    let seen = feed.resolved(1, start_ts).await;
    let commit_ts = writer
        .prewrite_async(start_ts, vec![put("a", "1"), put("b", "1")])
        .await;
    assert!(
        commit_ts > seen,
        "{commit_ts} is not above the resolved ts {seen}"
    );
    writer.commit(start_ts, commit_ts, &["a", "b"]).await;
    feed.row(1, LogType::Commit, "b").await;
    assert_eq!(feed.row(1, LogType::Prewrite, "a").await.start_ts, start_ts);
}

#[tokio::test(flavor = "multi_thread")]
async fn rollbacks_carry_their_mark_where_protected_and_lock_only_commits_leave_an_empty_row() {
    let (_cluster, writer, mut feed) = following(ClusterConfig::default()).await;
    let meta = region(&_cluster, "a");
    feed.register_range(&meta, 2, "a", "m");
    feed.initialized(2).await;
    let never_prewritten = writer.now();
    writer.rollback(never_prewritten, &["a"]).await;
    let rollback = feed.row(1, LogType::Rollback, "a").await;
    assert_eq!(
        (rollback.start_ts, rollback.commit_ts, rollback.op_type),
        (never_prewritten, 0, 0)
    );
    assert!(
        rollback.value.is_empty() || rollback.value == bytes("p"),
        "{rollback:?}"
    );
    writer.write(vec![lock("b")]).await;
    writer.write(vec![put("c", "end")]).await;
    feed.row(1, LogType::Commit, "c").await;
    feed.row(2, LogType::Commit, "c").await;
    assert_eq!(
        feed.rows(1).iter().filter(|row| **row == Row::default()).count(),
        1
    );
    assert!(
        !feed.rows(2).contains(&Row::default()),
        "a sub-range doesn't hold the empty key"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lock_rewrites_repeat_the_prewrite_of_short_values_only() {
    let (_cluster, writer, mut feed) = following(ClusterConfig::default()).await;
    for (key, value) in [("a", vec![1; 10]), ("b", vec![1; 300])] {
        let start_ts = writer.now();
        writer.prewrite(start_ts, vec![put(key, value)]).await;
        writer.heartbeat(start_ts, key, 90_000).await;
        writer.commit(start_ts, writer.now(), &[key]).await;
        feed.row(1, LogType::Commit, key).await;
    }
    let expected = [
        "INITIALIZED",
        "PREWRITE a",
        "PREWRITE a",
        "COMMIT a",
        "PREWRITE b",
        "COMMIT b",
    ];
    assert_eq!(feed.kinds(1), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn later_generations_of_a_flush_repeat_the_prewrite_with_the_newer_value() {
    let (_cluster, writer, mut feed) = following(ClusterConfig::default()).await;
    let start_ts = writer.now();
    writer.flush(start_ts, 1, vec![put("a", "one")]).await;
    writer.flush(start_ts, 2, vec![put("a", "two")]).await;
    writer.commit(start_ts, writer.now(), &["a"]).await;
    feed.row(1, LogType::Commit, "a").await;
    let rows: Vec<_> = feed.rows(1).into_iter().skip(1).collect();
    let values: Vec<_> = rows.iter().map(|row| &row.value[..]).collect();
    assert_eq!(values, [&b"one"[..], b"two", b"two"]);
    assert!(rows.iter().all(|row| row.generation == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_some_sources_never_come_and_of_others_only_without_the_loop_filter() {
    let (cluster, writer, mut feed) = following(ClusterConfig::default()).await;
    let meta = region(&cluster, "a");
    feed.send(ChangeDataRequest {
        filter_loop: true,
        ..feed.registration(&meta, 2, 0)
    });
    feed.initialized(2).await;
    for (source, key) in [(1, "o1"), (256, "o256"), (65536, "o65536"), (0, "o0")] {
        writer.source.store(source, Ordering::SeqCst);
        writer.write(vec![put(key, "1")]).await;
    }
    feed.row(1, LogType::Commit, "o0").await;
    feed.row(2, LogType::Commit, "o0").await;
    assert_eq!(
        feed.kinds(1)[1..],
        ["PREWRITE o1", "COMMIT o1", "PREWRITE o0", "COMMIT o0"]
    );
    assert_eq!(feed.kinds(2)[1..], ["PREWRITE o0", "COMMIT o0"]);
    assert_eq!(feed.row(1, LogType::Prewrite, "o1").await.txn_source, 1);
    let meta = region(&cluster, "a");
    feed.register(&meta, 3, 0);
    feed.initialized(3).await;
    assert_eq!(
        feed.kinds(3),
        ["COMMITTED o0", "COMMITTED o1", "INITIALIZED"],
        "scans filter too"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_is_one_message_that_is_never_cut() {
    let (_cluster, writer, mut feed) = following(ClusterConfig::default()).await;
    let keys: Vec<_> = (0..8).map(|i| format!("big{i}")).collect();
    writer
        .prewrite(
            writer.now(),
            keys.iter().map(|key| put(key, vec![7; 1 << 20])).collect(),
        )
        .await;
    feed.row(1, LogType::Prewrite, "big7").await;
    assert!(feed.sizes.iter().any(|size| *size > 8 << 20), "{:?}", feed.sizes);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_one_command_come_in_no_order() {
    let (_cluster, writer, mut feed) = following(ClusterConfig::default()).await;
    let keys: Vec<_> = (0..30).map(|i| format!("k{i:02}")).collect();
    writer
        .one_pc(keys.iter().map(|key| put(key, "1")).collect())
        .await;
    for key in &keys {
        feed.row(1, LogType::Committed, key).await;
    }
    let seen: Vec<_> = feed.rows(1).into_iter().skip(1).map(|row| row.key).collect();
    assert_eq!(seen.len(), 30);
    assert!(!seen.is_sorted(), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_write_to_a_key_that_begins_with_r_gives_only_region_not_found() {
    let cluster = start(ClusterConfig::default()).await;
    let writer = Writer::new(&cluster);
    writer.write(vec![put("row1", "1")]).await;
    let meta = region(&cluster, "row1");
    let mut feed = Feed::open(&cluster).await;
    feed.register(&meta, 1, 0);
    feed.initialized(1).await;
    assert_eq!(
        feed.kinds(1),
        ["COMMITTED row1", "INITIALIZED"],
        "the scan sees such keys"
    );
    writer.write(vec![put("row2", "1")]).await;
    assert_eq!(
        feed.error(1, meta.id).await.region_not_found.unwrap().region_id,
        meta.id
    );
    assert_eq!(feed.rows(1).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_can_have_prewrites_repeated_without_value_and_rollbacks_left_out() {
    let control = CdcControl::default();
    control.fake_prewrites(true);
    control.omit_rollbacks(true);
    let cdc = CdcConfig {
        control,
        ..CdcConfig::default()
    };
    let (_cluster, writer, mut feed) = following(ClusterConfig {
        cdc,
        ..ClusterConfig::default()
    })
    .await;
    writer.rollback(writer.now(), &["z"]).await;
    writer.write(vec![put("a", "1")]).await;
    feed.row(1, LogType::Commit, "a").await;
    assert_eq!(
        feed.kinds(1),
        ["INITIALIZED", "PREWRITE a", "PREWRITE a", "COMMIT a"]
    );
    assert!(feed.rows(1)[2].value.is_empty());
}
