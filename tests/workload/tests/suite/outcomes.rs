//! Every kind of transaction ends as it says, and leaves what it says.

use std::time::Duration;

use tidemark_cluster::{Cluster, ClusterConfig};
use tidemark_workload::client::{
    Abandon, CommitKind, Ending, Outcome, Pd, Stores, Transaction, TransactionKind, Version,
};
use tidemark_workload::{Workload, WorkloadConfig};

const KINDS: [CommitKind; 3] = [
    CommitKind::TwoPhase,
    CommitKind::AsyncCommit,
    CommitKind::OnePhase,
];

async fn stores(cluster: &Cluster) -> Stores {
    Stores::new(Pd::connect(&cluster.pd_endpoints()).await.expect("PD answers"))
}

fn key(name: &str, index: usize) -> Vec<u8> {
    format!("plain/{name}/{index}").into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_have_the_ts_that_they_report() {
    // Keys of one transaction lie in several regions.
    let config = ClusterConfig {
        stores: 2,
        split_keys: (0..3).map(|index| key("k", index)).collect(),
        ..ClusterConfig::default()
    };
    let cluster = Cluster::start(config).await.unwrap();
    let stores = stores(&cluster).await;
    let mut expected: Vec<Version> = Vec::new();
    for round in 0..20_usize {
        let kind = TransactionKind {
            commit: KINDS[round % 3],
            pessimistic: round % 2 == 0,
            ..TransactionKind::default()
        };
        let mut txn = Transaction::begin(&stores, kind).await.unwrap();
        let start_ts = txn.start_ts();
        let value = (round % 5 != 4).then(|| bytes::Bytes::from(format!("round {round}")));
        for index in 0..4 {
            match &value {
                Some(value) => txn.put(key("k", index), value.clone()),
                None => txn.delete(key("k", index)),
            }
        }
        let Outcome::Committed(commit_ts) = txn.finish(Ending::Commit).await.unwrap() else {
            panic!("round {round} is refused");
        };
        expected.insert(
            0,
            Version {
                start_ts,
                commit_ts,
                value,
            },
        );
        let read = stores.snapshot(commit_ts - 1).get(&key("k", 0)).await.unwrap();
        assert_eq!(
            read,
            expected.get(1).and_then(|before| before.value.clone()),
            "before round {round}"
        );
    }
    for index in 0..4 {
        assert_eq!(stores.versions(&key("k", index)).await.unwrap(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_left_behind_resolves_to_its_outcome() {
    let config = ClusterConfig {
        split_keys: vec![key("left", 2)],
        ..ClusterConfig::default()
    };
    let cluster = Cluster::start(config).await.unwrap();
    let stores = stores(&cluster).await;
    for commit in [CommitKind::TwoPhase, CommitKind::AsyncCommit] {
        for pessimistic in [false, true] {
            for ending in [
                Ending::RollBack,
                Ending::Abandon(Abandon::Prewritten),
                Ending::Abandon(Abandon::PrimaryCommitted),
            ] {
                let place = format!("{commit:?}, pessimistic {pessimistic}, {ending:?}");
                let kind = TransactionKind {
                    commit,
                    pessimistic,
                    lock_ttl_ms: 200,
                };
                let mut txn = Transaction::begin(&stores, kind).await.unwrap();
                let start_ts = txn.start_ts();
                for index in 0..4 {
                    txn.put(key("left", index), place.clone());
                }
                let outcome = txn.finish(ending).await.unwrap();
                let effective = match (commit, ending) {
                    (_, Ending::RollBack) => false,
                    (CommitKind::AsyncCommit, _) => true,
                    (_, ending) => ending == Ending::Abandon(Abandon::PrimaryCommitted),
                };
                assert_eq!(matches!(outcome, Outcome::Committed(_)), effective, "{place}");
                tokio::time::sleep(Duration::from_millis(210)).await;
                stores.resolve_range(b"plain/", b"plain0").await.unwrap();
                for index in 0..4 {
                    let versions = stores.versions(&key("left", index)).await.unwrap();
                    let own = versions.iter().find(|version| version.start_ts == start_ts);
                    let committed = own.map(|version| Outcome::Committed(version.commit_ts));
                    assert_eq!(committed, effective.then(|| outcome.clone()), "{place}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_to_commit_wins() {
    let cluster = Cluster::start(ClusterConfig::default()).await.unwrap();
    let stores = stores(&cluster).await;
    let mut loser = Transaction::begin(&stores, TransactionKind::default())
        .await
        .unwrap();
    let mut winner = Transaction::begin(&stores, TransactionKind::default())
        .await
        .unwrap();
    loser.put(key("race", 1), "loser");
    winner.put(key("race", 1), "winner");
    assert!(matches!(
        winner.finish(Ending::Commit).await.unwrap(),
        Outcome::Committed(_)
    ));
    assert!(matches!(
        loser.finish(Ending::Commit).await.unwrap(),
        Outcome::RolledBack(_)
    ));
    let now = stores.pd().timestamp().await.unwrap();
    assert_eq!(
        stores.snapshot(now).get(&key("race", 1)).await.unwrap().unwrap(),
        "winner"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_thirty_megabytes_commits_at_once() {
    let cluster = Cluster::start(ClusterConfig::default()).await.unwrap();
    let config = WorkloadConfig {
        bank_accounts: 0,
        mixed_tables: false,
        ..WorkloadConfig::default()
    };
    let workload = Workload::create(&cluster.pd_endpoints(), config).await.unwrap();
    let commit_ts = workload.large_transaction(3000, 30 << 20).await.unwrap();
    let rows = workload.truth().rows();
    assert_eq!(rows.len(), 3000);
    assert!(
        rows.iter()
            .all(|row| row.commit_ts == commit_ts && row.start_ts == rows[0].start_ts)
    );
    let texts = rows
        .iter()
        .flat_map(|row| row.row.values().flatten())
        .map(|text| text.chars().count());
    assert!(texts.sum::<usize>() > 25 << 20, "about thirty megabytes");
}
