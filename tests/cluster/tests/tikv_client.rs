//! The official Rust client runs its transactions on the embedded cluster.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test crate.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tidemark_cluster::{Cluster, ClusterConfig};
use tidemark_proto::kvrpcpb;
use tidemark_proto::tikvpb::tikv_client::TikvClient;
use tikv_client::{CheckLevel, RawClient, Transaction, TransactionClient, TransactionOptions};
use tonic::transport::Endpoint;

/// Three stores; the region of plain keys is cut in three.
async fn cluster() -> Cluster {
    let config = ClusterConfig {
        stores: 3,
        split_keys: vec![b"k10".to_vec(), b"k20".to_vec()],
        election_timeout: Duration::from_millis(100),
        ..Default::default()
    };
    Cluster::start(config).await.unwrap()
}

async fn client(cluster: &Cluster) -> TransactionClient {
    TransactionClient::new(cluster.pd_endpoints()).await.unwrap()
}

fn key(number: u32) -> Vec<u8> {
    format!("k{number:02}").into_bytes()
}

fn kinds() -> [(&'static str, TransactionOptions); 5] {
    [
        ("optimistic", TransactionOptions::new_optimistic()),
        (
            "optimistic, async commit",
            TransactionOptions::new_optimistic().use_async_commit(),
        ),
        (
            "optimistic, 1PC",
            TransactionOptions::new_optimistic().try_one_pc(),
        ),
        ("pessimistic", TransactionOptions::new_pessimistic()),
        (
            "pessimistic, async commit",
            TransactionOptions::new_pessimistic().use_async_commit(),
        ),
    ]
}

async fn read_all(client: &TransactionClient) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut txn = client
        .begin_with_options(TransactionOptions::new_optimistic().read_only())
        .await
        .unwrap();
    let pairs = txn.scan(key(0)..key(99), 1000).await.unwrap();
    pairs.map(|pair| (pair.0.into(), pair.1)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_transaction_commits_over_several_regions() {
    let cluster = cluster().await;
    let client = client(&cluster).await;
    for (name, options) in kinds() {
        let mut txn = client.begin_with_options(options.clone()).await.unwrap();
        for number in (0..30).step_by(3) {
            txn.put(key(number), name.as_bytes().to_vec()).await.unwrap();
        }
        txn.commit().await.unwrap();
        let mut txn = client.begin_with_options(options).await.unwrap();
        assert_eq!(
            txn.get(key(27)).await.unwrap().as_deref(),
            Some(name.as_bytes()),
            "{name}"
        );
        txn.delete(key(0)).await.unwrap();
        txn.insert(key(1), b"new".to_vec()).await.unwrap();
        txn.commit().await.unwrap();
        let found = read_all(&client).await;
        assert_eq!(found.len(), 10, "{name}: {found:?}");
        assert_eq!(found[0], (key(1), b"new".to_vec()), "{name}");
        assert!(
            found[1..].iter().all(|(_, value)| value == name.as_bytes()),
            "{name}: {found:?}"
        );
        let mut txn = client.begin_optimistic().await.unwrap();
        txn.delete(key(1)).await.unwrap();
        txn.commit().await.unwrap();
    }
    unlocked(&cluster).await;
}

/// Waits until no lock is left, also where the client commits behind its answer.
async fn unlocked(cluster: &Cluster) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while cluster.regions().iter().any(|region| region.locks > 0) {
        assert!(
            Instant::now() < deadline,
            "locks are left: {:?}",
            cluster.regions()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scans_go_both_ways_over_region_bounds() {
    let cluster = cluster().await;
    let client = client(&cluster).await;
    let mut txn = client.begin_optimistic().await.unwrap();
    for number in 0..30 {
        txn.put(key(number), vec![u8::try_from(number).unwrap()])
            .await
            .unwrap();
    }
    txn.commit().await.unwrap();
    let mut txn = client
        .begin_with_options(TransactionOptions::new_optimistic().read_only())
        .await
        .unwrap();
    let forward: Vec<Vec<u8>> = txn
        .scan_keys(key(5)..key(25), 1000)
        .await
        .unwrap()
        .map(Into::into)
        .collect();
    assert_eq!(forward, (5..25).map(key).collect::<Vec<_>>());
    let limited: Vec<Vec<u8>> = txn
        .scan_keys(key(5)..key(25), 12)
        .await
        .unwrap()
        .map(Into::into)
        .collect();
    assert_eq!(limited, (5..17).map(key).collect::<Vec<_>>());
    let backward: Vec<Vec<u8>> = txn
        .scan_keys_reverse(key(5)..key(25), 1000)
        .await
        .unwrap()
        .map(Into::into)
        .collect();
    assert_eq!(backward, (5..25).rev().map(key).collect::<Vec<_>>());
    let some = txn.batch_get([key(3), key(13), key(77)]).await.unwrap().count();
    assert_eq!(some, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_keeps_its_time() {
    let cluster = cluster().await;
    let client = client(&cluster).await;
    write(&client, &[(1, "before")]).await;
    let mut old = client
        .begin_with_options(TransactionOptions::new_optimistic().read_only())
        .await
        .unwrap();
    write(&client, &[(1, "after")]).await;
    assert_eq!(old.get(key(1)).await.unwrap().unwrap(), b"before");
    assert_eq!(read_all(&client).await, [(key(1), b"after".to_vec())]);
}

async fn write(client: &TransactionClient, pairs: &[(u32, &str)]) {
    let mut txn = client.begin_optimistic().await.unwrap();
    for (number, value) in pairs {
        txn.put(key(*number), value.as_bytes().to_vec()).await.unwrap();
    }
    txn.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_optimistic_writers_the_second_fails() {
    let cluster = cluster().await;
    let client = client(&cluster).await;
    let options = TransactionOptions::new_optimistic().drop_check(CheckLevel::None);
    let mut first = client.begin_with_options(options.clone()).await.unwrap();
    let mut second = client.begin_with_options(options).await.unwrap();
    first.put(key(1), b"first".to_vec()).await.unwrap();
    second.put(key(1), b"second".to_vec()).await.unwrap();
    second.put(key(21), b"second".to_vec()).await.unwrap();
    first.commit().await.unwrap();
    let error = second.commit().await.unwrap_err();
    assert!(format!("{error:?}").contains("conflict"), "{error:?}");
    second.rollback().await.ok();
    assert_eq!(read_all(&client).await, [(key(1), b"first".to_vec())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pessimistic_writer_waits_for_the_lock_and_sees_the_newest_value() {
    let cluster = cluster().await;
    let client = client(&cluster).await;
    write(&client, &[(5, "0")]).await;
    let add = |client: TransactionClient| async move {
        loop {
            let options = TransactionOptions::new_pessimistic().drop_check(CheckLevel::None);
            let mut txn: Transaction = client.begin_with_options(options).await.unwrap();
            let Ok(Some(value)) = txn.get_for_update(key(5)).await else {
                txn.rollback().await.ok();
                continue;
            };
            let number: u32 = String::from_utf8(value).unwrap().parse().unwrap();
            txn.put(key(5), (number + 1).to_string().into_bytes())
                .await
                .unwrap();
            if txn.commit().await.is_ok() {
                return;
            }
        }
    };
    let tasks: Vec<_> = (0..8).map(|_| tokio::spawn(add(client.clone()))).collect();
    for task in tasks {
        tokio::time::timeout(Duration::from_secs(60), task)
            .await
            .unwrap()
            .unwrap();
    }
    assert_eq!(read_all(&client).await, [(key(5), b"8".to_vec())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_of_a_key_that_exists_is_refused() {
    let cluster = cluster().await;
    let client = client(&cluster).await;
    write(&client, &[(5, "there")]).await;
    let options = TransactionOptions::new_optimistic().drop_check(CheckLevel::None);
    let mut txn = client.begin_with_options(options).await.unwrap();
    txn.insert(key(5), b"twice".to_vec()).await.unwrap();
    let error = txn.commit().await.unwrap_err();
    assert!(format!("{error:?}").contains("already_exist"), "{error:?}");
    txn.rollback().await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_transaction_is_rolled_back_by_its_reader() {
    let cluster = cluster().await;
    let client = client(&cluster).await;
    write(&client, &[(5, "old"), (15, "old")]).await;
    unlocked(&cluster).await;
    cluster
        .leave_lock(&key(5), &[key(15)], b"never", Duration::from_millis(300))
        .unwrap();
    assert_eq!(
        cluster.regions().iter().map(|region| region.locks).sum::<usize>(),
        2
    );
    let mut txn = client.begin_optimistic().await.unwrap();
    let value = tokio::time::timeout(Duration::from_secs(60), txn.get(key(15)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(value.as_deref(), Some(&b"old"[..]));
    let value = tokio::time::timeout(Duration::from_secs(60), txn.get(key(5)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(value.as_deref(), Some(&b"old"[..]));
    txn.rollback().await.unwrap();
    assert_eq!(
        cluster.regions().iter().map(|region| region.locks).sum::<usize>(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn splits_merges_and_leader_moves_in_mid_traffic_lose_nothing() {
    let cluster = cluster().await;
    let client = client(&cluster).await;
    let writer = tokio::spawn({
        let client = client.clone();
        async move {
            for round in 0..30_u32 {
                let mut txn = client.begin_optimistic().await.unwrap();
                for number in (round % 3..30).step_by(3) {
                    txn.put(key(number), round.to_string().into_bytes())
                        .await
                        .unwrap();
                }
                txn.commit().await.unwrap();
            }
        }
    });
    for number in [5, 15, 25] {
        let (low, high) = cluster.split(&key(number)).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        for region in [low, high] {
            let info = cluster
                .regions()
                .into_iter()
                .find(|info| info.id == region)
                .unwrap();
            let other = info
                .stores
                .iter()
                .find(|store| Some(**store) != info.leader)
                .unwrap();
            cluster.move_leader(region, *other).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        cluster.merge(low, high).unwrap();
    }
    tokio::time::timeout(Duration::from_secs(60), writer)
        .await
        .unwrap()
        .unwrap();
    let found = read_all(&client).await;
    let expected: Vec<_> = (0..30)
        .map(|number| (key(number), (27 + number % 3).to_string().into_bytes()))
        .collect();
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_store_hands_its_regions_over_and_may_come_back() {
    let cluster = cluster().await;
    let client = client(&cluster).await;
    write(&client, &[(5, "a"), (15, "a"), (25, "a")]).await;
    let victim = cluster
        .regions()
        .iter()
        .find(|region| region.id == cluster.region_of(&key(15)))
        .unwrap()
        .leader
        .unwrap();
    cluster.kill_store(victim).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let options = TransactionOptions::new_optimistic().drop_check(CheckLevel::None);
        let mut txn = client.begin_with_options(options).await.unwrap();
        for number in [5, 15, 25] {
            txn.put(key(number), b"b".to_vec()).await.unwrap();
        }
        match txn.commit().await {
            Ok(_) => break,
            Err(error) => assert!(Instant::now() < deadline, "{error:?}"),
        }
        txn.rollback().await.ok();
    }
    cluster.revive_store(victim).await.unwrap();
    let moved = cluster.region_of(&key(15));
    cluster.move_leader(moved, victim).unwrap();
    let found = tokio::time::timeout(Duration::from_secs(60), read_all(&client))
        .await
        .unwrap();
    assert_eq!(found.iter().filter(|(_, value)| value == b"b").count(), 3);
}

/// By hand: the client copies the whole transaction for each 16 KB that it sends.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_thirty_megabytes_commits() {
    let cluster = cluster().await;
    let big = |number: usize| Bytes::from(format!("k1{number:06}"));
    let region = cluster.region_of(&big(0));
    let leader = cluster
        .regions()
        .iter()
        .find(|info| info.id == region)
        .unwrap()
        .leader
        .unwrap();
    let meta = cluster.handle(leader).leader_region(region).unwrap();
    let context = kvrpcpb::Context {
        region_id: region,
        region_epoch: meta.region_epoch,
        peer: meta.peers.iter().find(|peer| peer.store_id == leader).cloned(),
        ..Default::default()
    };
    let address = format!("http://{}", cluster.store_address(leader).unwrap());
    let channel = Endpoint::from_shared(address).unwrap().connect().await.unwrap();
    let mut tikv = TikvClient::new(channel);
    let start_ts = cluster.now().0;
    let value = Bytes::from(vec![7; 1000]);
    for chunk in 0..3 {
        let mutations = (chunk * 10_000..(chunk + 1) * 10_000).map(|number| kvrpcpb::Mutation {
            key: big(number),
            value: value.clone(),
            ..Default::default()
        });
        let request = kvrpcpb::PrewriteRequest {
            context: Some(context.clone()),
            mutations: mutations.collect(),
            primary_lock: big(0),
            start_version: start_ts,
            lock_ttl: 60_000,
            txn_size: 30_000,
            ..Default::default()
        };
        let response = tikv.kv_prewrite(request).await.unwrap().into_inner();
        assert!(response.region_error.is_none() && response.errors.is_empty());
    }
    let request = kvrpcpb::CommitRequest {
        context: Some(context),
        start_version: start_ts,
        keys: (0..30_000).map(big).collect(),
        commit_version: cluster.now().0,
        ..Default::default()
    };
    let response = tikv.kv_commit(request).await.unwrap().into_inner();
    assert!(response.region_error.is_none() && response.error.is_none());
    let client = client(&cluster).await;
    let mut txn = client
        .begin_with_options(TransactionOptions::new_optimistic().read_only())
        .await
        .unwrap();
    let mut pairs = txn.scan(b"k1".to_vec()..b"k2".to_vec(), 2000).await.unwrap();
    assert!(pairs.all(|pair| pair.1 == value[..]));
    let info = cluster
        .regions()
        .into_iter()
        .find(|info| info.id == region)
        .unwrap();
    assert_eq!((info.keys, info.locks), (30_000, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_values_work() {
    let cluster = cluster().await;
    let raw = RawClient::new(cluster.pd_endpoints()).await.unwrap();
    raw.batch_put((0..30).map(|number| (key(number), key(number))))
        .await
        .unwrap();
    assert_eq!(raw.get(key(17)).await.unwrap(), Some(key(17)));
    raw.delete(key(17)).await.unwrap();
    raw.delete_range(key(20)..key(25)).await.unwrap();
    let keys: Vec<Vec<u8>> = raw
        .scan_keys(key(15)..key(99), 1000)
        .await
        .unwrap()
        .into_iter()
        .map(Into::into)
        .collect();
    let expected: Vec<_> = (15..30)
        .filter(|number| *number != 17 && !(20..25).contains(number))
        .map(key)
        .collect();
    assert_eq!(keys, expected);
    let raw = raw.with_atomic_for_cas();
    let (previous, swapped) = raw
        .compare_and_swap(key(1), Some(b"other".to_vec()), b"new".to_vec())
        .await
        .unwrap();
    assert_eq!((previous, swapped), (Some(key(1)), false));
    let (_, swapped) = raw
        .compare_and_swap(key(1), Some(key(1)), b"new".to_vec())
        .await
        .unwrap();
    assert!(swapped);
    assert_eq!(raw.get(key(1)).await.unwrap(), Some(b"new".to_vec()));
}
