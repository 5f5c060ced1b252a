use std::path::PathBuf;
use std::sync::Arc;

use tidemark_crds::Limits;
use tidemark_merge::{Spill, SpillConfig};
use tidemark_model::{Budget, Ts};
use tidemark_pull::{PdClient, Puller};
use tidemark_sink::Sink;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::catalog::Catalog;
use super::follower::{Follower, Halt, SchemaListener};
use super::source;
use crate::error::FeedError;
use crate::metrics::Metrics;
use crate::stream::barrier::Barrier;
use crate::stream::shard::{Shard, ShardContext};
use crate::stream::spans::Spans;
use crate::stream::wiring::{ShardPort, Wiring};

/// Events between the puller and one shard; their bytes are bounded by the puller's budget.
const EVENTS: usize = 256;
/// Orders that wait for one shard.
const ORDERS: usize = 16;

/// The parts that move changes in this process: puller, shards and the sink, with what bounds them.
pub(crate) struct Engine {
    pub(crate) puller: Arc<Puller>,
    pub(crate) spill: Arc<Spill>,
    pub(crate) budget: Budget,
    pub(crate) barrier: Arc<Barrier>,
    pub(crate) spans: Arc<Spans>,
    pub(crate) wiring: Arc<Wiring>,
    /// Every task of it; one that ends has failed.
    pub(crate) tasks: JoinSet<Result<(), FeedError>>,
}

/// What an engine works with.
pub(crate) struct EngineSetup<'a> {
    pub(crate) pd: &'a PdClient,
    pub(crate) limits: &'a Limits,
    /// Folder for changes that wait on disk.
    pub(crate) spill: PathBuf,
    pub(crate) sink: &'a Arc<dyn Sink>,
    pub(crate) metrics: &'a Arc<Metrics>,
    /// Everything at or below it is delivered, and the schema is known there.
    pub(crate) start: Ts,
}

impl Engine {
    /// Starts the shards, one a worker thread of the runtime; no span is streamed yet.
    pub(crate) fn start(setup: &EngineSetup<'_>) -> Result<Self, FeedError> {
        let memory = setup.limits.memory.bytes();
        let spill = Spill::open(SpillConfig::new(
            setup.spill.clone(),
            memory / 2,
            setup.limits.disk.0,
        ))?;
        let budget = Budget::new(memory / 4);
        let puller = Arc::new(Puller::new(setup.pd.clone(), source::pull_config(setup.limits)));
        let barrier = Arc::new(Barrier::new(setup.start));
        let spans = Arc::new(Spans::default());
        let mut tasks: JoinSet<Result<(), FeedError>> = JoinSet::new();
        let mut ports = Vec::new();
        for _ in 0..tokio::runtime::Handle::current().metrics().num_workers().max(1) {
            let (events, from_puller) = mpsc::channel(EVENTS);
            let (orders, from_feed) = mpsc::channel(ORDERS);
            let shard = Shard::new(ShardContext {
                sink: Arc::clone(setup.sink),
                spill: Arc::clone(&spill),
                budget: budget.clone(),
                barrier: barrier.view(),
                metrics: Arc::clone(setup.metrics),
            });
            tasks.spawn(shard.run(from_puller, from_feed));
            ports.push(ShardPort { events, orders });
        }
        let wiring = Arc::new(Wiring::new(
            Arc::clone(&puller),
            Arc::clone(setup.sink),
            Arc::clone(&spans),
            ports,
        ));
        Ok(Self {
            puller,
            spill,
            budget,
            barrier,
            spans,
            wiring,
            tasks,
        })
    }

    /// Follows the schema from `start` on and raises the barrier; plain keys have no schema to wait for.
    pub(crate) fn follow(
        &mut self,
        catalog: Option<Catalog>,
        start: Ts,
        listener: Arc<dyn SchemaListener>,
        halt: watch::Sender<Option<Halt>>,
    ) {
        let Some(catalog) = catalog else {
            self.barrier.raise(Ts::MAX);
            return;
        };
        let follower = Follower::new(
            catalog,
            listener,
            Arc::clone(&self.barrier),
            &self.spill,
            start,
            halt,
        );
        self.tasks
            .spawn(follower.follow(&self.puller, self.wiring.next_id(), start));
    }
}

/// Waits for the first task that fails; a task that merely ends has lost its input.
pub(crate) async fn first_failure(tasks: &mut JoinSet<Result<(), FeedError>>) -> FeedError {
    match tasks.join_next().await {
        Some(Ok(Err(error))) => error,
        Some(Ok(Ok(()))) | None => FeedError::Unavailable("a part of the stream ended early".into()),
        Some(Err(error)) => FeedError::Stopped(format!(
            "a part of the stream failed: {error}; please report this"
        )),
    }
}
