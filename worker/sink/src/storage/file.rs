use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use object_store::PutPayload;
use parking_lot::Mutex;
use tidemark_model::Grant;
use tokio::time::Instant;

use super::encoder::{Piece, Transaction};
use crate::Ack;

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
            last: None,
            grants: Vec::new(),
            deliveries: Vec::new(),
        }
    }

    /// Whether the piece belongs into the next file: this one is full and a transaction has ended, or it is twice full.
    pub(super) fn ends_before(&self, piece: &Piece, file_size: usize) -> bool {
        let Some(last) = self.last else { return false };
        let inside = last == piece.first;
        self.bytes >= if inside { 2 * file_size } else { file_size }
    }

    pub(super) fn push(&mut self, piece: Piece, grant: Option<Grant>, delivery: &Arc<Delivery>) {
        delivery.begin();
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

    pub(super) fn began(&self) -> Instant {
        self.began
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
