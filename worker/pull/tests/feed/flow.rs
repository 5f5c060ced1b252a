//! The way of changes and resolved ts, and what bounds it.

use std::time::Duration;

use tidemark_model::{Span, SpanId, Ts};
use tidemark_proto::cdcpb::event::LogType::{Commit, Committed, Initialized, Prewrite};
use tidemark_pull::{PullConfig, PullError, PullEvent, decode_bound};

use crate::fake::region;
use crate::{Scene, quick, row};

#[tokio::test]
async fn changes_come_before_the_resolved_ts_that_covers_them() {
    let mut scene = Scene::new(quick(), |_| {}).await;
    let mut feed = scene.feed().await;
    assert!(feed.multiplexed && feed.features.as_deref() == Some("stream-multiplexing"));
    let request = feed.registration().await;
    assert_eq!(
        (request.request_id, request.checkpoint_ts, request.region_id),
        (5, 100, 1)
    );
    assert_eq!(&decode_bound(&request.start_key)[..], b"a");
    assert_eq!(&decode_bound(&request.end_key)[..], b"z");
    assert!(request.header.as_ref().unwrap().cluster_id == crate::CLUSTER && request.extra_op == 1);
    let scan = vec![
        row(Committed, "b", 110, 120),
        row(Committed, "old", 90, 100),
        row(Committed, "zz", 110, 120),
        row(Prewrite, "c", 130, 0),
        row(Initialized, "", 0, 0),
    ];
    feed.rows(&request, scan).await;
    feed.rows(&request, vec![row(Commit, "c", 130, 140)]).await;
    feed.resolved(5, &[1], 150).await;
    assert_eq!(scene.until_resolved(150).await, ["b", "c"]);
    // A lower one means nothing.
    feed.resolved(5, &[1], 140).await;
    feed.resolved(5, &[1], 160).await;
    assert!(scene.until_resolved(160).await.is_empty());
    let stats = scene.puller.stats();
    assert_eq!(
        (stats.spans, stats.regions, stats.initialised, stats.streams),
        (1, 1, 1, 1)
    );
    assert_eq!((stats.changes, stats.pending_prewrites), (2, 0));
}

#[tokio::test]
async fn the_slowest_region_holds_the_span() {
    let regions = |fake: &crate::Fake| {
        fake.set_regions(vec![(region(1, "", "m", 1), 1), (region(2, "m", "", 1), 2)]);
    };
    let mut scene = Scene::new(quick(), regions).await;
    let (mut one, mut two) = (scene.feed().await, scene.feed().await);
    if one.store == 2 {
        std::mem::swap(&mut one, &mut two);
    }
    let (first, second) = (one.registration().await, two.registration().await);
    one.initialise(&first).await;
    one.resolved(5, &[1], 500).await;
    two.rows(&second, vec![row(Committed, "n", 290, 300)]).await;
    two.initialise(&second).await;
    two.resolved(5, &[2], 300).await;
    assert_eq!(scene.until_resolved(300).await, ["n"]);
    two.resolved(5, &[2], 700).await;
    assert!(scene.until_resolved(500).await.is_empty());
}

#[tokio::test]
async fn no_resolved_ts_counts_before_a_region_is_initialised() {
    let mut scene = Scene::new(quick(), |_| {}).await;
    let mut feed = scene.feed().await;
    let request = feed.registration().await;
    feed.resolved(5, &[1], 900).await;
    feed.rows(&request, vec![row(Committed, "b", 110, 120)]).await;
    feed.initialise(&request).await;
    feed.resolved(5, &[1], 130).await;
    assert_eq!(scene.until_resolved(130).await, ["b"]);
}

#[tokio::test]
async fn two_spans_share_a_stream() {
    let mut scene = Scene::new(quick(), |_| {}).await;
    scene
        .puller
        .subscribe(SpanId(6), Span::new("x", "zz"), Ts(200), scene.sender.clone());
    let mut feed = scene.feed().await;
    let (mut first, mut second) = (feed.registration().await, feed.registration().await);
    if first.request_id == 6 {
        std::mem::swap(&mut first, &mut second);
    }
    assert_eq!(
        (second.request_id, second.checkpoint_ts, second.region_id),
        (6, 200, 1)
    );
    for request in [&first, &second] {
        feed.initialise(request).await;
    }
    feed.rows(&second, vec![row(Committed, "y", 290, 300)]).await;
    feed.resolved(6, &[1], 400).await;
    let mut changes = 0;
    loop {
        match scene.event().await {
            PullEvent::Changes { span, .. } => {
                assert_eq!(span, SpanId(6));
                changes += 1;
            }
            PullEvent::Resolved { span, ts } => {
                assert_eq!((span, ts, changes), (SpanId(6), Ts(400), 1));
                break;
            }
            _ => {}
        }
    }
    scene.puller.unsubscribe(SpanId(6));
    let gone = feed.deregistration().await;
    assert_eq!((gone.request_id, gone.region_id), (6, 0));
    // What comes late for it is nobody's; the other span goes on.
    feed.not_found(&second).await;
    feed.resolved(5, &[1], 450).await;
    assert!(scene.until_resolved(450).await.is_empty());
    // The id may come back, under another request id: late answers can't be mistaken.
    scene
        .puller
        .subscribe(SpanId(6), Span::new("x", "zz"), Ts(400), scene.sender.clone());
    let again = feed.registration().await;
    assert!(again.request_id != 6 && again.checkpoint_ts == 400);
}

#[tokio::test]
async fn an_old_store_gets_one_stream_per_span() {
    let mut scene = Scene::new(quick(), |fake| {
        let mut state = fake.state.lock();
        state.single_streams = true;
        state.no_batch_scan = true;
    })
    .await;
    scene
        .puller
        .subscribe(SpanId(6), Span::new("x", "zz"), Ts(200), scene.sender.clone());
    let (mut one, mut two) = (scene.feed().await, scene.feed().await);
    let (first, second) = (one.registration().await, two.registration().await);
    assert_ne!(first.request_id, second.request_id);
    assert!(!one.multiplexed && !two.multiplexed && one.features.is_none());
    let (mine, to) = if first.request_id == 5 {
        (&one, &first)
    } else {
        (&two, &second)
    };
    mine.initialise(to).await;
    mine.rows(to, vec![row(Committed, "b", 110, 120)]).await;
    // Without multiplexing the request id is left out.
    mine.resolved(0, &[1], 130).await;
    assert_eq!(scene.until_resolved(130).await, ["b"]);
    // The still older form: one event per region.
    mine.old_resolved(to, 140).await;
    assert!(scene.until_resolved(140).await.is_empty());
}

#[tokio::test]
async fn a_slow_consumer_stops_the_reading() {
    let config = PullConfig {
        budget_bytes: 1 << 20,
        ..quick()
    };
    let mut scene = Scene::new(config, |_| {}).await;
    let mut feed = scene.feed().await;
    let request = feed.registration().await;
    feed.initialise(&request).await;
    let big = |commit_ts: u64| {
        let mut row = row(Committed, "b", commit_ts - 1, commit_ts);
        row.value = vec![7; 256 << 10].into();
        row
    };
    const ROWS: u64 = 200;
    let sender = tokio::spawn(async move {
        for nth in 0..ROWS {
            feed.rows(&request, vec![big(1000 + nth)]).await;
        }
        feed.resolved(5, &[1], 5000).await;
        feed
    });
    // 50 MiB are on their way; nothing is consumed, so all but the windows stay with the sender.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!sender.is_finished(), "the sender should wait");
    assert!(scene.puller.stats().queued_bytes <= 1 << 20);
    let mut received = 0;
    loop {
        match scene.event().await {
            PullEvent::Changes { changes, grant, .. } => {
                received += changes.len() as u64;
                assert!(grant.bytes() >= 256 << 10);
                assert!(scene.puller.stats().queued_bytes <= 1 << 20);
            }
            PullEvent::Resolved { ts, .. } => {
                assert_eq!((ts, received), (Ts(5000), ROWS));
                break;
            }
            _ => {}
        }
    }
    sender.await.unwrap();
}

#[tokio::test]
async fn scans_wait_for_admission() {
    let config = PullConfig {
        scans_per_store: 1,
        ..quick()
    };
    let mut scene = Scene::new(config, |fake| {
        fake.set_regions(vec![(region(1, "", "m", 1), 1), (region(2, "m", "", 1), 1)]);
    })
    .await;
    let mut feed = scene.feed().await;
    let first = feed.registration().await;
    feed.stays_quiet(Duration::from_millis(200)).await;
    feed.initialise(&first).await;
    let second = feed.registration().await;
    assert_ne!(first.region_id, second.region_id);
    feed.initialise(&second).await;
    loop {
        if matches!(scene.event().await, PullEvent::Initialized { span: SpanId(5) }) {
            break;
        }
    }
}

#[tokio::test]
async fn a_span_whose_history_is_collected_fails() {
    let mut scene = Scene::new(quick(), |fake| fake.state.lock().safe_point = 101).await;
    match scene.event().await {
        PullEvent::Failed {
            span: SpanId(5),
            error:
                PullError::Collected {
                    checkpoint,
                    safe_point,
                },
        } => {
            assert_eq!((checkpoint, safe_point), (Ts(100), Ts(101)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(scene.puller.stats().spans, 0);
}

#[tokio::test]
async fn shutting_down_ends_the_streams() {
    let mut scene = Scene::new(quick(), |_| {}).await;
    let mut feed = scene.feed().await;
    feed.registration().await;
    scene.puller.shutdown().await;
    feed.ended().await;
    assert!(scene.feeds.try_recv().is_err());
}

#[tokio::test]
async fn a_consumer_that_has_gone_ends_its_span() {
    let mut scene = Scene::new(quick(), |_| {}).await;
    let mut feed = scene.feed().await;
    let request = feed.registration().await;
    feed.initialise(&request).await;
    let (_, empty) = tokio::sync::mpsc::channel(1);
    drop(std::mem::replace(&mut scene.events, empty));
    drop(std::mem::replace(
        &mut scene.sender,
        tokio::sync::mpsc::channel(1).0,
    ));
    feed.rows(&request, vec![row(Committed, "b", 110, 120)]).await;
    let gone = feed.deregistration().await;
    assert_eq!((gone.request_id, gone.region_id), (5, 0));
}
