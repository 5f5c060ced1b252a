use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tidemark_e2e::{Feed, Worker};
use tidemark_harness::Usage;

use crate::actor::Cost;
use crate::orders::DATABASE;
use crate::source::Report;

/// How long the worker may take for anything.
const PATIENCE: Duration = Duration::from_secs(180);
/// How often its metrics are asked for.
const POLL: Duration = Duration::from_millis(50);

/// A worker process that is measured.
pub(crate) struct Subject {
    worker: Worker,
    begun: Instant,
    begun_at: SystemTime,
    before: Usage,
    /// Rows that the sink had been given at `before`.
    handed: u64,
}

impl Subject {
    /// Starts it on the source's table.
    ///
    /// With `start_ts` it is measured from its birth, and the table's rows come by the initial scan. Else it is
    /// measured once it streams.
    pub(crate) async fn start(
        binary: &Path,
        source: &Report,
        sink: Value,
        start_ts: Option<u64>,
    ) -> Result<Self> {
        let feed = Feed {
            tables: vec![format!("{DATABASE}.*")],
            start_ts,
            ..Feed::new(vec![source.pd.clone()], sink)
        };
        let mut worker = Worker::new(binary, &feed.yaml())?;
        let (begun, begun_at) = (Instant::now(), SystemTime::now());
        if start_ts.is_some() {
            worker.start()?;
            return Ok(Self {
                worker,
                begun,
                begun_at,
                before: Usage::default(),
                handed: 0,
            });
        }
        worker.start_ready().await?;
        Ok(Self {
            worker,
            begun,
            begun_at,
            before: Usage::default(),
            handed: 0,
        })
    }

    /// Begins to measure anew.
    pub(crate) async fn reset(&mut self) -> Result<()> {
        self.handed = self.count("tidemark_sink_rows_total").await?;
        (self.begun, self.begun_at) = (Instant::now(), SystemTime::now());
        self.before = self.worker.usage()?;
        Ok(())
    }

    /// When measuring began.
    pub(crate) fn begun_at(&self) -> SystemTime {
        self.begun_at
    }

    /// Waits until so many regions are initialised.
    pub(crate) async fn initialised(&mut self, regions: usize) -> Result<()> {
        self.reaches("tidemark_regions_initialised", regions as u64).await
    }

    /// Waits until so many more rows are in the sink's hands and durable; their cost.
    pub(crate) async fn rows(&mut self, rows: u64, last_ts: u64) -> Result<Cost> {
        self.reaches("tidemark_sink_rows_total", self.handed + rows)
            .await?;
        let wall = self.begun.elapsed();
        self.reaches("tidemark_checkpoint_ts", last_ts).await?;
        Ok(Cost {
            wall,
            ..self.cost(rows)?
        })
    }

    /// What it has used since measuring began.
    pub(crate) fn cost(&self, rows: u64) -> Result<Cost> {
        let after = self.worker.usage()?;
        Ok(Cost {
            rows,
            cpu: after.cpu - self.before.cpu,
            wall: self.begun.elapsed(),
            rss: after.rss,
            peak_rss: after.peak_rss,
        })
    }

    /// Ends it, and fails unless it drains well.
    pub(crate) async fn end(mut self) -> Result<()> {
        self.worker.drain().await
    }

    async fn count(&self, name: &str) -> Result<u64> {
        // Timestamps don't fit a float's 53 bits, but the comparison needs no more than milliseconds.
        if name == "tidemark_checkpoint_ts" {
            return self.worker.checkpoint().await;
        }
        Ok(self.worker.metric(name).await? as u64)
    }

    async fn reaches(&mut self, name: &str, wanted: u64) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = self.count(name).await;
            if seen.as_ref().is_ok_and(|seen| *seen >= wanted) {
                return Ok(());
            }
            if let Some(status) = self.worker.process()?.exited()? {
                bail!("the worker ended: {status}\n{}", self.worker.log_tail());
            }
            if Instant::now() > deadline {
                let log = self.worker.log_tail();
                return Err(seen.map_or_else(|error| error, |seen| anyhow::anyhow!("{name} is {seen}")))
                    .with_context(|| format!("{name} does not reach {wanted} within {PATIENCE:?}\n{log}"));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// A Kafka sink of one topic.
pub(crate) fn kafka(brokers: &str, topic: &str, watermarks: &str) -> Value {
    json!({"kafka": {"brokers": [brokers], "topic": topic, "watermarkInterval": watermarks}})
}

/// A sink of files.
pub(crate) fn files(folder: &Path) -> Value {
    json!({"storage": {"url": format!("file://{}", folder.display()), "flushInterval": "1s"}})
}

/// A sink that drops what it decodes.
pub(crate) fn blackhole() -> Value {
    json!({"blackhole": {}})
}
