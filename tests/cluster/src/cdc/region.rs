//! One subscribed region: the locks that hold its resolved ts, and its subscriptions. No clock, no sockets.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::RandomState;
use tidemark_model::Ts;
use tidemark_proto::cdcpb::{self, Event, event};
use tidemark_proto::errorpb;

use super::outbox::Outbox;
use super::range::ObservedRange;
use super::rows;
use crate::engine::observe::Applied;

/// Names a subscription of a region: a stream and the request id on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SubscriptionKey {
    pub(super) stream: u64,
    pub(super) request: u64,
}

/// How a test wants live rows to be changed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Quirks {
    pub(super) fake_prewrites: bool,
    pub(super) omit_rollbacks: bool,
}

/// One subscription.
#[derive(Debug)]
pub(super) struct Subscription {
    /// Never used twice, so that a scan can't go on for a later registration of the same name.
    pub(super) serial: u64,
    pub(super) key: SubscriptionKey,
    pub(super) outbox: Arc<Outbox>,
    pub(super) range: ObservedRange,
    pub(super) filter_loop: bool,
    /// The initial scan is over: resolved timestamps may be sent.
    pub(super) initialized: bool,
    /// The last one sent; never falls.
    pub(super) resolved: Ts,
    /// Start ts of the tracked locks inside the range, with their number.
    pub(super) pins: BTreeMap<Ts, usize>,
}

impl Subscription {
    pub(super) fn new(
        serial: u64,
        key: SubscriptionKey,
        outbox: Arc<Outbox>,
        range: ObservedRange,
        filter_loop: bool,
    ) -> Self {
        Self {
            serial,
            key,
            outbox,
            range,
            filter_loop,
            initialized: false,
            resolved: Ts::ZERO,
            pins: BTreeMap::new(),
        }
    }

    fn event(&self, region_id: u64, body: event::Event) -> Event {
        Event {
            region_id,
            request_id: self.key.request,
            event: Some(body),
            ..Default::default()
        }
    }

    fn fail(&self, region_id: u64, error: cdcpb::Error) {
        self.outbox
            .push_error(self.event(region_id, event::Event::Error(error)));
    }

    fn sees(&self, row: &event::Row) -> bool {
        self.range.covers(&row.key) && !rows::is_filtered(row.txn_source, self.filter_loop)
    }

    /// Sends those of the rows that the subscription sees; false where there is no room for them.
    fn send_live(&self, region_id: u64, rows: &[event::Row]) -> bool {
        let entries: Vec<_> = rows.iter().filter(|row| self.sees(row)).cloned().collect();
        if entries.is_empty() {
            return true;
        }
        let entries = event::Event::Entries(event::Entries { entries });
        self.outbox.push_live(self.event(region_id, entries)).is_ok()
    }

    fn pin(&mut self, key: &[u8], ts: Ts) {
        if self.range.covers(key) {
            *self.pins.entry(ts).or_default() += 1;
        }
    }

    fn unpin(&mut self, key: &[u8], ts: Ts) {
        if !self.range.covers(key) {
            return;
        }
        if let Some(count) = self.pins.get_mut(&ts) {
            *count -= 1;
            if *count == 0 {
                self.pins.remove(&ts);
            }
        }
    }
}

/// A region with at least one subscription on this store.
///
/// Its tracked locks are read once, when the first subscription comes, and then follow the effects alone: a lock
/// that vanishes without a record stays here until the key is prewritten again or the last subscription ends.
#[derive(Debug)]
pub(super) struct Region {
    id: u64,
    locks: HashMap<Bytes, Ts, RandomState>,
    pub(super) subscriptions: Vec<Subscription>,
    seed: u64,
}

impl Region {
    pub(super) fn new(id: u64, locks: impl IntoIterator<Item = (Bytes, Ts)>, seed: u64) -> Self {
        Self {
            id,
            locks: locks.into_iter().collect(),
            subscriptions: Vec::new(),
            seed: seed ^ id,
        }
    }

    pub(super) fn has(&self, key: SubscriptionKey) -> bool {
        self.subscriptions
            .iter()
            .any(|subscription| subscription.key == key)
    }

    /// Adds a subscription; live rows flow from now on.
    pub(super) fn subscribe(&mut self, mut subscription: Subscription) {
        for (key, ts) in &self.locks {
            subscription.pin(key, *ts);
        }
        self.subscriptions.push(subscription);
    }

    /// Ends a subscription, telling the client if `error` is given. False where there is none.
    pub(super) fn unsubscribe(&mut self, key: SubscriptionKey, error: Option<cdcpb::Error>) -> bool {
        let Some(at) = self
            .subscriptions
            .iter()
            .position(|subscription| subscription.key == key)
        else {
            return false;
        };
        let subscription = self.subscriptions.swap_remove(at);
        if let Some(error) = error {
            subscription.fail(self.id, error);
        }
        true
    }

    /// Ends all subscriptions with one error; gives their names.
    pub(super) fn stop(&mut self, error: &cdcpb::Error) -> Vec<SubscriptionKey> {
        let ended = std::mem::take(&mut self.subscriptions);
        for subscription in &ended {
            subscription.fail(self.id, error.clone());
        }
        ended.into_iter().map(|subscription| subscription.key).collect()
    }

    /// Sends what a command did; gives the subscriptions that ended by it.
    pub(super) fn apply(&mut self, effects: Vec<Applied>, quirks: Quirks) -> Vec<SubscriptionKey> {
        // TiKV takes any write to a key with this first byte for raw data and fails on it.
        if effects.iter().any(|effect| effect.key().first() == Some(&b'r')) {
            return self.stop(&region_not_found(self.id));
        }
        for effect in &effects {
            self.track(effect);
        }
        let effects = effects
            .into_iter()
            .filter(|effect| !(quirks.omit_rollbacks && matches!(effect, Applied::Rollback { .. })));
        let mut rows: Vec<_> = effects.map(rows::live).collect();
        if rows.len() > 1 {
            self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            rows::shuffle(&mut rows, self.seed);
        }
        let fakes = if quirks.fake_prewrites {
            rows::fakes(&rows)
        } else {
            Vec::new()
        };
        let (id, mut ended) = (self.id, Vec::new());
        self.subscriptions.retain(|subscription| {
            let sent = subscription.send_live(id, &rows) && subscription.send_live(id, &fakes);
            if !sent {
                subscription.fail(id, congested(id));
                ended.push(subscription.key);
            }
            sent
        });
        ended
    }

    fn track(&mut self, effect: &Applied) {
        match effect {
            Applied::Prewrite { key, start_ts, .. } => {
                let before = self.locks.insert(key.clone(), *start_ts);
                if before == Some(*start_ts) {
                    return;
                }
                for subscription in &mut self.subscriptions {
                    if let Some(before) = before {
                        subscription.unpin(key, before);
                    }
                    subscription.pin(key, *start_ts);
                }
            }
            Applied::Commit { key, start_ts, .. } | Applied::Rollback { key, start_ts, .. } => {
                if self.locks.get(key) == Some(start_ts) {
                    self.locks.remove(key);
                    for subscription in &mut self.subscriptions {
                        subscription.unpin(key, *start_ts);
                    }
                }
            }
            // Neither had a tracked lock.
            Applied::Committed { .. } | Applied::CommitLockOnly { .. } => {}
        }
    }

    /// Sends rows of an initial scan, and with `last` the row that ends it; false where its subscription is gone.
    pub(super) fn scanned(&mut self, serial: u64, mut entries: Vec<event::Row>, last: bool) -> bool {
        let mut subscriptions = self.subscriptions.iter_mut();
        let Some(subscription) = subscriptions.find(|subscription| subscription.serial == serial) else {
            return false;
        };
        if last {
            entries.push(rows::initialized());
            subscription.initialized = true;
        }
        let entries = event::Event::Entries(event::Entries { entries });
        subscription
            .outbox
            .push_scanned(subscription.event(self.id, entries));
        true
    }

    /// Moves the resolved ts of the initialized subscriptions up to `ts` or their oldest lock (or not at all,
    /// without a `ts`) and gives those that have one.
    pub(super) fn resolve(&mut self, ts: Option<Ts>) -> impl Iterator<Item = &Subscription> {
        for subscription in self
            .subscriptions
            .iter_mut()
            .filter(|subscription| subscription.initialized)
        {
            let oldest = subscription.pins.first_key_value().map(|(oldest, _)| *oldest);
            if let Some(ts) = ts {
                let reached = oldest.map_or(ts, |oldest| oldest.min(ts));
                subscription.resolved = subscription.resolved.max(reached);
            }
        }
        self.subscriptions
            .iter()
            .filter(|subscription| subscription.resolved != Ts::ZERO)
    }
}

/// The error for a region that is no longer followed.
pub(super) fn region_not_found(region_id: u64) -> cdcpb::Error {
    cdcpb::Error {
        region_not_found: Some(errorpb::RegionNotFound { region_id }),
        ..Default::default()
    }
}

fn congested(region_id: u64) -> cdcpb::Error {
    cdcpb::Error {
        congested: Some(cdcpb::Congested { region_id }),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests;
