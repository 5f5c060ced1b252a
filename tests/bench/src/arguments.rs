use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use tidemark_e2e::Worker;

/// Measures the worker against bare gRPC, bare librdkafka and bare file writes.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// The worker's binary, of a release build [default: the one beside this binary].
    #[arg(long)]
    worker: Option<PathBuf>,
    /// Rows of the initial scan [default: 400000; 50000 with --quick].
    #[arg(long)]
    rows: Option<u64>,
    /// Idle regions [default: 100000; 10000 with --quick].
    #[arg(long)]
    regions: Option<usize>,
    /// Only these measurements: cost, idle, latency.
    #[arg(long, value_delimiter = ',', value_parser = ["cost", "idle", "latency"])]
    only: Vec<String>,
    /// Small numbers: shows that it works, tells little.
    #[arg(long)]
    quick: bool,
    /// What this process is to be, when the bench runs itself again.
    #[command(subcommand)]
    pub(crate) role: Option<Role>,
}

/// The actors besides the worker.
#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// Hosts an embedded cluster with one table and its rows.
    #[command(hide = true)]
    Source(SourceArgs),
    /// Reads a table's change feed and only counts.
    #[command(hide = true)]
    Drain(DrainArgs),
    /// Sends messages from a file by bare librdkafka.
    #[command(hide = true)]
    Produce(ProduceArgs),
    /// Writes and syncs plain files.
    #[command(hide = true)]
    Write(WriteArgs),
}

/// Settings of a source.
#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    /// Rows written before it reports.
    #[arg(long)]
    pub(crate) rows: u64,
    /// Regions of the table.
    #[arg(long)]
    pub(crate) regions: usize,
    /// Milliseconds between resolved timestamps.
    #[arg(long)]
    pub(crate) resolved_ms: u64,
    /// Where the report goes.
    #[arg(long)]
    pub(crate) report: PathBuf,
}

/// Settings of a drain.
#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    /// PD's URL.
    #[arg(long)]
    pub(crate) pd: String,
    /// The table's id.
    #[arg(long)]
    pub(crate) table: i64,
    /// Changes after this ts.
    #[arg(long)]
    pub(crate) start_ts: u64,
    /// It ends after so many rows.
    #[arg(long)]
    pub(crate) rows: u64,
    /// With no rows to wait for: how long it is measured once all regions are initialised.
    #[arg(long, default_value_t = 0)]
    pub(crate) seconds: u64,
    /// Made when all regions are initialised.
    #[arg(long)]
    pub(crate) ready: PathBuf,
    /// Where the report goes.
    #[arg(long)]
    pub(crate) report: PathBuf,
}

/// Settings of a bare producer.
#[derive(Debug, Args)]
pub(crate) struct ProduceArgs {
    /// Kafka's address.
    #[arg(long)]
    pub(crate) brokers: String,
    /// The topic.
    #[arg(long)]
    pub(crate) topic: String,
    /// The messages.
    #[arg(long)]
    pub(crate) messages: PathBuf,
    /// Where the report goes.
    #[arg(long)]
    pub(crate) report: PathBuf,
}

/// Settings of a bare file writer.
#[derive(Debug, Args)]
pub(crate) struct WriteArgs {
    /// How much.
    #[arg(long)]
    pub(crate) bytes: u64,
    /// Where to.
    #[arg(long)]
    pub(crate) folder: PathBuf,
    /// Where the report goes.
    #[arg(long)]
    pub(crate) report: PathBuf,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Rows of the initial scan.
    pub(crate) rows: u64,
    /// Rows written while a feed streams.
    pub(crate) live_rows: u64,
    /// Idle regions.
    pub(crate) regions: usize,
    /// How long idle regions are watched.
    pub(crate) idle: Duration,
    /// Commits whose latency is taken, for each interval.
    pub(crate) commits: u64,
}

impl Arguments {
    /// Whether a measurement is asked for.
    pub(crate) fn runs(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    pub(crate) fn worker(&self) -> Result<PathBuf> {
        self.worker.clone().map_or_else(Worker::built, Ok)
    }

    pub(crate) fn sizes(&self) -> Sizes {
        let usual = |full, quick| if self.quick { quick } else { full };
        let rows = self.rows.unwrap_or(usual(400_000, 50_000));
        Sizes {
            rows,
            live_rows: rows / 4,
            regions: self.regions.unwrap_or(if self.quick { 10_000 } else { 100_000 }),
            idle: Duration::from_secs(usual(10, 3)),
            commits: usual(1500, 300),
        }
    }
}
