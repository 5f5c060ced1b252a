use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tidemark_model::Grant;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::{Ack, SinkError};

/// Whether the sink still works, and what the brokers last said.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Set with `failure`, for checks without its lock.
    failed: AtomicBool,
    /// Whether messages may be lost: no batch counts as durable from then on.
    lost: AtomicBool,
    failure: Mutex<Option<Failure>>,
    /// The last trouble that a client told.
    trouble: Mutex<Option<String>>,
}

#[derive(Debug)]
enum Failure {
    Row(String),
    Unavailable(String),
}

impl Health {
    /// Fails for good because of a row; what was sent before is still delivered.
    pub(super) fn refuse(&self, error: &SinkError) {
        self.set(Failure::Row(error.to_string()));
    }

    /// Fails for good because messages can't be delivered; only the first reason is kept.
    pub(super) fn give_up(&self, reason: String) {
        self.lost.store(true, Ordering::Release);
        self.set(Failure::Unavailable(reason));
    }

    fn set(&self, failure: Failure) {
        self.failure.lock().get_or_insert(failure);
        self.failed.store(true, Ordering::Release);
    }

    /// The failure, if there is one.
    pub(super) fn check(&self) -> Result<(), SinkError> {
        if !self.failed.load(Ordering::Acquire) {
            return Ok(());
        }
        match &*self.failure.lock() {
            Some(Failure::Row(text)) => Err(SinkError::Row(text.clone())),
            Some(Failure::Unavailable(text)) => Err(SinkError::Unavailable(text.clone())),
            None => Ok(()),
        }
    }

    /// Whether messages may be lost.
    pub(super) fn lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Keeps what a client told of its troubles.
    pub(super) fn note(&self, trouble: String) {
        *self.trouble.lock() = Some(trouble);
    }

    /// The last trouble, or that there was none.
    pub(super) fn trouble(&self) -> String {
        self.trouble
            .lock()
            .clone()
            .unwrap_or_else(|| "the brokers gave no reason".into())
    }
}

/// What messages carry through the producer: a share of one chunk of a batch.
///
/// Each message holds the `Arc`; when the last one is answered, the chunk's memory is given back, and with the last chunk
/// the batch is acknowledged. So an answer costs one decrement.
pub(super) struct Delivery {
    _memory: Option<Grant>,
    _of: DeliveryOf,
}

/// What messages belong to.
pub(super) enum DeliveryOf {
    /// Rows of a batch.
    Batch { _batch: Arc<BatchDelivery> },
    /// A watermark or a DDL; the token keeps a flush waiting.
    Notice { _open: TaskTrackerToken },
}

impl Delivery {
    pub(super) fn new(memory: Option<Grant>, of: DeliveryOf) -> Self {
        Self {
            _memory: memory,
            _of: of,
        }
    }
}

/// A batch on its way.
pub(super) struct BatchDelivery {
    /// In a lock only because it may not be shared; it is taken once, by the drop.
    ack: Mutex<Option<Ack>>,
    complete: AtomicBool,
    health: Arc<Health>,
    /// Keeps a flush waiting until the acknowledgement has been given.
    _open: TaskTrackerToken,
}

impl BatchDelivery {
    pub(super) fn new(ack: Ack, health: Arc<Health>, open: TaskTrackerToken) -> Self {
        Self {
            ack: Mutex::new(Some(ack)),
            complete: AtomicBool::new(false),
            health,
            _open: open,
        }
    }

    /// Says that all of the batch's messages have been handed over.
    pub(super) fn complete(&self) {
        self.complete.store(true, Ordering::Release);
    }
}

impl Drop for BatchDelivery {
    fn drop(&mut self) {
        if *self.complete.get_mut()
            && !self.health.lost()
            && let Some(ack) = self.ack.get_mut().take()
        {
            ack.done();
        }
    }
}
