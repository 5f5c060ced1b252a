//! Subscriptions of spans: what the rest of the worker sees of the pull part.

mod advance;
mod coordinator;
mod heal;
mod locate;
mod mailbox;
mod shared;
mod store;
mod stream;
mod stuck;

use std::sync::Arc;

use tidemark_model::{Grant, KvChange, Span, SpanId, Ts};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::coordinator::{Control, Coordinator};
use self::mailbox::mailbox;
use self::shared::Shared;
use crate::config::PullConfig;
use crate::pd::PdClient;
use crate::stats::PullStats;

/// What a span's consumer is told.
#[derive(Debug)]
pub enum PullEvent {
    /// Committed changes, in no order.
    Changes {
        /// The span.
        span: SpanId,
        /// The changes; never empty.
        changes: Vec<KvChange>,
        /// Their bytes in the puller's budget; keep it as long as the changes are in memory.
        grant: Grant,
    },
    /// All changes of the span at or below `ts` have been put into the channel before.
    Resolved {
        /// The span.
        span: SpanId,
        /// Rises with each such event.
        ts: Ts,
    },
    /// Every region of the span has finished its initial scan once.
    Initialized {
        /// The span.
        span: SpanId,
    },
    /// The span can't be pulled any more; it is unsubscribed.
    Failed {
        /// The span.
        span: SpanId,
        /// Why.
        error: PullError,
    },
}

/// Why a span can't be pulled.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The store belongs to another cluster.
    #[error("store {store} belongs to cluster {current}, not to {request}: check PD's endpoints")]
    WrongCluster {
        /// The store.
        store: u64,
        /// The store's cluster.
        current: u64,
        /// PD's cluster.
        request: u64,
    },
    /// The TiKV version can't serve the request.
    #[error("store {store} refuses change data: it needs version {required_version}")]
    Incompatible {
        /// The store.
        store: u64,
        /// The version it names.
        required_version: String,
    },
    /// The region was registered twice on one stream.
    #[error(
        "region {region} of store {store} was registered twice: this is a bug in tidemark, please report it"
    )]
    Duplicate {
        /// The store.
        store: u64,
        /// The region.
        region: u64,
    },
    /// History that the span still needs may be gone.
    #[error(
        "changes above {checkpoint} may be lost: the GC safe point is {safe_point}; start anew from a snapshot"
    )]
    Collected {
        /// Where the span stands.
        checkpoint: Ts,
        /// Below this, history may be gone.
        safe_point: Ts,
    },
}

/// Pulls spans. Dropping it ends all its tasks.
#[derive(Debug)]
pub struct Puller {
    shared: Arc<Shared>,
    controls: mpsc::UnboundedSender<Control>,
    tasks: Vec<JoinHandle<()>>,
}

impl Puller {
    /// A puller without spans. Needs a tokio runtime.
    pub fn new(pd: PdClient, config: PullConfig) -> Self {
        let (advance, due) = mailbox();
        let (controls, received) = mailbox();
        let shared = Arc::new(Shared::new(pd, config, advance));
        let coordinator = Coordinator::new(Arc::clone(&shared), received);
        let tasks = vec![
            tokio::spawn(advance::run(Arc::clone(&shared), due, controls.clone())),
            tokio::spawn(coordinator.run()),
        ];
        Self {
            shared,
            controls,
            tasks,
        }
    }

    /// Begins to pull a span: every change with a commit ts above `checkpoint`.
    ///
    /// An id in use is taken over: the span that had it ends. Several spans may share a channel. A span whose keys
    /// begin with `r` can't be pulled from TiKV (its CDC takes them for raw data): the caller refuses it before.
    pub fn subscribe(&self, id: SpanId, span: Span, checkpoint: Ts, events: mpsc::Sender<PullEvent>) {
        // The coordinator lives as long as this handle.
        let _ = self.controls.send(Control::Subscribe {
            id,
            span,
            checkpoint,
            events,
        });
    }

    /// Ends a span; events that are already in its channel stay there.
    pub fn unsubscribe(&self, id: SpanId) {
        let _ = self.controls.send(Control::Unsubscribe { id });
    }

    /// What the puller holds and did.
    pub fn stats(&self) -> PullStats {
        let mut stats = PullStats {
            queued_bytes: self.shared.budget.used() as u64,
            slow_regions: self.shared.slow.lock().clone(),
            ..Default::default()
        };
        self.shared.counters.read_into(&mut stats);
        stats
    }

    /// Ends all spans and streams, and waits for the tasks.
    pub async fn shutdown(mut self) {
        self.shared.stop.cancel();
        for task in self.tasks.drain(..) {
            // A task that panicked has ended, which is all that is asked here.
            let _ = task.await;
        }
    }
}

impl Drop for Puller {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}
