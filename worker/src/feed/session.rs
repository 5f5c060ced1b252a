use std::sync::Arc;

use tidemark_crds::{Changefeed, SinkSpec, SourceFormat, TableRules};
use tidemark_merge::{Spill, SpillConfig};
use tidemark_model::{Budget, Span, Ts};
use tidemark_pull::{KvClient, PdClient, Puller};
use tidemark_sink::{OpenContext, Sink};
use tidemark_tidb::{Table, TimeZone};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::catalog::Catalog;
use super::follower::{Follower, Halt};
use super::keeper::Keeper;
use super::{source, start};
use crate::error::FeedError;
use crate::metrics::Metrics;
use crate::secrets::SecretDir;
use crate::state::{Identity, StateDir};
use crate::stream::barrier::Barrier;
use crate::stream::shard::{Shard, ShardContext};
use crate::stream::spans::Spans;
use crate::stream::wiring::{ShardPort, Wiring};

/// Events between the puller and one shard; their bytes are bounded by the puller's budget.
const EVENTS: usize = 256;
/// Orders that wait for one shard.
const ORDERS: usize = 16;

/// What every attempt to stream a feed shares.
pub(super) struct Session {
    pub(super) feed: Changefeed,
    pub(super) state: StateDir,
    pub(super) secrets: Arc<SecretDir>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) stop: CancellationToken,
}

/// The parts of one attempt, open and checked.
struct Open {
    pd: PdClient,
    identity: Identity,
    start: Ts,
    sink: Arc<dyn Sink>,
    service: String,
}

/// A table and the key ranges of its physical tables.
type Ranged = (Arc<Table>, Vec<(i64, Span)>);

/// What is streamed from the start on.
struct Initial {
    tables: Vec<Ranged>,
    /// Follows DDL; a source of plain keys has none.
    catalog: Option<Catalog>,
}

impl Session {
    /// Streams from the checkpoint until the stop token (then all is drained) or an error.
    pub(super) async fn stream(&self) -> Result<(), FeedError> {
        let (open, initial) = self.open().await?;
        let limits = &self.feed.spec.limits;
        let memory = limits.memory.bytes();
        let spill = Spill::open(SpillConfig::new(self.state.spill(), memory / 2, limits.disk.0))?;
        let budget = Budget::new(memory / 4);
        let puller = Arc::new(Puller::new(open.pd.clone(), source::pull_config(limits)));
        let barrier = Arc::new(Barrier::new(open.start));
        let spans = Arc::new(Spans::default());
        let mut tasks: JoinSet<Result<(), FeedError>> = JoinSet::new();
        let mut ports = Vec::new();
        for _ in 0..tokio::runtime::Handle::current().metrics().num_workers().max(1) {
            let (events, from_puller) = mpsc::channel(EVENTS);
            let (orders, from_feed) = mpsc::channel(ORDERS);
            let shard = Shard::new(ShardContext {
                sink: Arc::clone(&open.sink),
                spill: Arc::clone(&spill),
                budget: budget.clone(),
                barrier: barrier.view(),
                metrics: Arc::clone(&self.metrics),
            });
            tasks.spawn(shard.run(from_puller, from_feed));
            ports.push(ShardPort { events, orders });
        }
        let wiring = Arc::new(Wiring::new(
            Arc::clone(&puller),
            Arc::clone(&open.sink),
            Arc::clone(&spans),
            ports,
        ));
        let (halt, halted) = watch::channel(None);
        Self::connect(
            &open, initial, &wiring, &puller, &barrier, &spill, halt, &mut tasks,
        )
        .await?;
        self.metrics.set_ready(true);
        tracing::info!(start = %open.start, spans = spans.len(), "Streaming");

        let keeper = Keeper {
            pd: &open.pd,
            puller: &puller,
            sink: &open.sink,
            spill: &spill,
            budget: &budget,
            spans: &spans,
            barrier: &barrier,
            state: &self.state,
            identity: &open.identity,
            metrics: &self.metrics,
            service: &open.service,
            gc_ttl: limits.gc_ttl.0,
        };
        let ended = tokio::select! {
            kept = keeper.keep(open.start, &self.stop, halted.clone()) => kept,
            failed = first_failure(&mut tasks) => Err(failed),
        };
        tasks.shutdown().await;
        let reason = halted.borrow().as_ref().map(|halt| halt.why.clone());
        match (ended, reason) {
            (Ok(()), Some(why)) if !self.stop.is_cancelled() => Err(FeedError::Stopped(why)),
            (ended, _) => ended,
        }
    }

    /// Connects to source and sink and finds out where to begin. The checkpoint and the protection of history are written
    /// last: a feed that is refused leaves none behind.
    async fn open(&self) -> Result<(Open, Initial), FeedError> {
        let spec = &self.feed.spec;
        let zone = TimeZone::parse(&spec.time_zone).map_err(|error| {
            FeedError::Stopped(format!(
                "spec.timeZone: {:?} is no time zone: {error}",
                spec.time_zone
            ))
        })?;
        let pd = source::connect(&spec.source, &self.secrets).await?;
        let identity = self.identity(pd.cluster_id());
        let saved = self
            .state
            .load(&identity)
            .map_err(|error| FeedError::Stopped(error.to_string()))?;
        let start = start::decide(&spec.start, saved, source::clock(&pd).await?)?;
        let initial = self.initial(&pd, start).await?;
        let context = OpenContext {
            feed: identity.feed.clone(),
            secrets: Arc::clone(&self.secrets) as _,
            zone,
            epoch: 0,
            start_ts: start,
        };
        let sink = tidemark_sink::open(&spec.sink, context).await?;
        for (table, _) in &initial.tables {
            sink.announce(table, start).await?;
        }
        let service = format!("tidemark-{}", identity.feed.replace('/', "-"));
        source::protect(&pd, &service, spec.limits.gc_ttl.0, start.prev()).await?;
        self.state
            .save(&identity, start)
            .map_err(|error| FeedError::Stopped(error.to_string()))?;
        let open = Open {
            pd,
            identity,
            start,
            sink,
            service,
        };
        Ok((open, initial))
    }

    /// Reads what there is to stream at `start`.
    async fn initial(&self, pd: &PdClient, start: Ts) -> Result<Initial, FeedError> {
        let spec = &self.feed.spec;
        if spec.source.format == SourceFormat::Kv {
            let mut ranges = Vec::new();
            for range in &spec.key_ranges {
                let (start, end) = range.bounds().map_err(FeedError::Stopped)?;
                ranges.push((0, Span::new(start, end)));
            }
            let tables = vec![(Arc::new(Table::plain_kv()), ranges)];
            return Ok(Initial {
                tables,
                catalog: None,
            });
        }
        let rules = TableRules::parse(&spec.tables).map_err(|error| FeedError::Stopped(error.to_string()))?;
        let kv = KvClient::new(pd.clone());
        let catalog = Catalog::load(&kv, rules, start).await?;
        let with_spans = |table: Arc<Table>| {
            let spans = Catalog::spans(&table);
            (table, spans)
        };
        Ok(Initial {
            tables: catalog.tables().into_iter().map(with_spans).collect(),
            catalog: Some(catalog),
        })
    }

    /// Who this feed is, for its state folder.
    fn identity(&self, cluster_id: u64) -> Identity {
        let meta = &self.feed.metadata;
        let namespace = meta.namespace.as_deref().unwrap_or("default");
        let feed = format!("{namespace}/{}", meta.name.as_deref().unwrap_or_default());
        Identity {
            feed,
            cluster_id,
            route: route(self.feed.spec.source.format, &self.feed.spec.sink),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one attempt, wired once")]
    async fn connect(
        open: &Open,
        initial: Initial,
        wiring: &Arc<Wiring>,
        puller: &Arc<Puller>,
        barrier: &Arc<Barrier>,
        spill: &Arc<Spill>,
        halt: watch::Sender<Option<Halt>>,
        tasks: &mut JoinSet<Result<(), FeedError>>,
    ) -> Result<(), FeedError> {
        for (table, ranges) in initial.tables {
            wiring.attach(&table, ranges, open.start).await?;
        }
        let Some(catalog) = initial.catalog else {
            // Plain keys have no schema to wait for.
            barrier.raise(Ts::MAX);
            return Ok(());
        };
        let (events, from_puller) = mpsc::channel(EVENTS);
        let job_span = catalog.job_span();
        puller.subscribe(wiring.next_id(), job_span, open.start, events);
        let follower = Follower::new(
            catalog,
            Arc::clone(wiring),
            Arc::clone(barrier),
            spill,
            open.start,
            halt,
        );
        tasks.spawn(follower.run(from_puller));
        Ok(())
    }
}

/// What a feed reads and where it writes to, in words.
fn route(format: SourceFormat, sink: &SinkSpec) -> String {
    let source = match format {
        SourceFormat::Tidb => "tidb",
        SourceFormat::Kv => "kv",
    };
    let target = match (&sink.kafka, &sink.storage) {
        (Some(kafka), _) => format!("kafka topic {}", kafka.topic),
        (None, Some(storage)) => storage.url.clone(),
        (None, None) => "blackhole".into(),
    };
    format!("{source} to {target}")
}

/// Waits for the first task that fails; a task that merely ends has lost its input.
async fn first_failure(tasks: &mut JoinSet<Result<(), FeedError>>) -> FeedError {
    match tasks.join_next().await {
        Some(Ok(Err(error))) => error,
        Some(Ok(Ok(()))) | None => FeedError::Unavailable("a part of the stream ended early".into()),
        Some(Err(error)) => FeedError::Stopped(format!(
            "a part of the stream failed: {error}; please report this"
        )),
    }
}
