//! Splits, merges, leaders and stores: how they end subscriptions.

use tidemark_cluster::ClusterConfig;

use crate::client::{Feed, Method, Seen, region, start};
use crate::writer::{Writer, put};

/// Nothing of a subscription follows its error.
fn nothing_after_errors(feed: &Feed) {
    let mut ended = Vec::new();
    for seen in &feed.seen {
        match seen {
            Seen::Error { request, region, .. } => ended.push((*request, *region)),
            Seen::Row { request, region, .. } => {
                assert!(!ended.contains(&(*request, *region)), "{:?}", feed.seen);
            }
            Seen::Resolved { request, regions, .. } => {
                assert!(
                    !regions.iter().any(|region| ended.contains(&(*request, *region))),
                    "{:?}",
                    feed.seen
                );
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_ends_all_subscriptions_with_the_new_regions() {
    let cluster = start(ClusterConfig::default()).await;
    let writer = Writer::new(&cluster);
    let meta = region(&cluster, "a");
    let mut feed = Feed::open(&cluster).await;
    feed.register(&meta, 1, 0);
    feed.register(&meta, 2, 0);
    feed.initialized(2).await;
    let (low, high) = cluster.split(b"m").unwrap();
    for request in 1..=2 {
        let regions = feed
            .error(request, meta.id)
            .await
            .epoch_not_match
            .unwrap()
            .current_regions;
        assert_eq!(
            regions.iter().map(|region| region.id).collect::<Vec<_>>(),
            [low, high]
        );
        assert_eq!(regions[1], region(&cluster, "m"));
    }
    writer.write(vec![put("a", "1")]).await;
    writer.write(vec![put("m", "1")]).await;
    feed.register(&region(&cluster, "a"), 3, 0);
    feed.initialized(3).await;
    feed.resolved(3, writer.now()).await;
    nothing_after_errors(&feed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_ends_source_and_target_without_regions() {
    let split_keys = vec![b"m".to_vec()];
    let cluster = start(ClusterConfig {
        split_keys,
        ..ClusterConfig::default()
    })
    .await;
    let writer = Writer::new(&cluster);
    let (low, high) = (region(&cluster, "a"), region(&cluster, "m"));
    writer.write(vec![put("a", "1")]).await;
    writer.write(vec![put("m", "1")]).await;
    let mut feed = Feed::open(&cluster).await;
    feed.register(&low, 1, 0);
    feed.register(&high, 1, 0);
    feed.register(&high, 2, 0);
    feed.initialized(1).await;
    feed.initialized(2).await;
    cluster.merge(low.id, high.id).unwrap();
    for (request, region) in [(1, low.id), (1, high.id), (2, high.id)] {
        assert!(
            feed.error(request, region)
                .await
                .epoch_not_match
                .unwrap()
                .current_regions
                .is_empty()
        );
    }
    feed.register(&low, 3, 0);
    assert_eq!(
        feed.error(3, low.id).await.region_not_found.unwrap().region_id,
        low.id
    );
    feed.register(&region(&cluster, "a"), 4, 0);
    feed.initialized(4).await;
    assert_eq!(feed.kinds(4), ["COMMITTED a", "COMMITTED m", "INITIALIZED"]);
    nothing_after_errors(&feed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_move_ends_them_with_the_new_leader() {
    let cluster = start(ClusterConfig {
        stores: 3,
        ..ClusterConfig::default()
    })
    .await;
    let meta = region(&cluster, "a");
    cluster.move_leader(meta.id, 1).unwrap();
    let mut old = Feed::open(&cluster).await;
    old.register(&meta, 1, 0);
    old.initialized(1).await;
    cluster.move_leader(meta.id, 2).unwrap();
    let leader = old.error(1, meta.id).await.not_leader.unwrap();
    assert_eq!((leader.region_id, leader.leader.unwrap().store_id), (meta.id, 2));
    old.register(&meta, 2, 0);
    assert_eq!(
        old.error(2, meta.id)
            .await
            .not_leader
            .unwrap()
            .leader
            .unwrap()
            .store_id,
        2
    );
    let mut new = Feed::connect(&cluster, 2, Method::V2, "stream-multiplexing")
        .await
        .unwrap();
    new.register(&meta, 1, 0);
    new.initialized(1).await;
    nothing_after_errors(&old);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_store_breaks_its_streams_and_serves_again_when_revived() {
    let cluster = start(ClusterConfig {
        stores: 3,
        ..ClusterConfig::default()
    })
    .await;
    let meta = region(&cluster, "a");
    cluster.move_leader(meta.id, 1).unwrap();
    let mut feed = Feed::open(&cluster).await;
    feed.register(&meta, 1, 0);
    feed.initialized(1).await;
    cluster.kill_store(1).await.unwrap();
    assert_ne!(feed.end().await, "ok");
    cluster.revive_store(1).await.unwrap();
    cluster.move_leader(meta.id, 1).unwrap();
    let mut feed = Feed::open(&cluster).await;
    feed.register(&meta, 1, 0);
    feed.next_resolved(1, 2).await;
}
