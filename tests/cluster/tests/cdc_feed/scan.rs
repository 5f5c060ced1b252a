//! The initial scan, and live rows around it.

use tidemark_cluster::ClusterConfig;
use tidemark_cluster::cdc::{CdcConfig, CdcControl, ScanHold};
use tidemark_proto::cdcpb::event::{LogType, Row};

use crate::client::{Feed, Seen, bytes, region, start};
use crate::writer::{Writer, delete, lock, put};

fn config(cdc: CdcConfig) -> ClusterConfig {
    ClusterConfig {
        cdc,
        ..ClusterConfig::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_gives_locks_and_the_versions_above_the_checkpoint_newest_first() {
    let cluster = start(ClusterConfig::default()).await;
    let writer = Writer::new(&cluster);
    let (_, first) = writer.write(vec![put("a", "1"), put("b", "1")]).await;
    let (second_start, second) = writer.write(vec![put("a", "2")]).await;
    let (_, third) = writer.write(vec![delete("a")]).await;
    let rolled_back = writer.now();
    writer.prewrite(rolled_back, vec![put("a", "never")]).await;
    writer.rollback(rolled_back, &["a"]).await;
    writer.write(vec![lock("a")]).await;
    let open = writer.now();
    writer.prewrite(open, vec![put("b", "open")]).await;

    let meta = region(&cluster, "a");
    let mut feed = Feed::open(&cluster).await;
    feed.register(&meta, 1, first);
    feed.initialized(1).await;
    assert_eq!(
        feed.kinds(1),
        ["COMMITTED a", "COMMITTED a", "PREWRITE b", "INITIALIZED"]
    );
    let rows = feed.rows(1);
    assert_eq!(
        (rows[0].commit_ts, rows[0].op_type, &rows[0].old_value),
        (third, 2, &bytes("2"))
    );
    let expected = Row {
        start_ts: second_start,
        commit_ts: second,
        r#type: LogType::Committed.into(),
        op_type: 1,
        key: bytes("a"),
        value: bytes("2"),
        old_value: bytes("1"),
        ..Default::default()
    };
    assert_eq!(rows[1], expected);
    assert_eq!((rows[2].start_ts, rows[2].commit_ts), (open, 0));
    assert_eq!(
        (&rows[2].value, &rows[2].old_value),
        (&bytes("open"), &bytes("1"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_can_overtake_the_prewrite_that_the_scan_brings() {
    let control = CdcControl::default();
    let cluster = start(config(CdcConfig {
        control: control.clone(),
        ..CdcConfig::default()
    }))
    .await;
    let writer = Writer::new(&cluster);
    let start_ts = writer.now();
    writer.prewrite(start_ts, vec![put("a", "1")]).await;
    control.hold_scans(ScanHold::AfterEvents(0));
    let meta = region(&cluster, "a");
    let mut feed = Feed::open(&cluster).await;
    feed.register(&meta, 1, 0);
    // A refusal tells that the registration before it was taken.
    feed.register(&meta, 1, 0);
    feed.error(1, meta.id).await;
    writer.commit(start_ts, writer.now(), &["a"]).await;
    feed.row(1, LogType::Commit, "a").await;
    control.hold_scans(ScanHold::None);
    feed.initialized(1).await;
    assert_eq!(feed.kinds(1), ["COMMIT a", "PREWRITE a", "INITIALIZED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn live_rows_come_before_between_and_after_scanned_ones_but_no_resolved_ts() {
    let control = CdcControl::default();
    let cdc = CdcConfig {
        control: control.clone(),
        scan_event_bytes: 1,
        ..CdcConfig::default()
    };
    let cluster = start(config(cdc)).await;
    let writer = Writer::new(&cluster);
    writer
        .write(vec![put("a", "1"), put("b", "1"), put("c", "1")])
        .await;
    let meta = region(&cluster, "a");
    control.hold_scans(ScanHold::AfterEvents(0));
    let mut feed = Feed::open(&cluster).await;
    feed.register(&meta, 1, 0);
    feed.register(&meta, 1, 0);
    feed.error(1, meta.id).await;
    for (hold, key) in [
        (ScanHold::AfterEvents(1), "p1"),
        (ScanHold::AfterEvents(2), "p2"),
        (ScanHold::BeforeInitialized, "p3"),
        (ScanHold::None, "p4"),
    ] {
        let at = writer.now();
        writer.prewrite(at, vec![put(key, "live")]).await;
        writer.rollback(at, &[key]).await;
        feed.row(1, LogType::Rollback, key).await;
        control.hold_scans(hold);
        let scanned = match hold {
            ScanHold::AfterEvents(1) => "a",
            ScanHold::AfterEvents(_) => "b",
            ScanHold::BeforeInitialized => "c",
            ScanHold::None => break,
        };
        feed.row(1, LogType::Committed, scanned).await;
    }
    feed.initialized(1).await;
    let kinds = feed.kinds(1);
    let place = |kind: &str| kinds.iter().position(|seen| seen == kind).unwrap();
    let order = [
        "PREWRITE p1",
        "COMMITTED a",
        "PREWRITE p2",
        "COMMITTED b",
        "PREWRITE p3",
        "COMMITTED c",
        "PREWRITE p4",
    ];
    assert!(order.is_sorted_by_key(|kind| place(kind)), "{kinds:?}");
    assert_eq!(kinds.last().unwrap(), "INITIALIZED");
    assert!(!feed.seen.iter().any(|seen| matches!(seen, Seen::Resolved { .. })));
    feed.resolved(1, writer.now()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_scan_comes_in_events_of_32_kib_and_messages_below_6_mib() {
    let cluster = start(ClusterConfig::default()).await;
    let writer = Writer::new(&cluster);
    for batch in 0..20 {
        let value = vec![7; 20_000];
        writer
            .write(
                (0..30)
                    .map(|i| put(&format!("k{batch:02}{i:02}"), value.clone()))
                    .collect(),
            )
            .await;
    }
    let mut feed = Feed::open(&cluster).await;
    feed.register(&region(&cluster, "k"), 1, 0);
    feed.initialized(1).await;
    assert_eq!(feed.rows(1).len(), 601);
    assert!(feed.sizes.iter().all(|size| *size < 6 << 20), "{:?}", feed.sizes);
    let keys: Vec<_> = feed.rows(1).into_iter().take(600).map(|row| row.key).collect();
    assert!(keys.is_sorted());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_can_have_scanned_versions_repeated_as_live_rows() {
    let control = CdcControl::default();
    control.duplicate_scans(true);
    let cluster = start(config(CdcConfig {
        control,
        ..CdcConfig::default()
    }))
    .await;
    Writer::new(&cluster).write(vec![put("a", vec![1; 300])]).await;
    let mut feed = Feed::open(&cluster).await;
    feed.register(&region(&cluster, "a"), 1, 0);
    feed.initialized(1).await;
    assert_eq!(
        feed.kinds(1),
        ["PREWRITE a", "COMMIT a", "COMMITTED a", "INITIALIZED"]
    );
    let lengths: Vec<_> = feed.rows(1).iter().map(|row| row.value.len()).collect();
    assert_eq!(lengths, [300, 0, 300, 0]);
}
