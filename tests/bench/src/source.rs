use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tidemark_cluster::{Cluster, ClusterConfig};
use tidemark_workload::catalog::Catalog;
use tidemark_workload::client::{CommitKind, Pd, Stores};

use crate::actor::{self, Actor};
use crate::arguments::SourceArgs;
use crate::orders::{DATABASE, Orders};
use crate::writer::Writer;

/// Stores of every source.
const STORES: usize = 1;

/// Where a source is and what it holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// PD's URL.
    pub(crate) pd: String,
    /// The table's id.
    pub(crate) table: i64,
    /// Above the table's creation, below all rows.
    pub(crate) start_ts: u64,
    /// Highest commit ts of the rows.
    pub(crate) last_ts: u64,
}

/// A running source.
#[derive(Debug)]
pub(crate) struct Source {
    actor: Actor,
    pub(crate) report: Report,
}

impl Source {
    /// Starts one with rows `0..rows` of the table, spread over the regions.
    pub(crate) async fn start(rows: u64, regions: usize, resolved_ts_interval: Duration) -> Result<Self> {
        let mut actor = Actor::start(
            "source",
            &[
                ("rows", rows.to_string()),
                ("regions", regions.to_string()),
                ("resolved-ms", resolved_ts_interval.as_millis().to_string()),
            ],
        )?;
        let report = actor.report().await?;
        Ok(Self { actor, report })
    }

    /// CPU time of the source until now, to see whether it was what the others waited for.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        Ok(self.actor.usage()?.cpu)
    }
}

/// The source's process: reports, then serves until it is killed.
pub(crate) async fn host(args: &SourceArgs) -> Result<()> {
    let cluster = Cluster::start(ClusterConfig {
        stores: STORES,
        resolved_ts_interval: Duration::from_millis(args.resolved_ms),
        ..ClusterConfig::default()
    })
    .await?;
    let pd = Pd::connect(&cluster.pd_endpoints()).await?;
    let catalog = Catalog::open(Stores::new(pd)).await?;
    let database = catalog.create_database(DATABASE).await?;
    let table = Box::pin(catalog.create_table(&database, Orders::spec())).await?;
    let orders = Orders::new(table.id);
    // Rows of the live measurements come above those of the scan, in the same regions again.
    let step = (args.rows * 2).max(args.regions as u64) / args.regions as u64;
    for region in 1..args.regions as u64 {
        cluster.split(&orders.key(region * step))?;
    }
    let start_ts = cluster.now().0;
    let pd_url = cluster.pd_endpoints().swap_remove(0);
    let writer = Writer::connect(&pd_url, orders.id()).await?;
    writer.write(0..args.rows, CommitKind::OnePhase).await?;
    let report = Report {
        pd: pd_url,
        table: table.id,
        start_ts,
        last_ts: cluster.now().0,
    };
    actor::tell(&args.report, &report)?;
    std::future::pending().await
}
