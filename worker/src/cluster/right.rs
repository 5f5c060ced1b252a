//! Whether this worker may act as the feed's owner.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidemark_lease::Authority;

/// The right to act as owner in one term of the owner's Lease; a cheap clone. Asked before each thing that goes out.
///
/// While the Kubernetes API answers nobody no Lease can be renewed, and nobody can take one: an owner whose members are all
/// connected, and all cut off from the API, goes on.
#[derive(Clone, Debug)]
pub(crate) struct Right {
    lease: Authority,
    term: u64,
    alone: Arc<AtomicBool>,
}

impl Right {
    pub(crate) fn new(lease: Authority, term: u64) -> Self {
        Self {
            lease,
            term,
            alone: Arc::default(),
        }
    }

    /// Whether the owner may act now.
    pub(crate) fn holds(&self) -> bool {
        let outage = self.lease.unreachable_since().is_some() && self.alone.load(Ordering::Acquire);
        self.lease.holds_term(self.term) || outage
    }

    /// Notes whether every member is connected and cut off from the API as we are.
    pub(crate) fn set_alone(&self, alone: bool) {
        self.alone.store(alone, Ordering::Release);
    }
}
