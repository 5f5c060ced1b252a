use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use object_store::PutPayload;
use parking_lot::Mutex;
use tidemark_model::Grant;
use tokio::time::Instant;

use super::encoder::{Piece, Transaction};
use crate::Ack;

/// Rows of one transaction come closer together than this.
const QUIET: Duration = Duration::from_millis(50);

/// Beyond its age, a file waits no longer for a transaction's end.
const LATE: Duration = Duration::from_secs(1);

/// When a file ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) bytes: usize,
    pub(super) age: Duration,
}

/// A batch that is on its way: acknowledged when every file that holds a row of it is durable.
#[derive(Debug)]
pub(super) struct Delivery {
    /// Pieces that are not durable, and one while the batch is still being encoded.
    open: AtomicUsize,
    ack: Mutex<Option<Ack>>,
}

impl Delivery {
    pub(super) fn new(ack: Ack) -> Arc<Self> {
        Arc::new(Self {
            open: AtomicUsize::new(1),
            ack: Mutex::new(Some(ack)),
        })
    }

    pub(super) fn begin(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(ack) = self.ack.lock().take()
        {
            ack.done();
        }
    }
}

/// A data file while it fills.
#[derive(Debug)]
pub(super) struct OpenFile {
    parts: Vec<Bytes>,
    bytes: usize,
    began: Instant,
    pushed: Instant,
    last: Option<Transaction>,
    grants: Vec<Grant>,
    deliveries: Vec<Arc<Delivery>>,
}

impl OpenFile {
    pub(super) fn new(header: Vec<u8>, now: Instant) -> Self {
        Self {
            bytes: header.len(),
            parts: if header.is_empty() {
                Vec::new()
            } else {
                vec![header.into()]
            },
            began: now,
            pushed: now,
            last: None,
            grants: Vec::new(),
            deliveries: Vec::new(),
        }
    }

    /// Whether the piece belongs into the next file: this one is full or old and a transaction has ended, or it is twice full.
    pub(super) fn ends_before(&self, piece: &Piece, limits: Limits, now: Instant) -> bool {
        if self.goes_on_in(piece) {
            return self.bytes >= 2 * limits.bytes;
        }
        self.is_due(limits, now)
    }

    /// Whether the piece begins inside the file's last transaction.
    pub(super) fn goes_on_in(&self, piece: &Piece) -> bool {
        self.last == Some(piece.first)
    }

    /// Whether the file is to be written though nothing follows: it is full or old, and no row has come for a while, so that
    /// a transaction hardly goes on; or it is much too old.
    pub(super) fn ends(&self, limits: Limits, now: Instant) -> bool {
        let quiet = self.pushed + QUIET <= now || self.began + limits.age + LATE <= now;
        quiet && self.is_due(limits, now)
    }

    /// Whether the file is full or old.
    pub(super) fn is_due(&self, limits: Limits, now: Instant) -> bool {
        self.bytes >= limits.bytes || self.began + limits.age <= now
    }

    pub(super) fn push(
        &mut self,
        piece: Piece,
        grant: Option<Grant>,
        delivery: &Arc<Delivery>,
        now: Instant,
    ) {
        delivery.begin();
        self.pushed = now;
        self.bytes += piece.bytes.len();
        self.parts.push(piece.bytes.into());
        self.last = Some(piece.last);
        if let Some(grant) = grant {
            match self.grants.last_mut() {
                Some(all) => all.merge(grant),
                None => self.grants.push(grant),
            }
        }
        match self.deliveries.last() {
            // The same batch again: one mark is enough.
            Some(last) if Arc::ptr_eq(last, delivery) => delivery.end(),
            _ => self.deliveries.push(Arc::clone(delivery)),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn payload(&self) -> PutPayload {
        self.parts.iter().cloned().collect()
    }

    /// The file is durable and its folder's index names it.
    pub(super) fn durable(self) {
        for delivery in &self.deliveries {
            delivery.end();
        }
    }
}
