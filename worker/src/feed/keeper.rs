use std::sync::Arc;
use std::time::Duration;

use tidemark_merge::Spill;
use tidemark_model::{Budget, Ts};
use tidemark_pull::{PdClient, Puller};
use tidemark_sink::Sink;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::follower::Halt;
use super::source;
use crate::error::FeedError;
use crate::live::LiveLine;
use crate::metrics::{Metrics, Sample};
use crate::state::{Identity, StateDir};
use crate::stream::barrier::Barrier;
use crate::stream::spans::Spans;

/// How often the checkpoint is looked at: a consumer sees a watermark at most so much later.
const TICK: Duration = Duration::from_millis(50);
/// How often the checkpoint is saved; after a death the rows of so much time are sent again.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);
/// How often history's protection is renewed.
const PROTECT_INTERVAL: Duration = Duration::from_secs(60);

/// How long PD may take to tell the time, which only the shown lag needs.
const CLOCK_DEADLINE: Duration = Duration::from_millis(200);

/// Publishes, saves and protects the checkpoint, in this order.
pub(super) struct Keeper<'a> {
    pub(super) pd: &'a PdClient,
    pub(super) puller: &'a Puller,
    pub(super) sink: &'a Arc<dyn Sink>,
    pub(super) spill: &'a Spill,
    pub(super) budget: &'a Budget,
    pub(super) spans: &'a Spans,
    pub(super) barrier: &'a Barrier,
    pub(super) state: &'a StateDir,
    pub(super) identity: &'a Identity,
    pub(super) metrics: &'a Arc<Metrics>,
    /// Name of the safe point in PD and how long it outlives the worker.
    pub(super) service: &'a str,
    pub(super) gc_ttl: Duration,
}

impl Keeper<'_> {
    /// Keeps the checkpoint until `stop`; ends by itself once it has reached where the feed has to halt.
    pub(super) async fn keep(
        &self,
        from: Ts,
        stop: &CancellationToken,
        halt: watch::Receiver<Option<Halt>>,
    ) -> Result<(), FeedError> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut published, mut saved) = (from, from);
        let (mut saved_at, mut shown_at) = (Instant::now(), Instant::now());
        let mut protected_at = Instant::now();
        let mut live = LiveLine::on_terminal(self.metrics);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = stop.cancelled() => break,
            }
            let checkpoint = self.checkpoint();
            if checkpoint > published {
                self.sink.watermark(checkpoint).await?;
                published = checkpoint;
            }
            if halt.borrow().as_ref().is_some_and(|halt| published >= halt.at) {
                break;
            }
            if published > saved && saved_at.elapsed() >= SAVE_INTERVAL {
                self.save(published)?;
                (saved, saved_at) = (published, Instant::now());
            }
            if protected_at.elapsed() >= PROTECT_INTERVAL {
                self.protect(saved).await?;
                protected_at = Instant::now();
            }
            if shown_at.elapsed() >= LiveLine::INTERVAL {
                shown_at = Instant::now();
                self.show(published, live.as_mut()).await;
            }
        }
        self.drain(published, saved).await
    }

    /// Makes what the sink has taken durable and saves how far that is.
    async fn drain(&self, published: Ts, saved: Ts) -> Result<(), FeedError> {
        self.sink.flush().await?;
        let checkpoint = self.checkpoint();
        if checkpoint > published {
            self.sink.watermark(checkpoint).await?;
            // A sink may keep a watermark for later; a flush publishes it.
            self.sink.flush().await?;
        }
        if checkpoint > saved {
            self.save(checkpoint)?;
        }
        tracing::info!(%checkpoint, "Drained");
        Ok(())
    }

    /// The lowest of all spans; a feed that has no table yet follows the schema.
    fn checkpoint(&self) -> Ts {
        self.spans
            .slowest()
            .map_or_else(|| self.barrier.at(), |slowest| slowest.checkpoint)
    }

    fn save(&self, checkpoint: Ts) -> Result<(), FeedError> {
        self.state
            .save(self.identity, checkpoint)
            .map_err(|error| FeedError::Stopped(error.to_string()))
    }

    /// PD being away for a while is no reason to stop: the protection outlives it by its TTL.
    async fn protect(&self, checkpoint: Ts) -> Result<(), FeedError> {
        match source::protect(self.pd, self.service, self.gc_ttl, checkpoint.prev()).await {
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, "Could not renew the protection of history; trying again");
                Ok(())
            }
            other => other,
        }
    }

    async fn show(&self, checkpoint: Ts, live: Option<&mut LiveLine>) {
        let pull = self.puller.stats();
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let sample = Sample {
            spans: self.spans.len(),
            regions: count(pull.regions),
            regions_initialised: count(pull.initialised),
            regions_slow: pull.slow_regions.len(),
            streams: count(pull.streams),
            prewrites: count(pull.pending_prewrites),
            pull_memory: count(pull.queued_bytes + pull.pending_prewrite_bytes),
            merge_memory: self.spill.memory_used(),
            merge_disk: self.spill.disk_used(),
            sink_memory: self.budget.used(),
        };
        self.metrics.sample(&sample);
        if let Ok(Ok(now)) = timeout(CLOCK_DEADLINE, self.pd.tso()).await {
            self.metrics.checkpoint(checkpoint, now);
        }
        if let Some(live) = live {
            live.draw(self.metrics, &sample);
        }
    }
}
