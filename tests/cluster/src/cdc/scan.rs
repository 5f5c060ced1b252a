//! The initial scan of a subscription: what was found at its registration, sent bit by bit.

use std::sync::Arc;

use prost::Message;

use super::config::{CdcControl, ScanHold};
use super::endpoint::Endpoint;
use super::outbox::Outbox;
use super::rows;
use crate::engine::snapshot::ScanEntry;

/// What a scan has to send, and to whom.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) region: u64,
    pub(super) serial: u64,
    pub(super) entries: Vec<ScanEntry>,
    pub(super) filter_loop: bool,
    pub(super) outbox: Arc<Outbox>,
}

impl Scan {
    /// Sends everything; ends early where the subscription is gone.
    pub(super) async fn run(self, endpoint: &Endpoint) {
        let control = &endpoint.config().control;
        let duplicate = control.duplicates_scans();
        let (mut rows, mut bytes, mut events) = (Vec::new(), 0, 0);
        let mut found = Vec::new();
        for entry in self.entries {
            rows::scanned(&entry, self.filter_loop, duplicate, &mut found);
            for row in found.drain(..) {
                if bytes >= endpoint.config().scan_event_bytes {
                    held(control, ScanHold::AfterEvents(events)).await;
                    self.outbox.scan_room().await;
                    if !endpoint.scanned(self.region, self.serial, std::mem::take(&mut rows), false) {
                        return;
                    }
                    (bytes, events) = (0, events + 1);
                }
                bytes += row.encoded_len();
                rows.push(row);
            }
        }
        held(control, ScanHold::AfterEvents(events)).await;
        if control.hold().borrow().eq(&ScanHold::BeforeInitialized) {
            self.outbox.scan_room().await;
            let rows = std::mem::take(&mut rows);
            if !rows.is_empty() && !endpoint.scanned(self.region, self.serial, rows, false) {
                return;
            }
            held(control, ScanHold::BeforeInitialized).await;
        }
        self.outbox.scan_room().await;
        endpoint.scanned(self.region, self.serial, rows, true);
    }
}

/// Waits while the test holds scans at this point.
async fn held(control: &CdcControl, point: ScanHold) {
    let mut hold = control.hold();
    let passes = |at: &ScanHold| match (*at, point) {
        (ScanHold::AfterEvents(limit), ScanHold::AfterEvents(sent)) => sent < limit,
        (at, point) => at != point,
    };
    // The sender lives as long as the control.
    let _ = hold.wait_for(passes).await;
}
