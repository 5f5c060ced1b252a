//! Resolved timestamps: what holds them, and the forms they come in.

use std::time::Duration;

use tidemark_cluster::ClusterConfig;
use tidemark_proto::cdcpb::event::LogType;

use crate::client::{Feed, Method, Seen, region, start};
use crate::writer::{Writer, put};

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_holds_it_until_the_commit_and_a_pessimistic_lock_does_not() {
    let cluster = start(ClusterConfig::default()).await;
    let writer = Writer::new(&cluster);
    let start_ts = writer.now();
    writer.prewrite(start_ts, vec![put("a", "1")]).await;
    writer.pessimistic_lock(start_ts, "b").await;
    let checkpoint = writer.now();
    let mut feed = Feed::open(&cluster).await;
    feed.register(&region(&cluster, "a"), 1, checkpoint);
    let held = feed.next_resolved(1, 3).await;
    assert_eq!(
        held, [start_ts; 3],
        "it begins below the checkpoint and stays there"
    );
    let commit_ts = writer.now();
    writer.commit(start_ts, commit_ts, &["a"]).await;
    feed.resolved(1, commit_ts).await;
    let place = |found: &dyn Fn(&Seen) -> bool| feed.seen.iter().position(found).unwrap();
    let commit = place(&|seen| matches!(seen, Seen::Row { row, .. } if row.r#type() == LogType::Commit));
    let passed = place(&|seen| matches!(seen, Seen::Resolved { ts, .. } if *ts >= commit_ts));
    assert!(commit < passed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_outside_of_an_encoded_sub_range_does_not_hold_it_but_holds_an_open_one() {
    let cluster = start(ClusterConfig::default()).await;
    let writer = Writer::new(&cluster);
    let meta = region(&cluster, "a");
    let mut feed = Feed::open(&cluster).await;
    feed.register_range(&meta, 1, "a", "m");
    feed.register(&meta, 2, 0);
    feed.initialized(1).await;
    feed.initialized(2).await;
    let start_ts = writer.now();
    writer.prewrite(start_ts, vec![put("q", "1")]).await;
    let later = writer.now();
    feed.resolved(1, later).await;
    assert!((start_ts..later).contains(&feed.held(2).await));
    assert_eq!(feed.kinds(1), ["INITIALIZED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_has_its_own_messages_with_multiplexing_and_shares_id_0_without() {
    let cluster = start(ClusterConfig::default()).await;
    let meta = region(&cluster, "a");
    for (method, features, ids) in [
        (Method::V2, "stream-multiplexing", [1, 2]),
        (Method::V2, "", [0, 0]),
        (Method::V1, "", [0, 0]),
    ] {
        let mut feed = Feed::connect(&cluster, 1, method, features).await.unwrap();
        feed.register(&meta, 1, 0);
        feed.register(&meta, 2, 0);
        feed.initialized(1).await;
        feed.initialized(2).await;
        for id in ids {
            feed.next_resolved(id, 2).await;
        }
        let one_region = |seen: &Seen| match seen {
            Seen::Resolved { request, regions, .. } => ids.contains(request) && *regions == [meta.id],
            Seen::OldResolved { .. } => false,
            _ => true,
        };
        assert!(
            feed.seen.iter().all(one_region),
            "{method:?} {features:?}: {:?}",
            feed.seen
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_before_4_0_8_get_one_event_per_region_or_nothing_with_multiplexing() {
    let cluster = start(ClusterConfig::default()).await;
    let writer = Writer::new(&cluster);
    let meta = region(&cluster, "a");
    let mut old = Feed::connect(&cluster, 1, Method::V1, "").await.unwrap();
    old.version = "4.0.0".to_owned();
    old.register(&meta, 7, 0);
    let now = writer.now();
    old.until("a resolved ts event", |seen| {
        seen.iter().find(|seen| matches!(seen, Seen::OldResolved { request: 7, region, ts } if *region == meta.id && *ts > now))
            .map(|_| ())
    })
    .await;
    assert!(!old.seen.iter().any(|seen| matches!(seen, Seen::Resolved { .. })));

    let mut silent = Feed::open(&cluster).await;
    silent.version = "nightly".to_owned();
    silent.register(&meta, 1, 0);
    silent.initialized(1).await;
    for _ in 0..3 {
        old.until("more of the other client's", |seen| {
            let last = seen.iter().rev().find_map(|seen| match seen {
                Seen::OldResolved { ts, .. } => Some(*ts),
                _ => None,
            });
            last.filter(|last| *last > writer.now() - (50 << 18))
        })
        .await;
    }
    writer.write(vec![put("a", "1")]).await;
    silent.row(1, LogType::Commit, "a").await;
    let any = silent
        .seen
        .iter()
        .any(|seen| matches!(seen, Seen::Resolved { .. } | Seen::OldResolved { .. }));
    assert!(!any, "{:?}", silent.seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_pd_is_away_the_same_ts_is_repeated() {
    let cluster = start(ClusterConfig::default()).await;
    let mut feed = Feed::open(&cluster).await;
    feed.register(&region(&cluster, "a"), 1, 0);
    feed.next_resolved(1, 1).await;
    cluster.pause_pd();
    let frozen = feed.next_resolved(1, 8).await;
    assert_eq!(frozen[4..], [frozen[4]; 4]);
    cluster.resume_pd();
    feed.resolved(1, frozen[7] + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_slow_region_holds_the_eight_slowest_and_no_more() {
    let split_keys = (1..40).map(|i| format!("k{i:02}").into_bytes()).collect();
    let cluster = start(ClusterConfig {
        split_keys,
        ..ClusterConfig::default()
    })
    .await;
    let writer = Writer::new(&cluster);
    let mut feed = Feed::open(&cluster).await;
    let stuck = writer.now();
    writer.prewrite(stuck, vec![put("k05", "1")]).await;
    let mut ids = Vec::new();
    for i in 0..40 {
        let meta = region(&cluster, &format!("k{i:02}"));
        ids.push(meta.id);
        feed.register(&meta, 1, 0);
    }
    let from = feed.seen.len();
    let sizes = feed
        .until("all regions, one held", |seen| {
            let messages: Vec<_> = seen[from..]
                .iter()
                .filter_map(|seen| match seen {
                    Seen::Resolved { regions, ts, .. } => Some((regions.clone(), *ts)),
                    _ => None,
                })
                .collect();
            messages
                .windows(2)
                .find(|pair| {
                    pair[0].1 == stuck && pair[1].1 > stuck && pair[0].0.len() + pair[1].0.len() == 40
                })
                .map(<[_]>::to_vec)
        })
        .await;
    assert_eq!((sizes[0].0.len(), sizes[1].0.len()), (8, 32));
    assert!(sizes[0].0.contains(&ids[5]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_can_hold_the_resolved_ts_of_a_region() {
    let cdc = tidemark_cluster::cdc::CdcConfig::default();
    let control = cdc.control.clone();
    let cluster = start(ClusterConfig {
        cdc,
        ..ClusterConfig::default()
    })
    .await;
    let meta = region(&cluster, "a");
    let mut feed = Feed::open(&cluster).await;
    feed.register(&meta, 1, 0);
    feed.next_resolved(1, 1).await;
    control.freeze_resolved(meta.id, true);
    let frozen = feed.next_resolved(1, 6).await;
    assert_eq!(frozen[3..], [frozen[3]; 3]);
    control.freeze_resolved(meta.id, false);
    feed.resolved(1, frozen[5] + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_rollback_holds_it_though_no_lock_is_there() {
    let cluster = start(ClusterConfig::default()).await;
    let writer = Writer::new(&cluster);
    let meta = region(&cluster, "ghost");
    let mut feed = Feed::open(&cluster).await;
    feed.register(&meta, 1, 0);
    feed.initialized(1).await;
    let ghost = cluster.silent_rollback(b"ghost", b"1").unwrap().ts.0;
    feed.row(1, LogType::Prewrite, "ghost").await;
    assert!(cluster.regions().iter().all(|region| region.locks == 0));
    assert!((ghost..writer.now()).contains(&feed.held(1).await));
    // A new subscription, and one of two started again, change nothing.
    feed.register(&meta, 2, 0);
    assert_eq!(feed.resolved(2, 1).await, ghost);
    feed.deregister(1, meta.id);
    feed.error(1, meta.id).await;
    feed.register(&meta, 3, 0);
    assert_eq!(feed.resolved(3, 1).await, ghost);
    assert!(
        !feed.kinds(3).contains(&"PREWRITE ghost".to_owned()),
        "the scan finds no lock"
    );
    assert!(!feed.kinds(1).contains(&"ROLLBACK ghost".to_owned()));
    // The end of all subscriptions of the region does.
    feed.deregister(2, 0);
    feed.deregister(3, 0);
    feed.error(3, meta.id).await;
    feed.register(&meta, 4, 0);
    feed.resolved(4, writer.now()).await;
    // So does a write to the key.
    let ghost = cluster.silent_rollback(b"ghost2", b"1").unwrap().ts.0;
    assert!((ghost..writer.now()).contains(&feed.held(4).await));
    writer.write(vec![put("ghost2", "2")]).await;
    feed.resolved(4, writer.now()).await;
    // And a split.
    let ghost = cluster.silent_rollback(b"ghost3", b"1").unwrap().ts.0;
    assert!((ghost..writer.now()).contains(&feed.held(4).await));
    cluster.split(b"h").unwrap();
    feed.error(4, meta.id).await;
    feed.register(&region(&cluster, "ghost3"), 5, 0);
    tokio::time::timeout(Duration::from_secs(60), feed.resolved(5, writer.now()))
        .await
        .unwrap();
}
