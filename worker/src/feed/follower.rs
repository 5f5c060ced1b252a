use std::sync::Arc;

use futures::future::BoxFuture;
use tidemark_merge::{Sorter, Spill};
use tidemark_model::{KvChange, SpanId, Ts};
use tidemark_pull::{PullEvent, Puller};
use tidemark_tidb::schema::{Ddl, DdlEffect};
use tokio::sync::{mpsc, watch};

use super::catalog::Catalog;
use crate::error::FeedError;
use crate::stream::barrier::Barrier;

/// DDL jobs taken from the sorter at once.
const BATCH_BYTES: usize = 4 << 20;
/// Events between the puller and the follower.
const EVENTS: usize = 256;

/// Who is told of DDL before the barrier passes it.
pub(crate) trait SchemaListener: Send + Sync {
    /// Tables change: on return the stream holds them below the DDL.
    fn changed<'a>(&'a self, ddl: &'a Arc<Ddl>) -> BoxFuture<'a, Result<(), FeedError>>;
}

/// Why the feed ends once everything at or below a ts is durable.
#[derive(Clone, Debug)]
pub(crate) struct Halt {
    /// The last ts that can be streamed.
    pub(crate) at: Ts,
    /// The message for the user.
    pub(crate) why: String,
}

/// Follows finished DDL jobs and raises the barrier up to where the schema is known.
pub(crate) struct Follower {
    catalog: Catalog,
    listener: Arc<dyn SchemaListener>,
    barrier: Arc<Barrier>,
    sorter: Sorter,
    halt: watch::Sender<Option<Halt>>,
}

impl Follower {
    pub(crate) fn new(
        catalog: Catalog,
        listener: Arc<dyn SchemaListener>,
        barrier: Arc<Barrier>,
        spill: &Arc<Spill>,
        start: Ts,
        halt: watch::Sender<Option<Halt>>,
    ) -> Self {
        let sorter = Sorter::new(Arc::clone(spill), "ddl", start);
        Self {
            catalog,
            listener,
            barrier,
            sorter,
            halt,
        }
    }

    /// Subscribes to the job table's changes after `start`, as span `id`, and follows them.
    pub(crate) fn follow(
        self,
        puller: &Puller,
        id: SpanId,
        start: Ts,
    ) -> impl Future<Output = Result<(), FeedError>> + Send + use<> {
        let (events, from_puller) = mpsc::channel(EVENTS);
        puller.subscribe(id, self.catalog.job_span(), start, events);
        self.run(from_puller)
    }

    /// Runs until the puller's sender is dropped, an error, or forever behind a DDL that stops the feed.
    async fn run(mut self, mut events: mpsc::Receiver<PullEvent>) -> Result<(), FeedError> {
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
            DdlEffect::Changed(ddl) => {
                tracing::info!(ts = %finished, action = ddl.action.name(), query = ddl.query, "DDL met");
                self.listener.changed(&Arc::new(ddl)).await?;
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
