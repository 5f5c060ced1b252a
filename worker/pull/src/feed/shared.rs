use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use std::sync::Arc;
use tidemark_model::{Budget, SpanId, Ts};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::PullEvent;
use crate::channel::Connector;
use crate::config::PullConfig;
use crate::frontier::Frontier;
use crate::pd::PdClient;
use crate::stats::{Counters, SlowRegion};

/// What all tasks of a puller share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: PullConfig,
    pub(super) pd: PdClient,
    pub(super) connector: Connector,
    pub(super) budget: Budget,
    pub(super) counters: Counters,
    pub(super) slow: Mutex<Vec<SlowRegion>>,
    pub(super) stop: CancellationToken,
    advance: mpsc::UnboundedSender<Arc<FeedSpan>>,
}

impl Shared {
    pub(super) fn new(
        pd: PdClient,
        config: PullConfig,
        advance: mpsc::UnboundedSender<Arc<FeedSpan>>,
    ) -> Self {
        Self {
            connector: pd.connector(config.net.clone()),
            budget: Budget::new(config.budget_bytes),
            counters: Counters::default(),
            slow: Mutex::default(),
            stop: CancellationToken::new(),
            advance,
            pd,
            config,
        }
    }

    /// Has the advancer look at a span. It is queued at most once, which bounds the queue.
    pub(super) fn advance(&self, span: &Arc<FeedSpan>) {
        if !span.queued.swap(true, Ordering::AcqRel) {
            // The advancer ends only with the puller.
            let _ = self.advance.send(Arc::clone(span));
        }
    }
}

/// A subscribed span, as the streams and the advancer see it.
#[derive(Debug)]
pub(super) struct FeedSpan {
    pub(super) id: SpanId,
    /// Its `request_id` on the wire; never used twice.
    pub(super) request: u64,
    pub(super) events: mpsc::Sender<PullEvent>,
    pub(super) frontier: Mutex<Frontier>,
    /// Waits for the advancer.
    pub(super) queued: AtomicBool,
    /// Every region has been initialised once.
    pub(super) initialised: AtomicBool,
    /// The last resolved ts delivered.
    pub(super) delivered: AtomicU64,
    /// Cancelled when the span ends.
    pub(super) gone: CancellationToken,
}

impl FeedSpan {
    pub(super) fn new(
        id: SpanId,
        request: u64,
        checkpoint: Ts,
        events: mpsc::Sender<PullEvent>,
        gone: CancellationToken,
    ) -> Self {
        Self {
            id,
            request,
            events,
            frontier: Mutex::default(),
            queued: AtomicBool::new(false),
            initialised: AtomicBool::new(false),
            delivered: AtomicU64::new(checkpoint.0),
            gone,
        }
    }
}
