//! What follows from each error of a region or a stream.

use tidemark_model::SpanId;
use tidemark_proto::cdcpb::event::LogType::{Commit, Committed};
use tidemark_proto::{cdcpb, errorpb, metapb};
use tidemark_pull::{PullError, PullEvent, decode_bound};
use tonic::Status;

use crate::fake::{Feed, region};
use crate::{Scene, quick, row};

type Request = cdcpb::ChangeDataRequest;

/// One region, initialised, resolved up to 200.
async fn settled() -> (Scene, Feed, Request) {
    let mut scene = Scene::new(quick(), |_| {}).await;
    let mut feed = scene.feed().await;
    let request = feed.registration().await;
    feed.initialise(&request).await;
    feed.resolved(5, &[1], 200).await;
    assert!(scene.until_resolved(200).await.is_empty());
    (scene, feed, request)
}

fn range(request: &Request) -> (String, String) {
    let text = |bound: &[u8]| String::from_utf8(decode_bound(bound).to_vec()).unwrap();
    (text(&request.start_key), text(&request.end_key))
}

fn epoch_not_match(current_regions: Vec<metapb::Region>) -> cdcpb::Error {
    cdcpb::Error {
        epoch_not_match: Some(errorpb::EpochNotMatch { current_regions }),
        ..Default::default()
    }
}

#[tokio::test]
async fn after_a_split_both_parts_go_on_without_pd() {
    let (mut scene, mut feed, request) = settled().await;
    let parts = vec![region(2, "", "m", 2), region(1, "m", "", 2)];
    // PD still knows the old region only.
    feed.error(&request, epoch_not_match(parts)).await;
    let (left, right) = (feed.registration().await, feed.registration().await);
    assert_eq!((left.region_id, range(&left)), (2, ("a".into(), "m".into())));
    assert_eq!((right.region_id, range(&right)), (1, ("m".into(), "z".into())));
    assert_eq!((left.checkpoint_ts, right.checkpoint_ts), (200, 200));
    assert_eq!(left.region_epoch.unwrap().version, 2);
    feed.initialise(&left).await;
    feed.initialise(&right).await;
    feed.resolved(5, &[2], 300).await;
    feed.resolved(5, &[1], 400).await;
    assert!(scene.until_resolved(300).await.is_empty());
}

#[tokio::test]
async fn after_a_merge_the_whole_goes_on_from_the_slower_part() {
    let mut scene = Scene::new(quick(), |fake| {
        fake.set_regions(vec![(region(1, "", "m", 1), 1), (region(2, "m", "", 1), 1)]);
    })
    .await;
    let mut feed = scene.feed().await;
    let (one, two) = (feed.registration().await, feed.registration().await);
    for request in [&one, &two] {
        feed.initialise(request).await;
        feed.resolved(5, &[request.region_id], 200 + request.region_id * 10)
            .await;
    }
    assert!(scene.until_resolved(210).await.is_empty());
    scene.fake.set_regions(vec![(region(2, "", "", 3), 1)]);
    feed.error(&one, epoch_not_match(Vec::new())).await;
    feed.error(&two, epoch_not_match(Vec::new())).await;
    let whole = feed.registration().await;
    assert_eq!((whole.region_id, range(&whole)), (2, ("a".into(), "z".into())));
    assert_eq!(whole.checkpoint_ts, 210);
    feed.initialise(&whole).await;
    feed.resolved(5, &[2], 300).await;
    assert!(scene.until_resolved(300).await.is_empty());
}

#[tokio::test]
async fn a_neighbour_whose_end_is_never_told_is_ended_by_us() {
    let mut scene = Scene::new(quick(), |fake| {
        fake.set_regions(vec![(region(1, "", "m", 1), 1), (region(2, "m", "", 1), 1)]);
    })
    .await;
    let mut feed = scene.feed().await;
    let (mut one, mut two) = (feed.registration().await, feed.registration().await);
    if one.region_id == 2 {
        std::mem::swap(&mut one, &mut two);
    }
    feed.initialise(&one).await;
    feed.initialise(&two).await;
    scene.fake.set_regions(vec![(region(2, "", "", 3), 1)]);
    // Only one of the two says that it has changed.
    feed.error(&two, epoch_not_match(Vec::new())).await;
    let gone = feed.deregistration().await;
    assert_eq!(gone.region_id, 1);
    feed.not_found(&one).await;
    let whole = feed.registration().await;
    assert_eq!((whole.region_id, range(&whole)), (2, ("a".into(), "z".into())));
    feed.initialise(&whole).await;
    feed.resolved(5, &[2], 300).await;
    assert!(scene.until_resolved(300).await.is_empty());
}

#[tokio::test]
async fn the_new_leader_is_followed_without_pd() {
    let (mut scene, feed, request) = settled().await;
    let leader = Some(metapb::Peer {
        id: 12,
        store_id: 2,
        ..Default::default()
    });
    let not_leader = Some(errorpb::NotLeader { region_id: 1, leader });
    feed.error(
        &request,
        cdcpb::Error {
            not_leader,
            ..Default::default()
        },
    )
    .await;
    let mut other = scene.feed().await;
    assert_eq!(other.store, 2);
    let moved = other.registration().await;
    assert_eq!((moved.region_id, moved.checkpoint_ts), (1, 200));
}

#[tokio::test]
async fn two_stores_that_point_at_each_other_don_t_keep_us_spinning() {
    let (mut scene, feed, request) = settled().await;
    let point_at = |store_id| cdcpb::Error {
        not_leader: Some(errorpb::NotLeader {
            region_id: 1,
            leader: Some(metapb::Peer {
                id: 1,
                store_id,
                ..Default::default()
            }),
        }),
        ..Default::default()
    };
    feed.error(&request, point_at(2)).await;
    let mut other = scene.feed().await;
    let moved = other.registration().await;
    other.error(&moved, point_at(1)).await;
    // The second time PD is asked, which says store 1 as before: no ball play without a pause.
    let mut feed = feed;
    let back = feed.registration().await;
    assert_eq!(back.checkpoint_ts, 200);
    assert!(scene.puller.stats().errors == 2);
}

#[tokio::test]
async fn a_region_without_a_leader_is_tried_until_it_has_one() {
    let mut scene = Scene::new(quick(), |fake| fake.set_regions(vec![(region(1, "", "", 1), 0)])).await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!(scene.feeds.try_recv().is_err());
    scene.fake.set_regions(vec![(region(1, "", "", 1), 2)]);
    let mut feed = scene.feed().await;
    assert_eq!((feed.store, feed.registration().await.region_id), (2, 1));
}

#[tokio::test]
async fn busy_and_congested_stores_are_asked_again() {
    let (mut scene, mut feed, request) = settled().await;
    let server_is_busy = Some(errorpb::ServerIsBusy {
        backoff_ms: 300,
        ..Default::default()
    });
    let asked = std::time::Instant::now();
    feed.error(
        &request,
        cdcpb::Error {
            server_is_busy,
            ..Default::default()
        },
    )
    .await;
    let again = feed.registration().await;
    assert!(asked.elapsed().as_millis() >= 300, "TiKV's own pause is kept");
    let congested = Some(cdcpb::Congested { region_id: 1 });
    feed.error(
        &again,
        cdcpb::Error {
            congested,
            ..Default::default()
        },
    )
    .await;
    let third = feed.registration().await;
    assert_eq!(third.checkpoint_ts, 200);
    feed.initialise(&third).await;
    feed.resolved(5, &[1], 300).await;
    assert!(scene.until_resolved(300).await.is_empty());
}

#[tokio::test]
async fn a_lost_stream_s_regions_go_on_from_where_each_stood() {
    let mut scene = Scene::new(quick(), |fake| {
        fake.set_regions(vec![(region(1, "", "m", 1), 1), (region(2, "m", "", 1), 1)]);
    })
    .await;
    let mut feed = scene.feed().await;
    let (one, two) = (feed.registration().await, feed.registration().await);
    for request in [&one, &two] {
        feed.initialise(request).await;
        feed.resolved(5, &[request.region_id], 200 + request.region_id)
            .await;
    }
    assert!(scene.until_resolved(201).await.is_empty());
    feed.answers
        .send(Err(Status::unavailable("killed")))
        .await
        .unwrap();
    drop(feed);
    let mut feed = scene.feed().await;
    let mut stood = Vec::new();
    for _ in 0..2 {
        let request = feed.registration().await;
        stood.push((request.region_id, request.checkpoint_ts));
        feed.initialise(&request).await;
    }
    stood.sort_unstable();
    // Both had been told up to their own ts, unless the second message was lost with the stream.
    assert!(
        stood == [(1, 201), (2, 202)] || stood == [(1, 201), (2, 100)],
        "{stood:?}"
    );
    feed.resolved(5, &[1, 2], 300).await;
    assert!(scene.until_resolved(300).await.is_empty());
}

#[tokio::test]
async fn a_commit_without_its_prewrite_has_the_region_read_again() {
    let (mut scene, mut feed, request) = settled().await;
    feed.rows(&request, vec![row(Commit, "b", 210, 220)]).await;
    let gone = feed.deregistration().await;
    assert_eq!((gone.request_id, gone.region_id), (5, 1));
    // What is still on its way is not believed.
    feed.resolved(5, &[1], 250).await;
    feed.not_found(&request).await;
    let again = feed.registration().await;
    assert_eq!(again.checkpoint_ts, 200);
    feed.rows(&again, vec![row(Committed, "b", 210, 220)]).await;
    feed.initialise(&again).await;
    feed.resolved(5, &[1], 260).await;
    assert_eq!(scene.until_resolved(260).await, ["b"]);
    assert_eq!(scene.puller.stats().missing_prewrites, 1);
}

async fn failure(error: cdcpb::Error) -> PullError {
    let (mut scene, mut feed, request) = settled().await;
    feed.error(&request, error).await;
    let gone = feed.deregistration().await;
    assert_eq!((gone.request_id, gone.region_id), (5, 0));
    loop {
        if let PullEvent::Failed { span, error } = scene.event().await {
            assert_eq!(span, SpanId(5));
            return error;
        }
    }
}

#[tokio::test]
async fn fatal_errors_fail_the_span_with_a_reason() {
    let cluster_id_mismatch = Some(cdcpb::ClusterIdMismatch {
        current: 1,
        request: 77,
    });
    let error = failure(cdcpb::Error {
        cluster_id_mismatch,
        ..Default::default()
    })
    .await;
    assert_eq!(
        error.to_string(),
        "store 1 belongs to cluster 1, not to 77: check PD's endpoints"
    );
    let compatibility = Some(cdcpb::Compatibility {
        required_version: "6.2.0".into(),
    });
    let error = failure(cdcpb::Error {
        compatibility,
        ..Default::default()
    })
    .await;
    assert!(matches!(error, PullError::Incompatible { store: 1, .. }));
    let duplicate_request = Some(cdcpb::DuplicateRequest { region_id: 1 });
    let error = failure(cdcpb::Error {
        duplicate_request,
        ..Default::default()
    })
    .await;
    assert!(matches!(error, PullError::Duplicate { store: 1, region: 1 }));
}
