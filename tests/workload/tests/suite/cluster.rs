//! The workload on the embedded cluster: what it says is committed is what the cluster holds.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use tidemark_cluster::{Cluster, ClusterConfig};
use tidemark_judge::{TruthOp, TruthRow};
use tidemark_tidb::schema::TableInfo;
use tidemark_tidb::{RowKey, Table, Value};
use tidemark_workload::encode::{meta_field, record_range};
use tidemark_workload::{KvConfig, KvWorkload, TransactionMix, Workload, WorkloadConfig, WorkloadTable};

use crate::canonical;

async fn cluster(stores: usize) -> Cluster {
    let config = ClusterConfig {
        stores,
        ..ClusterConfig::default()
    };
    Cluster::start(config).await.expect("the cluster starts")
}

fn small(seed: u64) -> WorkloadConfig {
    WorkloadConfig {
        seed,
        bank_accounts: 20,
        initial_rows: 5,
        ..WorkloadConfig::default()
    }
}

async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let began = Instant::now();
    while !reached() {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{what} within a minute"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A table's definition as the cluster's metadata has it at a ts.
async fn definition(workload: &Workload, table: &WorkloadTable, ts: u64) -> Table {
    let snapshot = workload.stores().snapshot(ts);
    let databases = snapshot.scan(b"m", b"n").await.unwrap();
    let field = format!("Table:{}", table.id);
    let found = (1..1000).find_map(|database| {
        let key = meta_field(&format!("DB:{database}"), field.as_bytes());
        databases.iter().find(|(known, _)| known[..] == key[..])
    });
    let info: TableInfo = serde_json::from_slice(&found.expect("the table is in the metadata").1).unwrap();
    Table::from_info(&table.schema, &info).unwrap()
}

type Texts = BTreeMap<String, Option<String>>;

/// The rows of a table at a ts by the cluster, decoded by the product.
async fn rows_at(workload: &Workload, table: &WorkloadTable, ts: u64) -> Vec<Texts> {
    let definition = definition(workload, table, ts).await;
    let mut rows = Vec::new();
    for id in &table.physical_ids {
        let (start, end) = record_range(*id);
        for (key, value) in workload.stores().snapshot(ts).scan(&start, &end).await.unwrap() {
            let key = RowKey::new(&key);
            let values = definition.decode(&key, &value).unwrap();
            let texts = definition.columns.iter().zip(values).map(|(column, value)| {
                (
                    column.name.clone(),
                    (value != Value::Null).then(|| canonical(&value, column)),
                )
            });
            rows.push(texts.collect());
        }
    }
    rows.sort();
    rows
}

/// The rows of a table at a ts by the truth.
fn truth_at(rows: &[TruthRow], table: &WorkloadTable, ts: u64) -> Vec<Texts> {
    let mut live: HashMap<&str, &Texts> = HashMap::new();
    let of_table = rows
        .iter()
        .filter(|row| row.schema == table.schema && row.table == table.name);
    for row in of_table.filter(|row| row.commit_ts <= ts) {
        match row.op {
            TruthOp::Insert => {
                assert!(
                    live.insert(&row.key, &row.row).is_none(),
                    "an insert over a live row: {row:?}"
                );
            }
            TruthOp::Update => {
                let before = live.insert(&row.key, &row.row);
                assert_eq!(before, row.old.as_ref(), "{row:?}");
            }
            TruthOp::Delete => assert_eq!(live.remove(row.key.as_str()), Some(&row.row), "{row:?}"),
        }
    }
    let mut live: Vec<Texts> = live.into_values().cloned().collect();
    live.sort();
    live
}

/// Compares truth and cluster at several moments, the last one included.
async fn assert_truth(workload: &Workload, rows: &[TruthRow]) {
    let last = workload.stores().pd().timestamp().await.unwrap();
    let created = workload
        .ddls()
        .await
        .last()
        .expect("tables are created")
        .finished_ts;
    let committed: Vec<u64> = rows
        .iter()
        .map(|row| row.commit_ts)
        .filter(|ts| *ts > created)
        .collect();
    let moments = [committed.len() / 3, committed.len() * 2 / 3].map(|index| committed[index]);
    for ts in moments.into_iter().chain([last]) {
        for table in workload.tables() {
            let place = format!("{}.{} at {ts}", table.schema, table.name);
            let truth = truth_at(rows, &table, ts);
            assert_eq!(rows_at(workload, &table, ts).await, truth, "{place}");
            if let Some(expected) = table.expected_sum {
                let balances = truth
                    .iter()
                    .map(|row| row["balance"].as_ref().unwrap().parse::<i64>().unwrap());
                assert_eq!(balances.sum::<i64>(), expected, "{place}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_truth_is_what_the_cluster_holds() {
    let cluster = cluster(3).await;
    let workload = Workload::create(&cluster.pd_endpoints(), small(7)).await.unwrap();
    let running = workload.start();
    let truth = running.truth();
    until("2000 rows are committed", || truth.len() > 2000).await;
    let large = workload.large_transaction(50, 2 << 20).await.unwrap();
    let truth = running.stop().await.unwrap();
    let rows = truth.rows();
    assert_eq!(
        rows.iter()
            .filter(|row| row.commit_ts == large && row.table == "bulk")
            .count(),
        50
    );
    assert_eq!(truth.max_commit_ts(), rows.last().unwrap().commit_ts);
    for op in [TruthOp::Insert, TruthOp::Update, TruthOp::Delete] {
        assert!(rows.iter().any(|row| row.op == op), "there are rows of each kind");
    }
    assert_truth(&workload, &rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_truth_holds_while_the_cluster_changes_and_stores_die() {
    let cluster = cluster(3).await;
    let mix = TransactionMix {
        abandoned: 20,
        abandoned_ttl: Duration::from_millis(300),
        conflicting: 30,
        ..TransactionMix::default()
    };
    let config = WorkloadConfig {
        mix,
        writers: 6,
        ..small(11)
    };
    let workload = Workload::create(&cluster.pd_endpoints(), config).await.unwrap();
    let running = workload.start();
    let truth = running.truth();
    for round in 0..3_u64 {
        let goal = truth.len() + 300;
        until("writers go on", || truth.len() > goal).await;
        for table in workload.tables() {
            for id in table.physical_ids {
                // A table may be split from its neighbours already.
                let _ = cluster.split(&record_range(id).0);
            }
        }
        let victim = round % 3 + 1;
        let stores = cluster.stores();
        cluster.kill_store(stores[victim as usize - 1]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(700)).await;
        cluster.revive_store(stores[victim as usize - 1]).await.unwrap();
    }
    let goal = truth.len() + 300;
    until("writers go on after it", || truth.len() > goal).await;
    let truth = running.stop().await.unwrap();
    assert_truth(&workload, &truth.rows()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_keys_are_what_the_truth_says() {
    let cluster = cluster(1).await;
    let workload = KvWorkload::create(&cluster.pd_endpoints(), KvConfig::default())
        .await
        .unwrap();
    let running = workload.start();
    let truth = workload.truth();
    until("500 changes are committed", || truth.len() > 500).await;
    let rows = running.stop().await.unwrap().rows();
    let mut live: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let bytes = |text: &Option<String>| {
        text.as_ref()
            .unwrap()
            .chars()
            .map(|c| c as u8)
            .collect::<Vec<u8>>()
    };
    for row in &rows {
        match row.op {
            TruthOp::Delete => live.remove(&bytes(&row.row["key"])),
            _ => live.insert(bytes(&row.row["key"]), bytes(&row.row["value"])),
        };
    }
    let now = workload.stores().pd().timestamp().await.unwrap();
    let stored = workload
        .stores()
        .snapshot(now)
        .scan(b"plain/", b"plain0")
        .await
        .unwrap();
    let stored: BTreeMap<Vec<u8>, Vec<u8>> = stored
        .into_iter()
        .map(|(key, value)| (key.to_vec(), value.to_vec()))
        .collect();
    assert_eq!(stored, live);
    // Every version of one key, not only the newest.
    let row = rows
        .iter()
        .find(|row| row.op == TruthOp::Update)
        .expect("some key is updated");
    let versions = workload.stores().versions(&bytes(&row.row["key"])).await.unwrap();
    let expected: Vec<(u64, u64)> = rows
        .iter()
        .rev()
        .filter(|other| other.key == row.key)
        .map(|row| (row.start_ts, row.commit_ts))
        .collect();
    let versions: Vec<(u64, u64)> = versions
        .iter()
        .map(|version| (version.start_ts, version.commit_ts))
        .collect();
    assert_eq!(versions, expected);
}

/// A longer run over many seeds: `cargo test -- --ignored --nocapture`. Prints rows per second.
#[ignore = "takes minutes"]
#[tokio::test(flavor = "multi_thread")]
async fn the_truth_holds_for_many_seeds() {
    for seed in 0..20 {
        let cluster = cluster(3).await;
        let config = WorkloadConfig {
            mix: TransactionMix {
                abandoned: 10,
                abandoned_ttl: Duration::from_millis(200),
                conflicting: 20,
                ..TransactionMix::default()
            },
            keyless_tables: false,
            writers: 8,
            ..small(seed)
        };
        let workload = Workload::create(&cluster.pd_endpoints(), config).await.unwrap();
        let began = Instant::now();
        let running = workload.start();
        let truth = running.truth();
        let mut committed = 0;
        for round in 0..8 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let table = &workload.tables()[round % workload.tables().len()];
            let _ = cluster.split(&record_range(table.physical_ids[0]).0);
            let store = cluster.stores()[round % 3];
            if round == 3 {
                cluster.kill_store(store).await.unwrap();
            } else if round == 5 {
                cluster.revive_store(cluster.stores()[0]).await.unwrap();
            } else {
                let regions = cluster.regions();
                let _ = cluster.move_leader(regions[round % regions.len()].id, store);
            }
            committed = truth.len();
        }
        let rate = committed as f64 / began.elapsed().as_secs_f64();
        let truth = running.stop().await.unwrap();
        eprintln!("seed {seed}: {} rows, {rate:.0} rows/s", truth.len());
        assert_truth(&workload, &truth.rows()).await;
    }
}
