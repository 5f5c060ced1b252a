//! Puller, PD client and reads against the embedded cluster.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test crate"
)]

mod pd;
mod reads;
mod record;
mod trouble;

use std::time::Duration;

use tidemark_cluster::Cluster;
use tidemark_pull::{PdClient, PullConfig};
use tidemark_workload::client::{Outcome, Pd, Stores, Transaction, TransactionKind};

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn pd(cluster: &Cluster) -> PdClient {
    PdClient::connect(
        &cluster.pd_endpoints(),
        None,
        Some(cluster.cluster_id()),
        PATIENCE,
    )
    .await
    .unwrap()
}

pub(crate) async fn stores(cluster: &Cluster) -> Stores {
    Stores::new(Pd::connect(&cluster.pd_endpoints()).await.unwrap())
}

/// Stuck regions are noticed fast.
pub(crate) fn quick() -> PullConfig {
    PullConfig {
        store_pause: Duration::from_millis(100),
        stuck_tick: Duration::from_millis(100),
        stuck_after: Duration::from_millis(500),
        lock_check_interval: Duration::from_millis(200),
        heal_pause: Duration::from_secs(1),
        ..PullConfig::default()
    }
}

pub(crate) async fn put(stores: &Stores, key: &str, value: &str) -> u64 {
    let mut txn = Transaction::begin(stores, TransactionKind::default())
        .await
        .unwrap();
    txn.put(key.to_owned(), value.to_owned());
    match txn
        .finish(tidemark_workload::client::Ending::Commit)
        .await
        .unwrap()
    {
        Outcome::Committed(ts) => ts,
        Outcome::RolledBack(why) => panic!("{why}"),
    }
}
