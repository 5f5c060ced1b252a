//! Connects spans to shards and the puller.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidemark_model::{Span, SpanId, Ts};
use tidemark_pull::{PullEvent, Puller};
use tidemark_sink::Sink;
use tidemark_tidb::Table;
use tokio::sync::{mpsc, oneshot};

use super::progress::SpanProgress;
use super::shard::{Hold, NewSpan, Order};
use super::spans::Spans;
use crate::error::FeedError;

/// Connects spans: puller → shard → sink.
pub struct Wiring {
    puller: Arc<Puller>,
    sink: Arc<dyn Sink>,
    spans: Arc<Spans>,
    shards: Vec<ShardPort>,
    next_span: AtomicU64,
}

/// The way into a shard.
#[derive(Clone, Debug)]
pub struct ShardPort {
    /// What the puller delivers.
    pub events: mpsc::Sender<PullEvent>,
    /// What the feed asks for.
    pub orders: mpsc::Sender<Order>,
}

impl Wiring {
    /// Wiring for these shards, at least one.
    pub fn new(puller: Arc<Puller>, sink: Arc<dyn Sink>, spans: Arc<Spans>, shards: Vec<ShardPort>) -> Self {
        Self {
            puller,
            sink,
            spans,
            shards,
            next_span: AtomicU64::new(1),
        }
    }

    /// A span id that no other span of this run has.
    pub fn next_id(&self) -> SpanId {
        SpanId(self.next_span.fetch_add(1, Ordering::Relaxed))
    }

    /// Streams the changes after `since` of one range of a table that the sink knows.
    pub async fn attach_span(
        &self,
        table: &Arc<Table>,
        physical_id: i64,
        range: Span,
        since: Ts,
    ) -> Result<SpanId, FeedError> {
        let id = self.next_id();
        let progress = self.spans.add(id, name(table), since);
        let span = NewSpan {
            id,
            table: Arc::clone(table),
            physical_id,
            progress,
            held: false,
        };
        self.receive(span, range, since).await?;
        Ok(id)
    }

    /// Receives and sorts the changes after `since` of one range of a table that the sink knows, and hands none to the sink
    /// until [`Wiring::release`]. The span doesn't count in [`Spans`] before that.
    pub async fn prepare_span(
        &self,
        table: &Arc<Table>,
        physical_id: i64,
        range: Span,
        since: Ts,
    ) -> Result<(SpanId, Arc<SpanProgress>), FeedError> {
        let id = self.next_id();
        let progress = SpanProgress::new(since);
        let span = NewSpan {
            id,
            table: Arc::clone(table),
            physical_id,
            progress: Arc::clone(&progress),
            held: true,
        };
        self.receive(span, range, since).await?;
        Ok((id, progress))
    }

    /// Streams a prepared span's changes after `from`.
    pub async fn release(
        &self,
        id: SpanId,
        table: &Arc<Table>,
        progress: Arc<SpanProgress>,
        from: Ts,
    ) -> Result<(), FeedError> {
        let shard = self.shard_of(id).ok_or_else(ended)?;
        order(shard, |done| Order::Release(id, from, done)).await?;
        self.spans.put(id, name(table), progress);
        Ok(())
    }

    async fn receive(&self, span: NewSpan, range: Span, since: Ts) -> Result<(), FeedError> {
        let id = span.id;
        let shard = self.shard_of(id).ok_or_else(ended)?;
        order(shard, |done| Order::Add(span, done)).await?;
        self.puller.subscribe(id, range, since, shard.events.clone());
        Ok(())
    }

    /// Makes a table known to the sink.
    pub async fn announce(&self, table: &Arc<Table>, since: Ts) -> Result<(), FeedError> {
        Ok(self.sink.announce(table, since).await?)
    }

    /// Ends spans: on return all that the sink was given of them is durable and nothing follows. They still count in
    /// [`Spans`], until the caller has told how far they are.
    pub async fn detach(&self, ids: &[SpanId]) -> Result<(), FeedError> {
        for &id in ids {
            self.puller.unsubscribe(id);
            if let Some(shard) = self.shard_of(id) {
                order(shard, |done| Order::Remove(id, done)).await?;
            }
        }
        Ok(self.sink.hand_over().await?)
    }

    /// Holds tables below a DDL; on return nothing at or above it is handed to the sink until it has passed.
    pub async fn hold(&self, hold: &Hold) -> Result<(), FeedError> {
        for shard in &self.shards {
            order(shard, |done| Order::Hold(hold.clone(), done)).await?;
        }
        Ok(())
    }

    /// Makes durable what the sink has taken.
    pub async fn flush(&self) -> Result<(), FeedError> {
        Ok(self.sink.flush().await?)
    }

    /// Lets the tables go on that a DDL at `at` held, those that it has altered by their new definitions.
    pub async fn pass(&self, at: Ts, altered: &[Arc<Table>]) -> Result<(), FeedError> {
        for shard in &self.shards {
            order(shard, |done| Order::Pass(at, altered.to_vec(), done)).await?;
        }
        Ok(())
    }

    fn shard_of(&self, id: SpanId) -> Option<&ShardPort> {
        let count = self.shards.len().max(1) as u64;
        usize::try_from(id.0 % count)
            .ok()
            .and_then(|index| self.shards.get(index))
    }
}

fn name(table: &Table) -> Arc<str> {
    format!("{}.{}", table.schema, table.name).into()
}

async fn order(shard: &ShardPort, make: impl FnOnce(oneshot::Sender<()>) -> Order) -> Result<(), FeedError> {
    let (done, answer) = oneshot::channel();
    shard.orders.send(make(done)).await.map_err(|_| ended())?;
    answer.await.map_err(|_| ended())
}

fn ended() -> FeedError {
    FeedError::Unavailable("a shard of the stream has ended".into())
}
