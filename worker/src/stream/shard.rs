//! A task that owns the sorters of some spans.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;
use futures::future::BoxFuture;
use tidemark_merge::{MergeError, Sorter, Spill};
use tidemark_model::{Budget, KvChange, SpanId, Ts};
use tidemark_pull::PullEvent;
use tidemark_sink::{Batch, Sink, SinkError};
use tidemark_tidb::Table;
use tidemark_tidb::schema::{Ddl, TableChange};
use tokio::sync::{mpsc, oneshot};

use super::barrier::BarrierView;
use super::progress::SpanProgress;
use crate::error::FeedError;
use crate::metrics::Metrics;

/// Bytes of changes handed to the sink at once: enough to spread over cores, small beside the budget.
const BATCH_BYTES: usize = 1 << 20;

/// How long a shard whose disk is full waits before it tries to take the changes again.
const FULL_DISK_PAUSE: Duration = Duration::from_millis(100);

/// A request to a shard.
#[derive(Debug)]
pub enum Order {
    /// Take charge of a span before its first event; answered when done.
    Add(NewSpan, oneshot::Sender<()>),
    /// Hold the spans of these tables below a DDL until it has passed; answered when done.
    Hold(Hold, oneshot::Sender<()>),
    /// A DDL has passed: these tables have other definitions from now on, and are held by it no more; answered when done.
    Pass(Ts, Vec<Arc<Table>>, oneshot::Sender<()>),
    /// Hand over what is after a ts of a span that was held back; what is at or below it another has made durable.
    Release(SpanId, Ts, oneshot::Sender<()>),
    /// Give up a span; answered when nothing of it will be handed to the sink any more.
    Remove(SpanId, oneshot::Sender<()>),
}

/// A DDL that tables have to wait for.
#[derive(Clone, Debug)]
pub struct Hold {
    /// The DDL's commit ts: rows at or above it wait.
    pub at: Ts,
    /// The ids of the tables that it changes.
    pub tables: Arc<[i64]>,
}

impl Hold {
    /// What a DDL holds.
    pub fn of(ddl: &Ddl) -> Self {
        let tables = ddl.changes.iter().filter_map(TableChange::before);
        Self {
            at: ddl.ts,
            tables: tables.map(|table| table.id).collect(),
        }
    }
}

/// A span that a shard takes charge of.
#[derive(Debug)]
pub struct NewSpan {
    /// The span.
    pub id: SpanId,
    /// Its table.
    pub table: Arc<Table>,
    /// The physical table.
    pub physical_id: i64,
    /// Where it stands.
    pub progress: Arc<SpanProgress>,
    /// Whether nothing is to be handed to the sink until the span is released.
    pub held: bool,
}

/// What a shard shares with others.
pub struct ShardContext {
    /// Where changes go.
    pub sink: Arc<dyn Sink>,
    /// Memory and disk of all sorters.
    pub spill: Arc<Spill>,
    /// Bytes that may be in the sink's hands.
    pub budget: Budget,
    /// Up to where the schema is known.
    pub barrier: BarrierView,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// Owns the sorters of some spans and feeds the sink from them.
pub struct Shard {
    context: ShardContext,
    spans: HashMap<SpanId, SpanState>,
    /// Spans that may have something to hand over, each once.
    ready: VecDeque<SpanId>,
    /// DDLs that have not passed.
    holds: Vec<Hold>,
    /// Changes that found the disk full.
    stalled: Option<(SpanId, Vec<KvChange>)>,
    /// The span whose batch the sink is being handed.
    writing: Option<SpanId>,
    /// Answers owed when that is over.
    removed: Vec<oneshot::Sender<()>>,
}

struct SpanState {
    sorter: Sorter,
    table: Arc<Table>,
    physical_id: i64,
    progress: Arc<SpanProgress>,
    resolved: Ts,
    /// Everything at or below it was handed over.
    emitted: Ts,
    ready: bool,
    held: bool,
    /// Nothing above it is handed over before a DDL has passed.
    limit: Ts,
}

type Write = BoxFuture<'static, Result<(), SinkError>>;

impl Shard {
    /// A shard without spans.
    pub fn new(context: ShardContext) -> Self {
        Self {
            context,
            spans: HashMap::default(),
            ready: VecDeque::new(),
            holds: Vec::new(),
            stalled: None,
            writing: None,
            removed: Vec::new(),
        }
    }

    /// Runs until the orders' sender is dropped or something fails.
    ///
    /// While the sink takes a batch, events are still read and sorted, so a slow sink fills the sorters
    /// (and then the disk) before it slows the source.
    pub async fn run(
        mut self,
        mut events: mpsc::Receiver<PullEvent>,
        mut orders: mpsc::Receiver<Order>,
    ) -> Result<(), FeedError> {
        let mut write: Option<Write> = None;
        let mut barrier = self.context.barrier.clone();
        loop {
            if write.is_none() {
                write = self.next_write()?;
            }
            tokio::select! {
                result = async { match write.as_mut() { Some(write) => write.await, None => std::future::pending().await } } => {
                    result?;
                    write = None;
                    self.writing = None;
                    for done in self.removed.drain(..) {
                        let _ = done.send(());
                    }
                }
                event = events.recv(), if self.stalled.is_none() => {
                    let Some(event) = event else { return Ok(()) };
                    self.take(event)?;
                }
                order = orders.recv() => {
                    let Some(order) = order else { return Ok(()) };
                    self.obey(order)?;
                }
                changed = barrier.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    self.wake_all();
                }
                () = tokio::time::sleep(FULL_DISK_PAUSE), if self.stalled.is_some() => self.retry_stalled()?,
            }
        }
    }

    fn obey(&mut self, order: Order) -> Result<(), FeedError> {
        match order {
            Order::Add(span, done) => {
                let at = span.progress.checkpoint();
                let limit = limit(&self.holds, span.table.id);
                let name = format!("span-{}", span.id);
                let state = SpanState {
                    sorter: Sorter::new(Arc::clone(&self.context.spill), &name, at),
                    table: span.table,
                    physical_id: span.physical_id,
                    progress: span.progress,
                    resolved: at,
                    emitted: at,
                    ready: false,
                    held: span.held,
                    limit,
                };
                self.spans.insert(span.id, state);
                let _ = done.send(());
            }
            Order::Hold(hold, done) => {
                self.holds.push(hold);
                self.set_limits();
                let _ = done.send(());
            }
            Order::Pass(at, tables, done) => {
                for table in tables {
                    let spans = self.spans.values_mut();
                    for state in spans.filter(|state| state.table.id == table.id) {
                        state.table = Arc::clone(&table);
                    }
                }
                self.holds.retain(|hold| hold.at != at);
                self.set_limits();
                self.wake_all();
                let _ = done.send(());
            }
            Order::Release(id, from, done) => {
                self.release(id, from)?;
                let _ = done.send(());
            }
            Order::Remove(id, done) => {
                self.spans.remove(&id);
                if self.stalled.as_ref().is_some_and(|(span, _)| *span == id) {
                    self.stalled = None;
                }
                if self.writing == Some(id) {
                    self.removed.push(done);
                } else {
                    let _ = done.send(());
                }
            }
        }
        Ok(())
    }

    fn set_limits(&mut self) {
        for state in self.spans.values_mut() {
            state.limit = limit(&self.holds, state.table.id);
        }
    }

    fn release(&mut self, id: SpanId, from: Ts) -> Result<(), FeedError> {
        let Some(state) = self.spans.get_mut(&id) else {
            return Ok(());
        };
        while !state.sorter.pop(from, BATCH_BYTES)?.is_empty() {}
        state.held = false;
        state.emitted = state.emitted.max(from);
        state.progress.pass(from);
        if !state.ready {
            state.ready = true;
            self.ready.push_back(id);
        }
        Ok(())
    }

    fn take(&mut self, event: PullEvent) -> Result<(), FeedError> {
        match event {
            PullEvent::Changes { span, changes, grant } => {
                self.context.metrics.pulled(&changes);
                self.push(span, changes)?;
                drop(grant);
            }
            PullEvent::Resolved { span, ts } => {
                if let Some(state) = self.spans.get_mut(&span) {
                    state.resolved = state.resolved.max(ts);
                    state.progress.receive(ts);
                    if !state.ready {
                        state.ready = true;
                        self.ready.push_back(span);
                    }
                }
            }
            PullEvent::Initialized { .. } => {}
            PullEvent::Failed { error, .. } => return Err(error.into()),
        }
        Ok(())
    }

    fn push(&mut self, span: SpanId, changes: Vec<KvChange>) -> Result<(), FeedError> {
        let Some(state) = self.spans.get_mut(&span) else {
            return Ok(());
        };
        match state.sorter.push(changes) {
            Ok(()) => Ok(()),
            Err(MergeError::DiskFull { refused, .. }) => {
                if self.stalled.is_none() {
                    tracing::warn!(%span, "The disk for waiting changes is full; the source is not read further");
                }
                self.stalled = Some((span, refused.0));
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn retry_stalled(&mut self) -> Result<(), FeedError> {
        match self.stalled.take() {
            Some((span, changes)) => self.push(span, changes),
            None => Ok(()),
        }
    }

    fn wake_all(&mut self) {
        for (id, state) in &mut self.spans {
            if !state.ready && state.resolved > state.emitted {
                state.ready = true;
                self.ready.push_back(*id);
            }
        }
    }

    /// The next batch for the sink, as the write that hands it over.
    fn next_write(&mut self) -> Result<Option<Write>, FeedError> {
        let barrier = *self.context.barrier.borrow();
        while let Some(id) = self.ready.pop_front() {
            let Some(state) = self.spans.get_mut(&id) else {
                continue;
            };
            state.ready = false;
            if state.held {
                continue;
            }
            let limit = state.resolved.min(barrier).min(state.limit);
            if limit <= state.emitted {
                continue;
            }
            let changes = state.sorter.pop(limit, BATCH_BYTES)?;
            let Some(last) = changes.last() else {
                state.emitted = limit;
                state.progress.pass(limit);
                continue;
            };
            // More changes may share the last one's commit ts.
            let ack = state.progress.begin(last.commit_ts.prev());
            self.context.metrics.handed_over(&changes);
            let weight = changes.iter().map(KvChange::weight).sum();
            state.progress.count(weight);
            let (table, physical_id) = (Arc::clone(&state.table), state.physical_id);
            state.ready = true;
            self.ready.push_back(id);
            self.writing = Some(id);
            let (sink, budget) = (Arc::clone(&self.context.sink), self.context.budget.clone());
            return Ok(Some(Box::pin(async move {
                let grant = Some(budget.take(weight).await);
                sink.write(Batch {
                    span: id,
                    table,
                    physical_id,
                    changes,
                    grant,
                    ack,
                })
                .await
            })));
        }
        Ok(None)
    }
}

/// Up to where the first DDL that a table waits for lets it go.
fn limit(holds: &[Hold], table: i64) -> Ts {
    let waits = holds.iter().filter(|hold| hold.tables.contains(&table));
    waits.map(|hold| hold.at.prev()).min().unwrap_or(Ts::MAX)
}
