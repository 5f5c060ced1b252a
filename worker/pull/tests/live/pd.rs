//! The PD client.

use std::collections::HashSet;
use std::time::Duration;

use tidemark_cluster::{Cluster, ClusterConfig};
use tidemark_model::{Span, Ts};
use tidemark_pull::{PdClient, PdError};

use crate::{PATIENCE, pd};

#[tokio::test]
async fn another_cluster_is_refused() {
    let cluster = Cluster::start(ClusterConfig::default()).await.unwrap();
    let wrong = cluster.cluster_id() + 1;
    let error = PdClient::connect(&cluster.pd_endpoints(), None, Some(wrong), PATIENCE)
        .await
        .unwrap_err();
    match error {
        PdError::WrongCluster { expected, actual } => {
            assert_eq!(
                (expected, actual),
                (wrong.to_string(), cluster.cluster_id().to_string())
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_unreachable_pd_is_named() {
    let gone = ["http://127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned()];
    let error = PdClient::connect(&gone, None, None, Duration::from_millis(500))
        .await
        .unwrap_err();
    assert!(matches!(&error, PdError::Unreachable { .. }), "{error:?}");
    assert!(
        error.to_string().contains("http://127.0.0.1:1, 127.0.0.1:2"),
        "{error}"
    );
    assert!(matches!(
        PdClient::connect(&[], None, None, PATIENCE).await.unwrap_err(),
        PdError::NoEndpoint
    ));
}

#[tokio::test]
async fn one_live_endpoint_is_enough() {
    let cluster = Cluster::start(ClusterConfig::default()).await.unwrap();
    let mut endpoints = vec!["http://127.0.0.1:1".to_owned()];
    endpoints.extend(cluster.pd_endpoints());
    let pd = PdClient::connect(&endpoints, None, None, PATIENCE).await.unwrap();
    assert_eq!(pd.cluster_id(), cluster.cluster_id());
}

#[tokio::test]
async fn timestamps_are_unique_and_rise_also_across_leaders() {
    let cluster = Cluster::start(ClusterConfig {
        pd_members: 3,
        ..Default::default()
    })
    .await
    .unwrap();
    let pd = pd(&cluster).await;
    let mut all = HashSet::new();
    let mut highest = Ts::ZERO;
    for round in 0..6 {
        match round {
            2 => cluster.set_pd_leader(1).unwrap(),
            4 => cluster.kill_pd(1).await.unwrap(),
            _ => {}
        }
        let asked = (0..100).map(|_| {
            let pd = pd.clone();
            tokio::spawn(async move { pd.tso().await.unwrap() })
        });
        let got = futures::future::join_all(asked).await;
        let got: Vec<Ts> = got.into_iter().map(Result::unwrap).collect();
        assert!(got.iter().all(|ts| *ts > highest), "later ones are higher");
        highest = got.iter().copied().max().unwrap();
        all.extend(got);
        // Other calls follow the leader too.
        pd.gc_safe_point().await.unwrap();
    }
    assert_eq!(all.len(), 600);
}

#[tokio::test]
async fn regions_and_stores_are_found() {
    let config = ClusterConfig {
        stores: 3,
        split_keys: vec![b"g".to_vec(), b"m".to_vec()],
        ..Default::default()
    };
    let cluster = Cluster::start(config).await.unwrap();
    let pd = pd(&cluster).await;
    let stores = pd.stores().await.unwrap();
    assert_eq!(
        stores.iter().map(|store| store.id).collect::<Vec<_>>(),
        cluster.stores()
    );
    assert_eq!(
        pd.store(1).await.unwrap().address,
        cluster.store_address(1).unwrap()
    );
    assert!(pd.store(99).await.is_err());
    let found = pd
        .regions(&[Span::new("a", "b"), Span::new("h", "n")], 0)
        .await
        .unwrap();
    let starts: Vec<_> = found.iter().map(|region| region.span.start.clone()).collect();
    assert_eq!(starts, ["", "g", "m"]);
    let limited = pd
        .regions(&[Span::new("a", "b"), Span::new("h", "n")], 2)
        .await
        .unwrap();
    assert_eq!(limited.len(), 2);
    let all = pd.regions(&[Span::new("", "")], 0).await.unwrap();
    assert!(all.windows(2).all(|pair| pair[0].span.end == pair[1].span.start));
    assert!(all.first().unwrap().span.start.is_empty() && all.last().unwrap().span.end.is_empty());
    assert_eq!(
        pd.region_of(b"h").await.unwrap().unwrap().id,
        cluster.region_of(b"h")
    );
}

#[tokio::test]
async fn a_service_safe_point_holds_history_and_says_when_it_comes_too_late() {
    let cluster = Cluster::start(ClusterConfig::default()).await.unwrap();
    let pd = pd(&cluster).await;
    let mine = pd.tso().await.unwrap();
    let least = pd
        .set_service_safe_point("feed-1", Duration::from_secs(3600), mine)
        .await
        .unwrap();
    assert!(least <= mine);
    let later = pd.tso().await.unwrap();
    cluster.advance_gc_safe_point(later);
    assert_eq!(pd.gc_safe_point().await.unwrap(), mine);
    pd.delete_service_safe_point("feed-1").await.unwrap();
    pd.delete_service_safe_point("feed-1").await.unwrap();
    cluster.advance_gc_safe_point(later);
    assert_eq!(pd.gc_safe_point().await.unwrap(), later);
    let least = pd
        .set_service_safe_point("feed-2", Duration::from_secs(3600), mine)
        .await
        .unwrap();
    assert!(least > mine, "the caller can see that history is gone");
}
