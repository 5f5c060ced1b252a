use std::sync::Arc;

use tidemark_merge::{Sorter, Spill};
use tidemark_model::{KvChange, Ts};
use tidemark_pull::PullEvent;
use tidemark_tidb::schema::DdlEffect;
use tokio::sync::{mpsc, watch};

use super::catalog::Catalog;
use crate::error::FeedError;
use crate::stream::barrier::Barrier;
use crate::stream::wiring::Wiring;

/// DDL jobs taken from the sorter at once.
const BATCH_BYTES: usize = 4 << 20;

/// Why the feed ends once everything at or below a ts is durable.
#[derive(Clone, Debug)]
pub(super) struct Halt {
    /// The last ts that can be streamed.
    pub(super) at: Ts,
    /// The message for the user.
    pub(super) why: String,
}

/// Follows finished DDL jobs and raises the barrier up to where the schema is known.
pub(super) struct Follower {
    catalog: Catalog,
    wiring: Arc<Wiring>,
    barrier: Arc<Barrier>,
    sorter: Sorter,
    halt: watch::Sender<Option<Halt>>,
}

impl Follower {
    pub(super) fn new(
        catalog: Catalog,
        wiring: Arc<Wiring>,
        barrier: Arc<Barrier>,
        spill: &Arc<Spill>,
        start: Ts,
        halt: watch::Sender<Option<Halt>>,
    ) -> Self {
        let sorter = Sorter::new(Arc::clone(spill), "ddl", start);
        Self {
            catalog,
            wiring,
            barrier,
            sorter,
            halt,
        }
    }

    /// Runs until the puller's sender is dropped, an error, or forever behind a DDL that stops the feed.
    pub(super) async fn run(mut self, mut events: mpsc::Receiver<PullEvent>) -> Result<(), FeedError> {
        while let Some(event) = events.recv().await {
            match event {
                PullEvent::Changes { changes, .. } => self.sorter.push(changes)?,
                PullEvent::Resolved { ts, .. } => {
                    if let Some(halt) = self.advance(ts).await? {
                        tracing::warn!(ts = %halt.at, "Streaming the rest up to a DDL that stops the feed");
                        self.barrier.raise(halt.at);
                        self.halt.send_replace(Some(halt));
                        // The keeper ends the run when the checkpoint is there.
                        return std::future::pending().await;
                    }
                    self.barrier.raise(ts);
                }
                PullEvent::Initialized { .. } => {}
                PullEvent::Failed { error, .. } => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Applies the jobs at or below `resolved`.
    async fn advance(&mut self, resolved: Ts) -> Result<Option<Halt>, FeedError> {
        loop {
            let changes = self.sorter.pop(resolved, BATCH_BYTES)?;
            if changes.is_empty() {
                return Ok(None);
            }
            for change in &changes {
                if let Some(halt) = self.apply(change).await? {
                    return Ok(Some(halt));
                }
            }
        }
    }

    async fn apply(&mut self, change: &KvChange) -> Result<Option<Halt>, FeedError> {
        let finished = change.commit_ts;
        match self.catalog.apply(change)? {
            DdlEffect::Nothing => {}
            DdlEffect::Created(tables) => {
                for table in tables {
                    tracing::info!(schema = table.schema, table = table.name, ts = %finished, "New table");
                    self.wiring
                        .connect(&table, Catalog::spans(&table), finished)
                        .await?;
                }
            }
            DdlEffect::Refreshed(tables) => {
                for table in tables {
                    self.wiring.refresh(&table, finished).await?;
                }
            }
            DdlEffect::Unsupported(ddl) => {
                return Ok(Some(Halt {
                    at: finished.prev(),
                    why: Catalog::explain(&ddl, finished),
                }));
            }
        }
        Ok(None)
    }
}
