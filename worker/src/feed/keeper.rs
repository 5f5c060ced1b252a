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
use super::pending::Pending;
use super::sampling::Measured;
use super::source;
use crate::error::FeedError;
use crate::live::LiveLine;
use crate::metrics::Metrics;
use crate::state::{Identity, StateDir};
use crate::stream::barrier::Barrier;
use crate::stream::spans::Spans;

/// How often the checkpoint is looked at: a consumer sees a watermark at most so much later.
const TICK: Duration = Duration::from_millis(50);
/// How often the checkpoint is saved and published at most: each time costs an fsync; after a death the rows of so much
/// time are sent again.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(200);
/// How often history's protection is renewed.
const PROTECT_INTERVAL: Duration = Duration::from_secs(60);

/// How long PD may take to tell the time, which only the shown lag needs.
const CLOCK_DEADLINE: Duration = Duration::from_millis(200);

/// Saves, publishes and protects the checkpoint, in this order.
pub(super) struct Keeper<'a> {
    pub(super) pd: &'a PdClient,
    pub(super) puller: &'a Puller,
    pub(super) sink: &'a Arc<dyn Sink>,
    pub(super) spill: &'a Spill,
    pub(super) budget: &'a Budget,
    pub(super) spans: &'a Spans,
    pub(super) barrier: &'a Barrier,
    pub(super) pending: &'a Pending,
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
        // Known already, but a death may have come between saving and publishing it.
        self.sink.watermark(from).await?;
        let mut published = from;
        let (mut published_at, mut shown_at) = (Instant::now(), Instant::now());
        let mut protected_at = Instant::now();
        let mut live = LiveLine::on_terminal(self.metrics);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = stop.cancelled() => break,
            }
            let checkpoint = self.checkpoint();
            let halts = halt.borrow().as_ref().is_some_and(|halt| checkpoint >= halt.at);
            if checkpoint > published && (halts || published_at.elapsed() >= PUBLISH_INTERVAL) {
                self.publish(checkpoint).await?;
                (published, published_at) = (checkpoint, Instant::now());
            }
            if halts {
                break;
            }
            if protected_at.elapsed() >= PROTECT_INTERVAL {
                self.protect(published).await?;
                protected_at = Instant::now();
            }
            if shown_at.elapsed() >= LiveLine::INTERVAL {
                shown_at = Instant::now();
                self.show(published, live.as_mut()).await;
            }
        }
        self.drain(published).await
    }

    /// Makes what the sink has taken durable and saves how far that is.
    async fn drain(&self, published: Ts) -> Result<(), FeedError> {
        self.sink.flush().await?;
        let checkpoint = self.checkpoint();
        if checkpoint > published {
            self.publish(checkpoint).await?;
        }
        // A sink may keep a watermark for later; a flush publishes it.
        self.sink.flush().await?;
        tracing::info!(%checkpoint, "Drained");
        Ok(())
    }

    /// Saves first: a worker that dies in between goes on at or above what consumers have seen, so their watermark never
    /// falls.
    async fn publish(&self, checkpoint: Ts) -> Result<(), FeedError> {
        self.save(checkpoint)?;
        Ok(self.sink.watermark(checkpoint).await?)
    }

    /// The lowest of all spans, and below all DDLs that have not passed; a feed that has no table follows the schema.
    fn checkpoint(&self) -> Ts {
        // In this order: a DDL that is met or passes meanwhile can't be missed.
        let (barrier, floor) = (self.barrier.at(), self.pending.floor());
        let slowest = self.spans.slowest();
        slowest
            .map_or(barrier, |slowest| slowest.checkpoint)
            .min(barrier)
            .min(floor)
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
        let sample = Measured {
            puller: self.puller,
            spill: self.spill,
            budget: self.budget,
            spans: self.spans,
        }
        .sample(self.metrics);
        if let Ok(Ok(now)) = timeout(CLOCK_DEADLINE, self.pd.tso()).await {
            self.metrics.checkpoint(checkpoint, now);
        }
        if let Some(live) = live {
            live.draw(self.metrics, &sample);
        }
    }
}
