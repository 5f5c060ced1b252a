//! Nothing is lost, invented or late, whatever happens to regions, stores and locks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidemark_cluster::{Cluster, ClusterConfig};
use tidemark_model::{Span, Ts};
use tidemark_pull::{PullConfig, Puller};
use tidemark_workload::client::{CommitKind, Ending, Stores, Transaction, TransactionKind};

use crate::record::Record;
use crate::{PATIENCE, pd, put, quick, stores};

const KEYS: usize = 60;
/// Transactions that make a run mean something.
const ENOUGH: usize = 150;

fn keys() -> Vec<String> {
    (0..KEYS).map(|nth| format!("k{nth:02}")).collect()
}

async fn three_stores(seed: u64) -> Cluster {
    let config = ClusterConfig {
        stores: 3,
        split_keys: vec![b"k20".to_vec(), b"k40".to_vec()],
        seed,
        resolved_ts_interval: Duration::from_millis(50),
        election_timeout: Duration::from_millis(200),
        ..Default::default()
    };
    Cluster::start(config).await.unwrap()
}

/// Writes transactions of every kind until told to stop.
async fn write(stores: Stores, seed: u64, stop: Arc<AtomicBool>, done: Arc<AtomicUsize>) {
    let mut rng = StdRng::seed_from_u64(seed);
    while !stop.load(Ordering::Relaxed) {
        let commit = match rng.random_range(0..3) {
            0 => CommitKind::TwoPhase,
            1 => CommitKind::AsyncCommit,
            _ => CommitKind::OnePhase,
        };
        let pessimistic = rng.random_bool(0.3);
        let kind = TransactionKind {
            commit,
            pessimistic,
            lock_ttl_ms: 1000,
        };
        let Ok(mut txn) = Transaction::begin(&stores, kind).await else {
            continue;
        };
        for _ in 0..rng.random_range(1..6) {
            let key = format!("k{:02}", rng.random_range(0..KEYS));
            if rng.random_bool(0.15) {
                txn.delete(key);
            } else {
                txn.put(key, vec![rng.random_range(b'a'..=b'z'); rng.random_range(1..600)]);
            }
        }
        let ending = if rng.random_bool(0.1) {
            Ending::RollBack
        } else {
            Ending::Commit
        };
        // Conflicts and stores that have gone are part of the trouble.
        done.fetch_add(usize::from(txn.finish(ending).await.is_ok()), Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Runs writers against a puller of two spans while `trouble` happens, then compares.
async fn survives<F>(seed: u64, trouble: impl FnOnce(Cluster, StdRng) -> F)
where
    F: Future<Output = ()>,
{
    println!("seed {seed}");
    let cluster = three_stores(seed).await;
    let client = stores(&cluster).await;
    let pd = pd(&cluster).await;
    for key in ["k05", "k25", "k45"] {
        put(&client, key, "before").await;
    }
    let checkpoint = pd.tso().await.unwrap();
    let puller = Puller::new(pd.clone(), PullConfig { seed, ..quick() });
    let low = Record::new(&puller, 1, Span::new("k", "k33"), checkpoint);
    let high = Record::new(&puller, 2, Span::new("k33", "l"), checkpoint);
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let writers: Vec<_> = (0..3)
        .map(|nth| {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            tokio::spawn(write(client.clone(), seed * 10 + nth, stop, done))
        })
        .collect();
    trouble(cluster.clone(), StdRng::seed_from_u64(seed)).await;
    let enough = async {
        while done.load(Ordering::Relaxed) < ENOUGH {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, enough)
        .await
        .expect("enough is written in time");
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        tokio::time::timeout(PATIENCE, writer).await.unwrap().unwrap();
    }
    let written = done.load(Ordering::Relaxed);
    let end = pd.tso().await.unwrap();
    low.reaches(end).await;
    high.reaches(end).await;
    let versions = low.agrees(&client, &keys()).await + high.agrees(&client, &keys()).await;
    let repeated = low.repeated() + high.repeated();
    println!(
        "{written} transactions, {versions} versions, {repeated} repeated, {:?}",
        puller.stats()
    );
    assert!(
        versions > 50,
        "too little was written to mean anything: {versions}"
    );
    tokio::time::timeout(PATIENCE, puller.shutdown()).await.unwrap();
}

async fn pause(rng: &mut StdRng) {
    tokio::time::sleep(Duration::from_millis(rng.random_range(10..120))).await;
}

fn split_somewhere(cluster: &Cluster, rng: &mut StdRng) {
    // A key that is a bound already can't be split at.
    let _ = cluster.split(format!("k{:02}", rng.random_range(1..KEYS)).as_bytes());
}

fn merge_somewhere(cluster: &Cluster, rng: &mut StdRng) {
    let one = cluster.region_of(format!("k{:02}", rng.random_range(0..KEYS)).as_bytes());
    let regions = cluster.regions();
    let at = regions.iter().position(|region| region.id == one).unwrap();
    if let Some(next) = regions
        .get(at + 1)
        .filter(|next| !next.start.starts_with("72") && !next.start.starts_with("78"))
    {
        // Both may have changed meanwhile.
        let _ = cluster.merge(one, next.id);
    }
}

fn move_somewhere(cluster: &Cluster, rng: &mut StdRng) {
    let region = cluster.region_of(format!("k{:02}", rng.random_range(0..KEYS)).as_bytes());
    // A store that is down can't lead.
    let _ = cluster.move_leader(region, rng.random_range(1..4));
}

#[tokio::test]
async fn quiet_times() {
    survives(1, |_, _| tokio::time::sleep(Duration::from_secs(1))).await;
}

#[tokio::test]
async fn splits_and_merges() {
    survives(2, |cluster, mut rng| async move {
        for _ in 0..40 {
            if rng.random_bool(0.5) {
                split_somewhere(&cluster, &mut rng);
            } else {
                merge_somewhere(&cluster, &mut rng);
            }
            pause(&mut rng).await;
        }
    })
    .await;
}

#[tokio::test]
async fn leaders_that_move() {
    survives(3, |cluster, mut rng| async move {
        for _ in 0..40 {
            move_somewhere(&cluster, &mut rng);
            pause(&mut rng).await;
        }
    })
    .await;
}

#[tokio::test]
async fn stores_that_die_and_come_back() {
    survives(4, |cluster, mut rng| async move {
        for _ in 0..4 {
            let store = rng.random_range(1..4);
            cluster.kill_store(store).await.unwrap();
            tokio::time::sleep(Duration::from_millis(rng.random_range(100..800))).await;
            cluster.revive_store(store).await.unwrap();
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn streams_that_break_and_everything_at_once() {
    survives(5, |cluster, mut rng| async move {
        for _ in 0..60 {
            match rng.random_range(0..6) {
                0 => split_somewhere(&cluster, &mut rng),
                1 => merge_somewhere(&cluster, &mut rng),
                2 | 3 => move_somewhere(&cluster, &mut rng),
                4 => cluster
                    .stream_faults(rng.random_range(1..4))
                    .unwrap()
                    .drop_streams(),
                _ => {
                    let store = rng.random_range(1..4);
                    cluster.kill_store(store).await.unwrap();
                    pause(&mut rng).await;
                    cluster.revive_store(store).await.unwrap();
                }
            }
            pause(&mut rng).await;
        }
    })
    .await;
}

#[tokio::test]
async fn pd_that_is_away() {
    survives(6, |cluster, _| async move {
        cluster.kill_pd(0).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        cluster.revive_pd(0).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
    })
    .await;
}

#[tokio::test]
async fn abandoned_locks() {
    survives(7, |cluster, mut rng| async move {
        for _ in 0..6 {
            let key = |rng: &mut StdRng| format!("k{:02}", rng.random_range(0..KEYS)).into_bytes();
            let (primary, other) = (key(&mut rng), key(&mut rng));
            // Someone else's lock may be there.
            let _ = cluster.leave_lock(&primary, &[other], b"never", Duration::from_millis(300));
            pause(&mut rng).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_abandoned_lock_alone_is_resolved() {
    let cluster = three_stores(8).await;
    let pd = pd(&cluster).await;
    let client = stores(&cluster).await;
    let puller = Puller::new(pd.clone(), quick());
    let record = Record::new(&puller, 1, Span::new("k", "l"), pd.tso().await.unwrap());
    put(&client, "k10", "v").await;
    let locked = cluster
        .leave_lock(b"k11", &[b"k50".to_vec()], b"never", Duration::from_millis(500))
        .unwrap();
    record.reaches(pd.tso().await.unwrap()).await;
    assert!(record.resolved() > locked);
    assert_eq!(record.agrees(&client, &keys()).await, 1);
    assert!(puller.stats().locks_resolved >= 1);
}

#[tokio::test]
async fn a_silent_rollback_is_healed() {
    let cluster = three_stores(9).await;
    let pd = pd(&cluster).await;
    let client = stores(&cluster).await;
    let puller = Puller::new(pd.clone(), quick());
    let checkpoint = pd.tso().await.unwrap();
    let one = Record::new(&puller, 1, Span::new("k", "l"), checkpoint);
    let two = Record::new(&puller, 2, Span::new("k10", "k15"), checkpoint);
    put(&client, "k10", "v").await;
    one.reaches(pd.tso().await.unwrap()).await;
    let silent = cluster.silent_rollback(b"k12", b"v").unwrap();
    let end = pd.tso().await.unwrap();
    one.reaches(end).await;
    two.reaches(end).await;
    assert!(end > silent.ts);
    assert!(
        puller.stats().heals >= 1,
        "only a heal lets it go on: {:?}",
        puller.stats()
    );
    assert_eq!(one.agrees(&client, &keys()).await, 2);
    assert_eq!(two.agrees(&client, &keys()).await, 2);
}

#[tokio::test]
async fn a_new_puller_goes_on_from_a_checkpoint() {
    let cluster = three_stores(10).await;
    let pd = pd(&cluster).await;
    let client = stores(&cluster).await;
    let start = pd.tso().await.unwrap();
    let puller = Puller::new(pd.clone(), quick());
    let first = Record::new(&puller, 1, Span::new("k", "l"), start);
    for nth in 0..20 {
        put(&client, &format!("k{nth:02}"), "one").await;
    }
    first.reaches(pd.tso().await.unwrap()).await;
    let checkpoint = first.resolved();
    assert_eq!(first.agrees(&client, &keys()).await, 20);
    puller.shutdown().await;
    for nth in 10..30 {
        put(&client, &format!("k{nth:02}"), "two").await;
    }
    let puller = Puller::new(pd.clone(), quick());
    let second = Record::new(&puller, 1, Span::new("k", "l"), checkpoint);
    let again = Record::new(&puller, 2, Span::new("k", "l"), Ts(start.0 - 1));
    let end = pd.tso().await.unwrap();
    second.reaches(end).await;
    again.reaches(end).await;
    assert_eq!(second.agrees(&client, &keys()).await, 20);
    assert_eq!(again.agrees(&client, &keys()).await, 40);
}
