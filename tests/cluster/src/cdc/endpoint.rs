//! The change feed of one store: its subscribed regions, its streams and its ticker.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tidemark_model::Ts;
use tidemark_proto::cdcpb::{self, Event, event};
use tidemark_proto::{errorpb, metapb};
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

use super::config::CdcConfig;
use super::outbox::Outbox;
use super::packing;
use super::region::{Quirks, Region, SubscriptionKey, region_not_found};
use super::version::{Dialect, ResolvedForm};
use crate::engine::observe::{Applied, Observer, RegionChange};
use crate::state::StoreHandle;

/// The change feed of one store.
///
/// Locks are taken in the order: a region of the cluster, then `state`.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) store: StoreHandle,
    config: CdcConfig,
    pub(super) state: Mutex<EndpointState>,
    pub(super) scan_slots: Semaphore,
    pub(super) pending_scans: AtomicUsize,
    serial: AtomicU64,
}

/// What the endpoint's lock guards.
#[derive(Debug, Default)]
pub(super) struct EndpointState {
    pub(super) regions: HashMap<u64, Region, RandomState>,
    pub(super) streams: HashMap<u64, Connection, RandomState>,
}

/// One stream of a client.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) outbox: Arc<Outbox>,
    pub(super) dialect: Dialect,
    /// Request id and region of each subscription.
    pub(super) subscribed: HashSet<(u64, u64), RandomState>,
}

impl EndpointState {
    /// Forgets subscriptions that ended, and the region when none is left.
    pub(super) fn forget(&mut self, region_id: u64, ended: &[SubscriptionKey]) {
        for key in ended {
            if let Some(stream) = self.streams.get_mut(&key.stream) {
                stream.subscribed.remove(&(key.request, region_id));
            }
        }
        if self
            .regions
            .get(&region_id)
            .is_some_and(|region| region.subscriptions.is_empty())
        {
            self.regions.remove(&region_id);
        }
    }

    fn stop(&mut self, region_id: u64, error: &cdcpb::Error) {
        if let Some(region) = self.regions.get_mut(&region_id) {
            let ended = region.stop(error);
            self.forget(region_id, &ended);
        }
    }
}

impl Endpoint {
    /// The change feed of a store, which it follows from now on. The ticker ends with the endpoint.
    pub(super) fn start(store: StoreHandle, config: CdcConfig, interval: Duration) -> Arc<Self> {
        let endpoint = Arc::new(Self {
            scan_slots: Semaphore::new(config.concurrent_scans),
            pending_scans: AtomicUsize::new(0),
            serial: AtomicU64::new(1),
            state: Mutex::default(),
            store,
            config,
        });
        endpoint.store.set_observer(Arc::<Self>::clone(&endpoint));
        tokio::spawn(tick(Arc::downgrade(&endpoint), interval));
        endpoint
    }

    pub(super) fn config(&self) -> &CdcConfig {
        &self.config
    }

    /// A number that was not given before.
    pub(super) fn serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    /// Ends all that a stream subscribed to, without a word.
    pub(super) fn disconnect(&self, stream: u64) {
        let mut state = self.state.lock();
        let Some(connection) = state.streams.remove(&stream) else {
            return;
        };
        for (request, region_id) in connection.subscribed {
            let key = SubscriptionKey { stream, request };
            if let Some(region) = state.regions.get_mut(&region_id) {
                region.unsubscribe(key, None);
                state.forget(region_id, &[key]);
            }
        }
    }

    /// Sends rows of a scan; false where its subscription is gone.
    pub(super) fn scanned(&self, region: u64, serial: u64, rows: Vec<event::Row>, last: bool) -> bool {
        let mut state = self.state.lock();
        let region = state.regions.get_mut(&region);
        region.is_some_and(|region| region.scanned(serial, rows, last))
    }

    /// Sends the resolved ts of every subscription.
    ///
    /// Each region is visited once between raising the read ts and looking at its locks: a commit that took a
    /// lower ts before is known by then.
    pub(super) fn resolve(&self) {
        let regions: Vec<u64> = self.state.lock().regions.keys().copied().collect();
        if regions.is_empty() {
            return;
        }
        let ts = self.store.now();
        self.store.raise_max_ts(ts);
        let frozen = self.config.control.frozen();
        let reached = |region| {
            let led = !frozen.contains(&region) && self.store.with_region(region, |_| ()).is_ok();
            (region, led.then_some(ts))
        };
        let reached: Vec<(u64, Option<Ts>)> = regions.into_iter().map(reached).collect();
        self.send_resolved(&reached);
    }

    fn send_resolved(&self, reached: &[(u64, Option<Ts>)]) {
        let mut state = self.state.lock();
        let mut groups: HashMap<SubscriptionKey, Vec<(u64, u64)>, RandomState> = HashMap::default();
        let EndpointState { regions, streams } = &mut *state;
        for (id, ts) in reached {
            let Some(region) = regions.get_mut(id) else {
                continue;
            };
            for subscription in region.resolve(*ts) {
                let mut key = subscription.key;
                match streams.get(&key.stream).map(|stream| stream.dialect.resolved) {
                    Some(ResolvedForm::PerRequest) => {}
                    Some(ResolvedForm::PerStream) => key.request = 0,
                    Some(ResolvedForm::PerRegion) => {
                        // An event that doesn't fit is dropped: the next will say more.
                        let _ = subscription.outbox.push_live(Event {
                            region_id: *id,
                            request_id: key.request,
                            event: Some(event::Event::ResolvedTs(subscription.resolved.0)),
                            ..Default::default()
                        });
                        continue;
                    }
                    Some(ResolvedForm::Nothing) | None => continue,
                }
                groups
                    .entry(key)
                    .or_default()
                    .push((subscription.resolved.0, *id));
            }
        }
        for (key, mut regions) in groups {
            let Some(stream) = streams.get(&key.stream) else {
                continue;
            };
            if stream.dialect.resolved == ResolvedForm::PerStream {
                packing::least_per_region(&mut regions);
            }
            for message in packing::pack(key.request, regions) {
                stream.outbox.push_resolved(message);
            }
        }
    }
}

impl Observer for Endpoint {
    fn wants(&self, region_id: u64) -> bool {
        self.state.lock().regions.contains_key(&region_id)
    }

    fn applied(&self, region: &metapb::Region, effects: Vec<Applied>) {
        let control = &self.config.control;
        let quirks = Quirks {
            fake_prewrites: control.fakes_prewrites(),
            omit_rollbacks: control.omits_rollbacks(),
        };
        let mut state = self.state.lock();
        if let Some(subscribed) = state.regions.get_mut(&region.id) {
            let ended = subscribed.apply(effects, quirks);
            if !ended.is_empty() {
                state.forget(region.id, &ended);
            }
        }
    }

    fn region_changed(&self, region_id: u64, why: RegionChange) {
        let error = match why {
            RegionChange::Split { new } => epoch_not_match(new),
            RegionChange::PrepareMerge | RegionChange::CommitMerge => epoch_not_match(Vec::new()),
            RegionChange::LeaderLost { new_leader } => cdcpb::Error {
                not_leader: Some(errorpb::NotLeader {
                    region_id,
                    leader: new_leader,
                }),
                ..Default::default()
            },
            RegionChange::Destroyed => region_not_found(region_id),
        };
        self.state.lock().stop(region_id, &error);
    }
}

/// The error for a region that is another now.
pub(super) fn epoch_not_match(current_regions: Vec<metapb::Region>) -> cdcpb::Error {
    cdcpb::Error {
        epoch_not_match: Some(errorpb::EpochNotMatch { current_regions }),
        ..Default::default()
    }
}

/// Sends resolved timestamps until the endpoint is gone.
async fn tick(endpoint: Weak<Endpoint>, interval: Duration) {
    // TiKV too takes its default for zero.
    let interval = if interval.is_zero() {
        Duration::from_secs(1)
    } else {
        interval
    };
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(endpoint) = endpoint.upgrade() else {
            return;
        };
        endpoint.resolve();
    }
}
