//! Until when the holder of a Lease may act.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::RwLock;

use crate::clock;

/// Until when the holder may act; a cheap clone.
///
/// Ends by itself: each question looks at the monotonic clock, so that it is right even where the renewing task is
/// dead or the runtime stalled. Ask before each thing that goes out, not once per term.
#[derive(Debug, Clone, Default)]
pub struct Authority(Arc<RwLock<Grant>>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) until: Option<Instant>,
    pub(crate) term: u64,
    pub(crate) unreachable_since: Option<Instant>,
}

impl Authority {
    /// Whether the holder may act now.
    pub fn holds(&self) -> bool {
        self.holds_at(clock::now())
    }

    /// Whether the holder may act now, and has had the Lease since term `term` began (see
    /// [`crate::Standing::term`]). What was started in an older term must not go on in a newer one.
    pub fn holds_term(&self, term: u64) -> bool {
        let grant = *self.0.read();
        grant.term == term && grant.until.is_some_and(|until| clock::now() < until)
    }

    /// Whether the holder may act at `now`, as far as is known by now.
    pub fn holds_at(&self, now: Instant) -> bool {
        self.until().is_some_and(|until| now < until)
    }

    /// The instant at which authority ends unless a renewal is confirmed; may have passed. `None` where we don't
    /// hold the Lease at all: never acquired, given back, deleted, or someone else has it.
    pub fn until(&self) -> Option<Instant> {
        self.0.read().until
    }

    /// How many times the Lease has been acquired.
    pub fn term(&self) -> u64 {
        self.0.read().term
    }

    /// Since when the API server has given no answer at all (no connection, a timeout, 429 or 5xx), so that a caller may
    /// apply a rule of its own during an outage. `None` after any answer about the Lease, also "someone else holds it"; a
    /// refusal (403) is none, since a server that has just begun refuses everybody for a moment.
    pub fn unreachable_since(&self) -> Option<Instant> {
        self.0.read().unreachable_since
    }

    pub(crate) fn set(&self, grant: Grant) {
        *self.0.write() = grant;
    }
}
