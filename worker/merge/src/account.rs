use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Spill;

/// Where one sorter's memory is booked: on its own share and on the sum of the process.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) spill: Arc<Spill>,
    pub(crate) share: Arc<AtomicUsize>,
}

impl Account {
    pub(crate) fn new(spill: Arc<Spill>) -> Self {
        Self {
            spill,
            share: Arc::default(),
        }
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.share.fetch_add(bytes, Ordering::Relaxed);
        self.spill.add_memory(bytes);
    }

    pub(crate) fn sub(&self, bytes: usize) {
        self.share.fetch_sub(bytes, Ordering::Relaxed);
        self.spill.sub_memory(bytes);
    }
}
