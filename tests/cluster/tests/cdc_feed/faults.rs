//! Streams that break, lag or run full.

use std::time::{Duration, Instant};

use tidemark_cluster::ClusterConfig;
use tidemark_cluster::cdc::CdcConfig;
use tidemark_proto::cdcpb::event::LogType;

use crate::client::{Feed, region, start};
use crate::writer::{Writer, put};

#[tokio::test(flavor = "multi_thread")]
async fn a_full_quota_ends_a_subscription_with_congested_and_registering_again_heals_it() {
    let cdc = CdcConfig {
        stream_quota: 64 << 10,
        ..CdcConfig::default()
    };
    let cluster = start(ClusterConfig {
        cdc,
        ..ClusterConfig::default()
    })
    .await;
    let writer = Writer::new(&cluster);
    let meta = region(&cluster, "a");
    let mut feed = Feed::open(&cluster).await;
    feed.register(&meta, 1, 0);
    feed.initialized(1).await;
    writer
        .prewrite(writer.now(), vec![put("a", vec![1; 100 << 10])])
        .await;
    assert_eq!(feed.error(1, meta.id).await.congested.unwrap().region_id, meta.id);
    feed.register(&meta, 2, 0);
    assert_eq!(
        feed.row(2, LogType::Prewrite, "a").await.value.len(),
        100 << 10,
        "scans wait instead"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_stream_ends_unavailable_and_frees_its_regions() {
    let cluster = start(ClusterConfig::default()).await;
    let meta = region(&cluster, "a");
    let mut feed = Feed::open(&cluster).await;
    feed.register(&meta, 1, 0);
    feed.initialized(1).await;
    cluster.stream_faults(1).unwrap().drop_streams();
    assert!(feed.end().await.starts_with("Unavailable"));
    let mut again = Feed::open(&cluster).await;
    again.register(&meta, 1, 0);
    again.next_resolved(1, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delay_holds_every_message_back() {
    let cluster = start(ClusterConfig::default()).await;
    let writer = Writer::new(&cluster);
    let mut feed = Feed::open(&cluster).await;
    feed.register(&region(&cluster, "a"), 1, 0);
    feed.initialized(1).await;
    let faults = cluster.stream_faults(1).unwrap();
    faults.set_delay(Duration::from_millis(500));
    let sent = Instant::now();
    writer.prewrite(writer.now(), vec![put("a", "1")]).await;
    feed.row(1, LogType::Prewrite, "a").await;
    assert!(sent.elapsed() >= Duration::from_millis(500));
    faults.set_delay(Duration::ZERO);
    feed.resolved(1, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_frees_its_subscriptions() {
    let cluster = start(ClusterConfig::default()).await;
    let meta = region(&cluster, "ghost");
    let mut feed = Feed::open(&cluster).await;
    feed.register(&meta, 1, 0);
    feed.initialized(1).await;
    let ghost = cluster.silent_rollback(b"ghost", b"1").unwrap().ts.0;
    assert!(feed.held(1).await < cluster.now().0);
    drop(feed);
    // Only a region without subscriptions forgets the lock; the server needs a moment to see the client gone.
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let mut feed = Feed::open(&cluster).await;
        feed.register(&meta, 1, 0);
        if feed.next_resolved(1, 1).await[0] > ghost {
            return;
        }
        assert!(Instant::now() < deadline, "the region is held still");
        drop(feed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
