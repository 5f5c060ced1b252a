//! Settings of the change feed, and what a test may ask of it while it runs.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

/// Settings of the change feed of every store; the defaults are TiKV's.
#[derive(Clone, Debug)]
pub struct CdcConfig {
    /// Bytes that may wait for one client; a live row beyond it ends its subscription with `congested`.
    pub stream_quota: usize,
    /// An event of an initial scan takes no more rows once it holds so many bytes.
    pub scan_event_bytes: usize,
    /// Events are put together in one message up to so many bytes. A larger event is a message of its own.
    pub message_bytes: usize,
    /// Events in one message at most.
    pub message_events: usize,
    /// Initial scans of a store that run at the same time.
    pub concurrent_scans: usize,
    /// Initial scans that may wait or run; more registrations are answered by `server_is_busy`.
    pub pending_scans: usize,
    /// Whether the server knows `EventFeedV2`.
    pub v2: bool,
    /// What a test asks for while the cluster runs; copies share it.
    pub control: CdcControl,
}

impl Default for CdcConfig {
    fn default() -> Self {
        Self {
            stream_quota: 512 << 20,
            scan_event_bytes: 32 << 10,
            message_bytes: 6 << 20,
            message_events: 64,
            concurrent_scans: 6,
            pending_scans: 10_000,
            v2: true,
            control: CdcControl::default(),
        }
    }
}

/// Where initial scans wait for the test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScanHold {
    /// Nowhere.
    #[default]
    None,
    /// Once so many events of the scan have been sent.
    AfterEvents(usize),
    /// When all rows have been sent, and only `INITIALIZED` is left.
    BeforeInitialized,
}

/// What a test may ask of the change feeds of a cluster; copies share the settings.
#[derive(Clone, Debug, Default)]
pub struct CdcControl(Arc<Switches>);

#[derive(Debug, Default)]
struct Switches {
    hold: watch::Sender<ScanHold>,
    duplicate_scans: AtomicBool,
    fake_prewrites: AtomicBool,
    omit_rollbacks: AtomicBool,
    frozen: Mutex<HashSet<u64>>,
}

impl CdcControl {
    /// Makes initial scans wait at a point, so that live rows overtake them; `None` lets them go on.
    pub fn hold_scans(&self, at: ScanHold) {
        self.0.hold.send_replace(at);
    }

    /// Lets initial scans send each found version as PREWRITE and COMMIT too, as if it had raced the scan.
    pub fn duplicate_scans(&self, on: bool) {
        self.0.duplicate_scans.store(on, Ordering::SeqCst);
    }

    /// Repeats each live PREWRITE of a put without its value, as rewritten locks of older servers do.
    pub fn fake_prewrites(&self, on: bool) {
        self.0.fake_prewrites.store(on, Ordering::SeqCst);
    }

    /// Sends no ROLLBACK rows: clients must not need them.
    pub fn omit_rollbacks(&self, on: bool) {
        self.0.omit_rollbacks.store(on, Ordering::SeqCst);
    }

    /// Keeps a region's resolved ts where it is, as if its leader could not prove its leadership.
    pub fn freeze_resolved(&self, region_id: u64, on: bool) {
        let mut frozen = self.0.frozen.lock();
        if on {
            frozen.insert(region_id);
        } else {
            frozen.remove(&region_id);
        }
    }

    pub(super) fn hold(&self) -> watch::Receiver<ScanHold> {
        self.0.hold.subscribe()
    }

    pub(super) fn duplicates_scans(&self) -> bool {
        self.0.duplicate_scans.load(Ordering::Relaxed)
    }

    pub(super) fn fakes_prewrites(&self) -> bool {
        self.0.fake_prewrites.load(Ordering::Relaxed)
    }

    pub(super) fn omits_rollbacks(&self) -> bool {
        self.0.omit_rollbacks.load(Ordering::Relaxed)
    }

    pub(super) fn frozen(&self) -> HashSet<u64> {
        self.0.frozen.lock().clone()
    }
}
