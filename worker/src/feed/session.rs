use std::sync::Arc;

use parking_lot::Mutex;
use tidemark_crds::{Changefeed, SinkSpec, SourceFormat};
use tidemark_model::Ts;
use tidemark_pull::PdClient;
use tidemark_sink::{OpenContext, Sink};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::engine::{Engine, EngineSetup, first_failure};
use super::initial::{Initial, time_zone};
use super::keeper::Keeper;
use super::pending::Pending;
use super::whole::Whole;
use super::{source, start};
use crate::error::FeedError;
use crate::metrics::Metrics;
use crate::secrets::SecretDir;
use crate::state::{Identity, StateDir};

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

impl Session {
    /// Streams from the checkpoint until the stop token (then all is drained) or an error.
    pub(super) async fn stream(&self) -> Result<(), FeedError> {
        let (open, initial) = self.open().await?;
        let limits = &self.feed.spec.limits;
        let mut engine = Engine::start(&EngineSetup {
            pd: &open.pd,
            limits,
            spill: self.state.spill(),
            sink: &open.sink,
            metrics: &self.metrics,
            start: open.start,
        })?;
        let pending = Pending::default();
        let whole = Arc::new(Whole {
            wiring: Arc::clone(&engine.wiring),
            sink: Arc::clone(&open.sink),
            spans: Arc::clone(&engine.spans),
            barrier: Arc::clone(&engine.barrier),
            pending: pending.clone(),
            streamed: Mutex::default(),
        });
        for (table, ranges) in initial.tables {
            whole.begin(&table, ranges, open.start).await?;
        }
        let (halt, halted) = watch::channel(None);
        engine.follow(initial.catalog, open.start, Arc::clone(&whole) as _, halt);
        engine.tasks.spawn(async move { whole.pass_all().await });
        self.metrics.set_ready(true);
        tracing::info!(start = %open.start, spans = engine.spans.len(), "Streaming");

        let Engine {
            puller,
            spill,
            budget,
            barrier,
            spans,
            // The shards end when it is dropped.
            wiring: _wiring,
            mut tasks,
        } = engine;
        let keeper = Keeper {
            pd: &open.pd,
            puller: &puller,
            sink: &open.sink,
            spill: &spill,
            budget: &budget,
            spans: &spans,
            barrier: &barrier,
            pending: &pending,
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
        let zone = time_zone(spec)?;
        let pd = source::connect(&spec.source, &self.secrets).await?;
        let identity = self.identity(pd.cluster_id());
        let saved = self
            .state
            .load(&identity)
            .map_err(|error| FeedError::Stopped(error.to_string()))?;
        let start = start::decide(
            &spec.start,
            saved,
            source::clock(&pd).await?,
            start::Kept::InFolder,
        )?;
        let initial = Initial::read(spec, &pd, start).await?;
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
