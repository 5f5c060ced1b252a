use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidemark_model::{SpanId, Ts};

/// What a puller holds and did, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PullStats {
    /// Spans subscribed.
    pub spans: u64,
    /// Region subscriptions held or waiting for admission.
    pub regions: u64,
    /// Those whose initial scan is done.
    pub initialised: u64,
    /// Streams to stores.
    pub streams: u64,
    /// Rows received, since the start.
    pub rows: u64,
    /// Bytes of keys and values delivered, since the start.
    pub bytes: u64,
    /// Changes delivered, since the start.
    pub changes: u64,
    /// Prewrites that wait for their commit.
    pub pending_prewrites: u64,
    /// Bytes that they hold.
    pub pending_prewrite_bytes: u64,
    /// Bytes of delivered changes that their consumer still holds.
    pub queued_bytes: u64,
    /// Region errors and lost streams, since the start.
    pub errors: u64,
    /// Lock searches in stuck regions, since the start.
    pub lock_checks: u64,
    /// Locks resolved, since the start.
    pub locks_resolved: u64,
    /// Regions whose subscriptions were made anew because they were stuck without a lock.
    pub heals: u64,
    /// Commits whose prewrite never came; their regions were read again.
    pub missing_prewrites: u64,
    /// Regions that hold their span back, the slowest first; at most 64.
    pub slow_regions: Vec<SlowRegion>,
}

/// A region that holds its span's resolved ts back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowRegion {
    /// The region, or 0 while it is not known which region holds the range.
    pub region: u64,
    /// Its store, or 0 while unknown.
    pub store: u64,
    /// The span it belongs to.
    pub span: SpanId,
    /// How far it got.
    pub resolved: Ts,
    /// Why, as far as known.
    pub reason: SlowReason,
    /// How long it has been so.
    pub lasting: Duration,
}

/// Why a region is slow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlowReason {
    /// No region or no leader is known for the range; the text says what was seen last.
    Unlocated(String),
    /// Its turn for an initial scan has not come.
    Waiting,
    /// The initial scan is not done.
    Scanning,
    /// A lock of a live transaction holds it.
    Locked {
        /// The start ts of the oldest transaction.
        start_ts: Ts,
        /// Locks seen.
        locks: usize,
    },
    /// It does not move, and no lock is there.
    StuckWithoutLock,
    /// It lags; nothing more is known.
    Lagging,
}

/// Counters that the streams share.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) spans: AtomicU64,
    pub(crate) regions: AtomicU64,
    pub(crate) initialised: AtomicU64,
    pub(crate) streams: AtomicU64,
    pub(crate) rows: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) changes: AtomicU64,
    pub(crate) pending_prewrites: AtomicU64,
    pub(crate) pending_prewrite_bytes: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) lock_checks: AtomicU64,
    pub(crate) locks_resolved: AtomicU64,
    pub(crate) heals: AtomicU64,
    pub(crate) missing_prewrites: AtomicU64,
}

impl Counters {
    /// Copies the counters into `stats`.
    pub(crate) fn read_into(&self, stats: &mut PullStats) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        stats.spans = read(&self.spans);
        stats.regions = read(&self.regions);
        stats.initialised = read(&self.initialised);
        stats.streams = read(&self.streams);
        stats.rows = read(&self.rows);
        stats.bytes = read(&self.bytes);
        stats.changes = read(&self.changes);
        stats.pending_prewrites = read(&self.pending_prewrites);
        stats.pending_prewrite_bytes = read(&self.pending_prewrite_bytes);
        stats.errors = read(&self.errors);
        stats.lock_checks = read(&self.lock_checks);
        stats.locks_resolved = read(&self.locks_resolved);
        stats.heals = read(&self.heals);
        stats.missing_prewrites = read(&self.missing_prewrites);
    }
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
