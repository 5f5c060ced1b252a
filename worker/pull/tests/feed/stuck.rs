//! Regions that don't move.

use std::time::Duration;

use tidemark_model::{Span, SpanId, Ts};
use tidemark_pull::{PullConfig, SlowReason};

use crate::fake::PATIENCE;
use crate::{Scene, quick};

#[tokio::test]
async fn a_region_stuck_without_a_lock_ends_all_subscriptions_before_it_begins_one() {
    let config = PullConfig {
        streams_per_store: 2,
        ..quick()
    };
    let mut scene = Scene::new(config, |_| {}).await;
    let mut one = scene.feed().await;
    let first = one.registration().await;
    scene
        .puller
        .subscribe(SpanId(6), Span::new("b", "c"), Ts(100), scene.sender.clone());
    let mut two = scene.feed().await;
    let second = two.registration().await;
    one.initialise(&first).await;
    two.initialise(&second).await;
    // PD's time runs far ahead of the regions'.
    one.resolved(5, &[1], 200).await;
    two.resolved(6, &[1], 200).await;
    let gone = one.deregistration().await;
    assert_eq!((gone.request_id, gone.region_id), (5, 1));
    let gone = two.deregistration().await;
    assert_eq!((gone.request_id, gone.region_id), (6, 1));
    one.not_found(&first).await;
    one.stays_quiet(Duration::from_millis(200)).await;
    two.not_found(&second).await;
    // Which stream takes which is free.
    let again = tokio::time::timeout(PATIENCE, async {
        tokio::join!(one.registration(), two.registration())
    });
    let (a, b) = again.await.unwrap();
    let mut requests = [a.request_id, b.request_id];
    requests.sort_unstable();
    assert_eq!((requests, a.checkpoint_ts, b.checkpoint_ts), ([5, 6], 200, 200));
    assert!(scene.puller.stats().heals >= 1);
    let scans = scene.fake.state.lock().lock_scans.clone();
    assert!(
        scans.len() >= 2
            && scans
                .iter()
                .all(|scan| scan.start_key >= "a" && scan.max_version > 200)
    );
}

#[tokio::test]
async fn a_stuck_region_is_reported() {
    let config = PullConfig {
        heal_after_checks: 1000,
        slow_after: Duration::from_millis(1),
        ..quick()
    };
    let mut scene = Scene::new(config, |_| {}).await;
    let mut feed = scene.feed().await;
    let request = feed.registration().await;
    let wait = async |reason: fn(&SlowReason) -> bool| {
        let seen = async {
            loop {
                let slow = scene.puller.stats().slow_regions;
                if slow.first().is_some_and(|slow| reason(&slow.reason)) {
                    return slow;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.unwrap()
    };
    wait(|reason| *reason == SlowReason::Scanning).await;
    feed.initialise(&request).await;
    feed.resolved(5, &[1], 200).await;
    let slow = wait(|reason| *reason == SlowReason::StuckWithoutLock).await;
    assert_eq!((slow[0].region, slow[0].store, slow[0].span), (1, 1, SpanId(5)));
    assert_eq!(slow[0].resolved, Ts(200));
}
