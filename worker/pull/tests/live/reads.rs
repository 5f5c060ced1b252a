//! Gets and scans at a ts, and the locks in their way.

use std::time::Duration;

use bytes::Bytes;
use tidemark_cluster::{Cluster, ClusterConfig};
use tidemark_model::{Span, Ts};
use tidemark_pull::{KvClient, KvConfig, KvError};
use tidemark_workload::client::{Abandon, CommitKind, Ending, Transaction, TransactionKind};

use crate::{pd, put, stores};

async fn three_regions() -> Cluster {
    let config = ClusterConfig {
        stores: 2,
        split_keys: vec![b"g".to_vec(), b"m".to_vec()],
        ..Default::default()
    };
    Cluster::start(config).await.unwrap()
}

#[tokio::test]
async fn a_scan_sees_all_regions_at_its_ts() {
    let cluster = three_regions().await;
    let stores = stores(&cluster).await;
    let pd = pd(&cluster).await;
    let kv = KvClient::new(pd.clone());
    for key in ["b", "h", "n"] {
        put(&stores, key, "one").await;
    }
    let at = pd.tso().await.unwrap();
    put(&stores, "h", "two").await;
    put(&stores, "i", "two").await;
    let span = Span::new("a", "z");
    let pair = |key: &'static str| (Bytes::from(key), Bytes::from("one"));
    assert_eq!(
        kv.scan(&span, at, 100).await.unwrap(),
        [pair("b"), pair("h"), pair("n")]
    );
    assert_eq!(kv.scan(&span, at, 2).await.unwrap(), [pair("b"), pair("h")]);
    assert_eq!(kv.get(b"h", at).await.unwrap(), Some("one".into()));
    assert_eq!(kv.get(b"i", at).await.unwrap(), None);
    // What is cached of the regions is wrong from here on.
    cluster.split(b"hh").unwrap();
    let region = cluster.region_of(b"b");
    let leader = cluster
        .regions()
        .iter()
        .find(|info| info.id == region)
        .unwrap()
        .leader;
    cluster.move_leader(region, 3 - leader.unwrap()).unwrap();
    let now = pd.tso().await.unwrap();
    let keys: Vec<Bytes> = kv
        .scan(&span, now, 100)
        .await
        .unwrap()
        .into_iter()
        .map(|pair| pair.0)
        .collect();
    assert_eq!(keys, ["b", "h", "i", "n"]);
    assert_eq!(kv.get(b"b", now).await.unwrap(), Some("one".into()));
}

#[tokio::test]
async fn more_pairs_than_a_page_come_whole() {
    let cluster = three_regions().await;
    let stores = stores(&cluster).await;
    let pd = pd(&cluster).await;
    let mut txn = Transaction::begin(&stores, TransactionKind::default())
        .await
        .unwrap();
    for nth in 0..1500 {
        txn.put(format!("f{nth:05}"), "v");
        txn.put(format!("k{nth:05}"), "v");
    }
    txn.finish(Ending::Commit).await.unwrap();
    let kv = KvClient::new(pd.clone());
    let pairs = kv
        .scan(&Span::new("a", "z"), pd.tso().await.unwrap(), usize::MAX)
        .await
        .unwrap();
    assert_eq!(pairs.len(), 3000);
    assert!(pairs.is_sorted());
}

#[tokio::test]
async fn locks_of_dead_transactions_are_resolved_as_they_ended() {
    let cluster = three_regions().await;
    let stores = stores(&cluster).await;
    let pd = pd(&cluster).await;
    let kv = KvClient::new(pd.clone());
    let span = Span::new("a", "z");
    for (commit, abandon, survives) in [
        (CommitKind::TwoPhase, Abandon::Prewritten, false),
        (CommitKind::TwoPhase, Abandon::PrimaryCommitted, true),
        (CommitKind::AsyncCommit, Abandon::Prewritten, true),
    ] {
        let kind = TransactionKind {
            commit,
            lock_ttl_ms: 50,
            ..Default::default()
        };
        let mut txn = Transaction::begin(&stores, kind).await.unwrap();
        let value = format!("{commit:?} {abandon:?}");
        for key in ["b", "h", "n"] {
            txn.put(key, value.clone());
        }
        // The outcome of an abandoned transaction is what the reads below find.
        let _ = txn.finish(Ending::Abandon(abandon)).await.unwrap();
        let at = pd.tso().await.unwrap();
        let found = kv.scan(&span, at, 10).await.unwrap();
        let with_value = found.iter().filter(|pair| pair.1 == value).count();
        assert_eq!(with_value, if survives { 3 } else { 0 }, "{value}: {found:?}");
        assert!(
            cluster.regions().iter().all(|region| region.locks == 0),
            "{value}: locks are gone"
        );
    }
}

#[tokio::test]
async fn a_live_transaction_does_not_hold_a_read_up() {
    let cluster = three_regions().await;
    let stores = stores(&cluster).await;
    let pd = pd(&cluster).await;
    put(&stores, "b", "old").await;
    cluster
        .leave_lock(b"b", &[b"h".to_vec()], b"new", Duration::from_secs(3600))
        .unwrap();
    let config = KvConfig {
        deadline: Duration::from_secs(10),
        ..Default::default()
    };
    let kv = KvClient::with_config(pd.clone(), config);
    // Its commit ts is pushed above the read, so it can be passed by.
    let at = pd.tso().await.unwrap();
    assert_eq!(kv.get(b"b", at).await.unwrap(), Some("old".into()));
    assert_eq!(kv.scan(&Span::new("a", "z"), at, 10).await.unwrap().len(), 1);
    // A sweep in the name of a stuck region pushes nothing and resolves nothing.
    let sweep = kv.sweep_locks(&Span::new("a", "z"), at).await.unwrap();
    assert_eq!((sweep.found, sweep.resolved), (2, 0));
    assert!(sweep.oldest_live.is_some_and(|start_ts| start_ts < at));
}

#[tokio::test]
async fn a_sweep_resolves_expired_locks() {
    let cluster = three_regions().await;
    let pd = pd(&cluster).await;
    let others: Vec<Vec<u8>> = (0..40).map(|nth| format!("k{nth}").into_bytes()).collect();
    cluster
        .leave_lock(b"b", &others, b"v", Duration::from_millis(1))
        .unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let kv = KvClient::new(pd.clone());
    let sweep = kv
        .sweep_locks(&Span::new("a", "z"), pd.tso().await.unwrap())
        .await
        .unwrap();
    assert_eq!((sweep.found, sweep.resolved, sweep.oldest_live), (41, 41, None));
    assert!(cluster.regions().iter().all(|region| region.locks == 0));
}

#[tokio::test]
async fn a_sweep_finds_regions_again_that_have_split() {
    let cluster = three_regions().await;
    let pd = pd(&cluster).await;
    let kv = KvClient::new(pd.clone());
    let at = pd.tso().await.unwrap();
    // Now the client knows all regions, each of which it will find changed.
    kv.sweep_locks(&Span::new("a", "z"), at).await.unwrap();
    for key in ["c", "j", "q"] {
        cluster.split(key.as_bytes()).unwrap();
    }
    let others: Vec<Vec<u8>> = ["d", "h", "k", "n", "r"]
        .map(|key| key.as_bytes().to_vec())
        .into();
    cluster
        .leave_lock(b"b", &others, b"v", Duration::from_millis(1))
        .unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let at = pd.tso().await.unwrap();
    let sweep = kv.sweep_locks(&Span::new("a", "z"), at).await.unwrap();
    assert_eq!(sweep.oldest_live, None);
    assert!(cluster.regions().iter().all(|region| region.locks == 0));
}

#[tokio::test]
async fn a_read_without_a_store_ends_at_its_deadline() {
    let cluster = three_regions().await;
    let pd = pd(&cluster).await;
    for store in cluster.stores() {
        cluster.kill_store(store).await.unwrap();
    }
    let config = KvConfig {
        deadline: Duration::from_millis(500),
        ..Default::default()
    };
    let kv = KvClient::with_config(pd, config);
    let error = kv.get(b"b", Ts(1 << 50)).await.unwrap_err();
    assert!(matches!(error, KvError::Deadline { .. }), "{error:?}");
}
