//! What the cluster's parts share: regions, stores, PD's clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use rand::rngs::StdRng;
use tidemark_model::Ts;
use tidemark_proto::{errorpb, metapb};

use crate::config::ClusterConfig;
use crate::engine::observe::Observer;
use crate::faults::StreamFaults;
use crate::pd::gc::GcState;
use crate::region::{Region, RegionView, region_not_found};
use crate::topology::Topology;
use crate::tso::{MaxTs, Tso};

/// All state of a cluster. Locks are taken in the order topology, region.
pub(crate) struct State {
    pub(crate) config: ClusterConfig,
    pub(crate) cluster_id: u64,
    pub(crate) tso: Tso,
    pub(crate) max_ts: MaxTs,
    pub(crate) topology: RwLock<Topology>,
    pub(crate) stores: BTreeMap<u64, Store>,
    pub(crate) gc: Mutex<GcState>,
    pub(crate) rng: Mutex<StdRng>,
    pub(crate) next_id: AtomicU64,
    pub(crate) pd_urls: Vec<String>,
    pub(crate) pd_leader: AtomicU64,
}

/// One TiKV store.
pub(crate) struct Store {
    /// `host:port`; stays the same when it is revived.
    pub(crate) address: String,
    pub(crate) alive: AtomicBool,
    pub(crate) faults: StreamFaults,
    observer: RwLock<Option<Arc<dyn Observer>>>,
}

impl Store {
    pub(crate) fn new(address: String) -> Self {
        Self {
            address,
            alive: AtomicBool::new(true),
            faults: StreamFaults::default(),
            observer: RwLock::new(None),
        }
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::SeqCst)
    }

    pub(crate) fn observer(&self) -> Option<Arc<dyn Observer>> {
        self.observer.read().clone()
    }

    pub(crate) fn set_observer(&self, observer: Option<Arc<dyn Observer>>) {
        *self.observer.write() = observer;
    }
}

impl State {
    pub(crate) fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::SeqCst)
    }

    /// The region of an id, or TiKV's error.
    pub(crate) fn region(&self, id: u64) -> Result<Arc<Region>, errorpb::Error> {
        let region = self.topology.read().by_id(id);
        region.ok_or_else(|| region_not_found(id))
    }

    /// The observer of the store that leads a region.
    pub(crate) fn observer_of(&self, leader: Option<&metapb::Peer>) -> Option<Arc<dyn Observer>> {
        self.stores.get(&leader?.store_id)?.observer()
    }
}

/// What the services of one store may use of the cluster. Cheap to clone.
#[derive(Clone)]
pub struct StoreHandle {
    pub(crate) state: Arc<State>,
    pub(crate) store_id: u64,
}

impl std::fmt::Debug for StoreHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreHandle")
            .field("store_id", &self.store_id)
            .finish_non_exhaustive()
    }
}

impl StoreHandle {
    /// The store's id.
    pub fn store_id(&self) -> u64 {
        self.store_id
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> u64 {
        self.state.cluster_id
    }

    /// A timestamp from PD; the last one again while PD is paused.
    pub fn now(&self) -> Ts {
        self.state.tso.seen_by_store()
    }

    /// Keeps async commits above `ts`: to be called before `ts` is used as a resolved ts. Whoever then visits a
    /// region by [`StoreHandle::with_region`] has seen every commit at or below `ts` that was under way.
    pub fn raise_max_ts(&self, ts: Ts) {
        self.state.max_ts.raise(ts);
    }

    /// Registers who follows this store's regions, in place of the one before.
    pub fn set_observer(&self, observer: Arc<dyn Observer>) {
        if let Some(store) = self.state.stores.get(&self.store_id) {
            store.set_observer(Some(observer));
        }
    }

    /// Metadata of a region that this store leads.
    ///
    /// # Errors
    /// `region_not_found` or `not_leader`, as TiKV words them.
    pub fn leader_region(&self, region_id: u64) -> Result<metapb::Region, errorpb::Error> {
        self.with_region(region_id, |view| view.meta().clone())
    }

    /// Visits a region that this store leads while nothing is applied to it: what the closure registers and
    /// what it reads fit together. The closure must not call back into the cluster (a plain [`Self::now`] may).
    ///
    /// # Errors
    /// `region_not_found` or `not_leader`, as TiKV words them.
    pub fn with_region<R>(
        &self,
        region_id: u64,
        visit: impl FnOnce(&RegionView<'_>) -> R,
    ) -> Result<R, errorpb::Error> {
        let region = self.state.region(region_id)?;
        let state = region.state.lock();
        if state.gone || state.peer_on(self.store_id).is_none() {
            return Err(region_not_found(region_id));
        }
        if !state.led_by(self.store_id) {
            return Err(state.not_leader());
        }
        Ok(visit(&RegionView { state: &state }))
    }

    /// What a test asked to be done to this store's change streams.
    pub fn stream_faults(&self) -> StreamFaults {
        let store = self.state.stores.get(&self.store_id);
        store.map(|store| store.faults.clone()).unwrap_or_default()
    }
}
