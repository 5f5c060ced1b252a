//! The spans that this process streams.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidemark_lease::Authority;
use tidemark_model::{SpanId, Ts};
use tidemark_proto::peerspb::{Held, Load};
use tidemark_sink::Sink;
use tidemark_tidb::Table;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::task::AbortOnDropHandle;

use super::known::Known;
use super::passing::{Passed, done};
use crate::cluster::Shared;
use crate::cluster::gate::{Gate, Gated};
use crate::cluster::span_key::SpanKey;
use crate::error::FeedError;
use crate::feed::engine::{Engine, EngineSetup, first_failure};
use crate::feed::initial::Initial;
use crate::feed::pending::Pending;
use crate::feed::sampling::{Measured, reason};
use crate::stream::progress::SpanProgress;

/// Spans that are taken up at once: each may have to make its table known to the sink.
const TAKEN_UP_AT_ONCE: usize = 16;
/// New tables that wait to be noticed.
const NEWS: usize = 64;
/// A span whose rows were received so much ago, and are not durable, waits for the sink.
const SLOW_SINK: std::time::Duration = std::time::Duration::from_secs(1);

/// A span that is received and not written yet.
pub(super) struct Ahead {
    pub(super) id: SpanId,
    table: Arc<Table>,
    progress: Arc<SpanProgress>,
    /// It is prepared once everything up to here was received.
    target: Ts,
    told: bool,
}

/// What becomes of a span that is being taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// It is streamed.
    Stream,
    /// It is received ahead.
    Prepare,
    /// It was to be received ahead, and is to be streamed after this ts by now.
    Release(Ts),
    /// It is given up again.
    Drop,
}

/// A span that was taken up.
enum TakenUp {
    Streamed(SpanKey, SpanId),
    Ahead(SpanKey, Ahead),
}

/// Engine, gate and the spans in it.
pub(super) struct Streaming {
    pub(super) engine: Engine,
    pub(super) gate: Arc<Gate>,
    pub(super) known: Arc<Known>,
    news: mpsc::Receiver<()>,
    /// DDLs that were met and have not passed.
    pub(super) pending: Pending,
    /// DDLs up to here may pass.
    pub(super) through: Ts,
    pub(super) passing: Option<AbortOnDropHandle<Result<Passed, FeedError>>>,
    /// The sink makes durable what the first DDL waits for.
    pub(super) flushing: Option<AbortOnDropHandle<Result<(), FeedError>>>,
    /// The DDL for which it was asked to at once.
    pub(super) flushed_for: Ts,
    pub(super) running: BTreeMap<SpanKey, SpanId>,
    pub(super) ahead: BTreeMap<SpanKey, Ahead>,
    /// Their table isn't known yet.
    pub(super) waiting: BTreeMap<SpanKey, (Ts, Wish)>,
    pub(super) attaching: BTreeMap<SpanKey, Wish>,
    attached: JoinSet<Result<TakenUp, FeedError>>,
    pub(super) detaching: BTreeMap<SpanKey, SpanId>,
    detached: JoinSet<Result<Vec<SpanKey>, FeedError>>,
    turns: Arc<Semaphore>,
    shared: Shared,
}

/// What came to pass.
#[derive(Debug)]
pub(super) enum Happened {
    /// Spans are streamed now.
    Started(Vec<SpanKey>),
    /// Spans are given up, durable up to there.
    Stopped(Vec<(SpanKey, Ts)>),
    /// What a DDL waits for may be durable.
    Flushed,
    /// Nothing goes on.
    Failed(FeedError),
}

impl Streaming {
    /// Opens sink and source and follows the schema from `checkpoint` on; no span yet.
    pub(super) async fn open(
        shared: &Shared,
        authority: Authority,
        epoch: u64,
        checkpoint: Ts,
        through: Ts,
    ) -> Result<Self, FeedError> {
        let spec = &shared.feed.spec;
        let gate = Gate::new(authority);
        let pd = shared.parts.pd().await?;
        let (sink, initial) = tokio::try_join!(
            shared.parts.sink(epoch, checkpoint),
            Initial::read(spec, &pd, checkpoint)
        )?;
        let sink: Arc<dyn Sink> = Arc::new(Gated {
            sink,
            gate: Arc::clone(&gate),
        });
        let mut engine = Engine::start(&EngineSetup {
            pd: &pd,
            limits: &spec.limits,
            spill: shared.state.spill(),
            sink: &sink,
            metrics: &shared.metrics,
            start: checkpoint,
        })?;
        let (tell, news) = mpsc::channel(NEWS);
        let tables = initial.tables.into_iter().map(|(table, _)| table);
        let pending = Pending::default();
        let known = Arc::new(Known::new(
            tables,
            Arc::clone(&engine.wiring),
            pending.clone(),
            tell,
        ));
        // A DDL that stops the feed holds the barrier here too; the owner says so.
        let (halt, _) = watch::channel(None);
        engine.follow(initial.catalog, checkpoint, Arc::clone(&known) as _, halt);
        let right = Arc::clone(&gate);
        shared.deadman.watch(move || right.until());
        tracing::info!(%checkpoint, "Ready for spans");
        Ok(Self {
            engine,
            gate,
            known,
            news,
            pending,
            through,
            passing: None,
            flushing: None,
            flushed_for: Ts::ZERO,
            running: BTreeMap::new(),
            ahead: BTreeMap::new(),
            waiting: BTreeMap::new(),
            attaching: BTreeMap::new(),
            attached: JoinSet::new(),
            detaching: BTreeMap::new(),
            detached: JoinSet::new(),
            turns: Arc::new(Semaphore::new(TAKEN_UP_AT_ONCE)),
            shared: shared.clone(),
        })
    }

    /// Takes spans up, each after its position; those whose table isn't known yet as soon as it is.
    pub(super) fn start(&mut self, spans: Vec<(SpanKey, Ts)>) {
        for (key, since) in spans {
            if self.running.contains_key(&key) {
                continue;
            }
            if let Some(ahead) = self.ahead.remove(&key) {
                self.release(key, ahead, since);
            } else if let Some(wish) = self.attaching.get_mut(&key) {
                *wish = match wish {
                    Wish::Prepare | Wish::Release(_) => Wish::Release(since),
                    Wish::Stream | Wish::Drop => Wish::Stream,
                };
            } else {
                self.waiting.insert(key, (since, Wish::Stream));
            }
        }
        self.attach();
    }

    /// Receives spans ahead, each after its position, and writes nothing of them yet.
    pub(super) fn prepare(&mut self, spans: Vec<(SpanKey, Ts)>) {
        for (key, since) in spans {
            let known = self.running.contains_key(&key) || self.ahead.contains_key(&key);
            if !known && !self.attaching.contains_key(&key) {
                self.waiting.entry(key).or_insert((since, Wish::Prepare));
            }
        }
        self.attach();
    }

    pub(super) fn attach(&mut self) {
        if self.passes() {
            // They may be of another version then.
            return;
        }
        let due: Vec<_> = self
            .waiting
            .iter()
            .filter_map(|(key, wanted)| Some((key.clone(), *wanted, self.known.get(key.table_id)?)))
            .collect();
        for (key, (since, wish), version) in due {
            self.waiting.remove(&key);
            self.attaching.insert(key.clone(), wish);
            let (wiring, turns) = (Arc::clone(&self.engine.wiring), Arc::clone(&self.turns));
            let target = self.engine.barrier.at();
            self.attached.spawn(async move {
                // The semaphore is never closed.
                let _turn = turns.acquire_owned().await;
                let table = version.table;
                // All before its version is durable, though the position may be a little lower.
                wiring.announce(&table, since.max(version.since)).await?;
                let (physical_id, range) = (key.physical_id, key.range.clone());
                if wish == Wish::Prepare {
                    let (id, progress) = wiring.prepare_span(&table, physical_id, range, since).await?;
                    // Plain keys have no barrier.
                    let target = if target == Ts::MAX { since.next() } else { target };
                    let told = false;
                    return Ok(TakenUp::Ahead(
                        key,
                        Ahead {
                            id,
                            table,
                            progress,
                            target,
                            told,
                        },
                    ));
                }
                let id = wiring.attach_span(&table, physical_id, range, since).await?;
                Ok(TakenUp::Streamed(key, id))
            });
        }
    }

    /// Lets a span that was received ahead be written, after `from`.
    fn release(&mut self, key: SpanKey, ahead: Ahead, from: Ts) {
        self.attaching.insert(key.clone(), Wish::Stream);
        let wiring = Arc::clone(&self.engine.wiring);
        self.attached.spawn(async move {
            wiring
                .release(ahead.id, &ahead.table, ahead.progress, from)
                .await?;
            Ok(TakenUp::Streamed(key, ahead.id))
        });
    }

    /// Gives spans up; those that were not taken up yet are given up at once.
    pub(super) fn stop(&mut self, keys: Vec<SpanKey>) -> Vec<(SpanKey, Ts)> {
        let mut at_once = Vec::new();
        let mut streamed = Vec::new();
        for key in keys {
            if let Some((since, _)) = self.waiting.remove(&key) {
                at_once.push((key, since));
            } else if let Some(wish) = self.attaching.get_mut(&key) {
                if let Wish::Release(from) = *wish {
                    at_once.push((key, from));
                }
                *wish = Wish::Drop;
            } else if let Some(ahead) = self.ahead.remove(&key) {
                self.abandon(ahead.id);
            } else if let Some(id) = self.running.remove(&key) {
                streamed.push((key, id));
            }
        }
        self.detach(streamed);
        at_once
    }

    /// Gives all spans up.
    pub(super) fn stop_all(&mut self) {
        self.call_off();
        for wish in self.attaching.values_mut() {
            *wish = Wish::Drop;
        }
        let all = std::mem::take(&mut self.running);
        self.detach(all.into_iter().collect());
    }

    /// Gives up what is not streamed yet: an owner that we have to say Hello to doesn't know of it.
    pub(super) fn call_off(&mut self) {
        self.waiting.clear();
        for wish in self.attaching.values_mut().filter(|wish| **wish == Wish::Prepare) {
            *wish = Wish::Drop;
        }
        for ahead in std::mem::take(&mut self.ahead).into_values() {
            self.abandon(ahead.id);
        }
    }

    /// Ends a span of which nothing was written.
    pub(super) fn abandon(&mut self, id: SpanId) {
        let wiring = Arc::clone(&self.engine.wiring);
        self.detached.spawn(async move {
            wiring.detach(&[id]).await?;
            Ok(Vec::new())
        });
    }

    /// Spans that are prepared since the last call.
    pub(super) fn prepared(&mut self) -> Vec<SpanKey> {
        let ready = self
            .ahead
            .iter_mut()
            .filter(|(_, ahead)| !ahead.told && ahead.progress.received() >= ahead.target);
        ready
            .map(|(key, ahead)| {
                ahead.told = true;
                key.clone()
            })
            .collect()
    }

    fn detach(&mut self, spans: Vec<(SpanKey, SpanId)>) {
        if spans.is_empty() {
            return;
        }
        let ids: Vec<_> = spans.iter().map(|(_, id)| *id).collect();
        let keys: Vec<_> = spans.iter().map(|(key, _)| key.clone()).collect();
        self.detaching.extend(spans);
        let wiring = Arc::clone(&self.engine.wiring);
        self.detached.spawn(async move {
            wiring.detach(&ids).await?;
            Ok(keys)
        });
    }

    /// Waits for what comes to pass next. Nothing is lost if it is dropped.
    pub(super) async fn next(&mut self) -> Happened {
        loop {
            self.pass();
            tokio::select! {
                Some(done) = self.attached.join_next() => match flat(done) {
                    Err(error) => return Happened::Failed(error),
                    Ok(taken) => {
                        if let Some(started) = self.taken_up(taken) {
                            return Happened::Started(vec![started]);
                        }
                    }
                },
                Some(done) = self.detached.join_next() => match flat(done) {
                    Err(error) => return Happened::Failed(error),
                    Ok(keys) if keys.is_empty() => {}
                    Ok(keys) => return Happened::Stopped(self.forget(keys)),
                },
                Some(()) = self.news.recv() => {}
                flushed = done(&mut self.flushing) => match flushed {
                    Ok(()) => return Happened::Flushed,
                    Err(error) => return Happened::Failed(error),
                },
                passed = done(&mut self.passing) => match passed {
                    Ok(passed) => self.go_on(passed),
                    Err(error) => return Happened::Failed(error),
                },
                error = first_failure(&mut self.engine.tasks) => return Happened::Failed(error),
            }
        }
    }

    /// What becomes of a span that was just taken up, by what is wished by now; gives it if it is streamed.
    fn taken_up(&mut self, taken: TakenUp) -> Option<SpanKey> {
        match taken {
            TakenUp::Streamed(key, id) => {
                if self.attaching.remove(&key) == Some(Wish::Drop) {
                    self.detach(vec![(key, id)]);
                    return None;
                }
                self.running.insert(key.clone(), id);
                Some(key)
            }
            TakenUp::Ahead(key, ahead) => {
                match self.attaching.remove(&key) {
                    Some(Wish::Drop) => self.abandon(ahead.id),
                    Some(Wish::Release(from)) => self.release(key, ahead, from),
                    _ => {
                        self.ahead.insert(key, ahead);
                    }
                }
                None
            }
        }
    }

    /// Takes spans out of the count, with how far they are: from here on no report speaks of them.
    fn forget(&mut self, keys: Vec<SpanKey>) -> Vec<(SpanKey, Ts)> {
        let last = |key: SpanKey| {
            let id = self.detaching.remove(&key)?;
            let progress = self.engine.spans.remove(id)?;
            Some((key, progress.checkpoint()))
        };
        keys.into_iter().filter_map(last).collect()
    }

    /// Whether no span is between being streamed and not.
    pub(super) fn is_settled(&self) -> bool {
        self.attaching.is_empty() && self.detaching.is_empty() && self.passing.is_none()
    }

    /// Whether there is no span at all.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
            && self.ahead.is_empty()
            && self.waiting.is_empty()
            && self.attaching.is_empty()
            && self.detaching.is_empty()
    }

    /// Spans that are streamed.
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    /// How far each span is that is streamed.
    pub(super) fn positions(&self) -> Vec<(SpanKey, Ts)> {
        let spans = self.running.iter().chain(&self.detaching);
        spans
            .filter_map(|(key, id)| Some((key.clone(), self.engine.spans.get(*id)?.checkpoint())))
            .collect()
    }

    /// The lowest checkpoint of all spans, and up to where all were received.
    pub(super) fn floor(&self) -> (Option<Ts>, Ts) {
        let slowest = self.engine.spans.slowest();
        (
            slowest.map(|slowest| slowest.checkpoint),
            self.engine.spans.received().unwrap_or(Ts::ZERO),
        )
    }

    /// What holds the slowest span back.
    pub(super) fn held(&self) -> Option<Held> {
        let slowest = self.engine.spans.slowest()?;
        let key = self.running.iter().find(|(_, id)| **id == slowest.span)?.0;
        let received = self.engine.spans.get(slowest.span)?.received();
        let (stage, reason) = if slowest.checkpoint.lag_behind(received) >= SLOW_SINK {
            (
                "sink",
                format!("received up to {received}, durable up to {}", slowest.checkpoint),
            )
        } else {
            let stats = self.engine.puller.stats();
            let region = stats.slow_regions.iter().find(|slow| slow.span == slowest.span);
            let words = region.map(|slow| {
                let (region, store, seconds) = (slow.region, slow.store, slow.lasting.as_secs());
                format!(
                    "region {region} on store {store}: {} for {seconds} s",
                    reason(&slow.reason)
                )
            });
            (
                "source",
                words.unwrap_or_else(|| format!("received up to {received}")),
            )
        };
        Some(Held {
            span: Some(key.into()),
            stage: stage.into(),
            reason,
        })
    }

    /// Bytes handed to the sink of each span since the last call; spans without any are left out.
    pub(super) fn loads(&self) -> Vec<Load> {
        let spans = self.running.iter();
        spans
            .filter_map(|(key, id)| {
                let bytes = self.engine.spans.get(*id)?.take_bytes();
                (bytes > 0).then(|| Load {
                    span: Some(key.into()),
                    bytes,
                })
            })
            .collect()
    }

    /// Brings the gauges up to date.
    pub(super) fn sample(&self) {
        Measured {
            puller: &self.engine.puller,
            spill: &self.engine.spill,
            budget: &self.engine.budget,
            spans: &self.engine.spans,
        }
        .sample(&self.shared.metrics);
    }

    /// Ends at once; gives what is durable.
    pub(super) async fn end(mut self) -> Vec<(SpanKey, Ts)> {
        self.passing = None;
        self.flushing = None;
        self.attached.shutdown().await;
        self.detached.shutdown().await;
        self.engine.tasks.shutdown().await;
        self.positions()
    }
}

fn flat<T>(done: Result<Result<T, FeedError>, JoinError>) -> Result<T, FeedError> {
    done.unwrap_or_else(|error| {
        Err(FeedError::Stopped(format!(
            "a part of the stream failed: {error}; please report this"
        )))
    })
}
