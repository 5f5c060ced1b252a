//! Changes of regions: split, merge, leader moves, elections after a store's death.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::MutexGuard;
use rand::Rng;
use tidemark_proto::{errorpb, metapb};

use crate::engine::model::Mvcc;
use crate::engine::observe::RegionChange;
use crate::keys;
use crate::region::{Region, RegionState, region_not_found};
use crate::state::State;

/// Why a region can't be changed so.
#[derive(Debug, thiserror::Error)]
pub enum ReshapeError {
    /// No such region.
    #[error("region {0} does not exist; list the regions for their ids")]
    NoRegion(u64),
    /// No such store.
    #[error("store {0} does not exist or is down; use a living store of the cluster")]
    NoStore(u64),
    /// The region has no replica there.
    #[error("region {region} has no peer on store {store}; move its leader to one of its peers' stores")]
    NoPeer {
        /// The region.
        region: u64,
        /// The store.
        store: u64,
    },
    /// They don't touch.
    #[error("regions {0} and {1} are not neighbours; only neighbours can be merged")]
    NotNeighbours(u64, u64),
    /// The key is a bound already, or lies elsewhere.
    #[error("region {0} can't be split there: {1}")]
    NoSplit(u64, String),
    /// Nobody leads the region.
    #[error("region {0} has no leader at the moment; try again after the election")]
    NoLeader(u64),
}

impl State {
    /// A region for each of the parts that the bounds cut the key space into.
    pub(crate) fn bootstrap(&self, bounds: &[Bytes]) {
        let mut topology = self.topology.write();
        for at in 0..=bounds.len() {
            let start = if at == 0 {
                Bytes::new()
            } else {
                bounds[at - 1].clone()
            };
            let end = bounds.get(at).cloned().unwrap_or_default();
            let meta = metapb::Region {
                id: self.new_id(),
                start_key: start.clone(),
                end_key: end,
                region_epoch: Some(metapb::RegionEpoch {
                    conf_ver: 1,
                    version: 1,
                }),
                peers: self.place_peers(),
                ..Default::default()
            };
            let leader = meta
                .peers
                .get(self.rng.lock().random_range(0..meta.peers.len()))
                .cloned();
            topology.insert(start, Arc::new(Region::new(meta, leader, Mvcc::default())));
        }
    }

    /// Up to three replicas on different stores.
    fn place_peers(&self) -> Vec<metapb::Peer> {
        let mut stores: Vec<u64> = self.stores.keys().copied().collect();
        let mut rng = self.rng.lock();
        while stores.len() > 3 {
            let at = rng.random_range(0..stores.len());
            stores.remove(at);
        }
        drop(rng);
        let peer = |store_id| metapb::Peer {
            id: self.new_id(),
            store_id,
            ..Default::default()
        };
        stores.into_iter().map(peer).collect()
    }

    /// Splits a region at bounds (as in its metadata); where `version` is given, only if it is still that.
    pub(crate) fn split_region(
        &self,
        id: u64,
        version: Option<u64>,
        mut bounds: Vec<Bytes>,
    ) -> Result<Vec<metapb::Region>, errorpb::Error> {
        let mut topology = self.topology.write();
        let region = topology.by_id(id).ok_or_else(|| region_not_found(id))?;
        let mut state = region.state.lock();
        if version.is_some_and(|version| version != state.version()) {
            return Err(state.epoch_not_match());
        }
        bounds.sort();
        bounds.dedup();
        let outside = |bound: &Bytes| *bound <= state.meta.start_key || !state.holds_raw(bound);
        if let Some(bound) = bounds.iter().find(|bound| outside(bound)) {
            let mut error = state.check_raw_key(bound).err().unwrap_or_default();
            error.message = format!("region {id} can't be split at its own start key or outside of it");
            return Err(error);
        }
        if bounds.is_empty() {
            return Ok(vec![state.meta.clone()]);
        }
        let old = state.meta.clone();
        let mut epoch = old.region_epoch.unwrap_or_default();
        epoch.version += u64::try_from(bounds.len()).unwrap_or(u64::MAX);
        topology.remove_start(&old.start_key);
        let mut metas = Vec::with_capacity(bounds.len() + 1);
        let mut start = old.start_key.clone();
        // The parts below get new ids; the last keeps the old one, and its lock stays held throughout.
        for bound in bounds {
            let mut meta = metapb::Region {
                id: self.new_id(),
                start_key: start.clone(),
                end_key: bound.clone(),
                region_epoch: Some(epoch),
                peers: old.peers.clone(),
                ..Default::default()
            };
            for peer in &mut meta.peers {
                peer.id = self.new_id();
            }
            let upper = state.data.split_off(&keys::first_key_at(&bound), &bound);
            let data = std::mem::replace(&mut state.data, upper);
            let store = state.leader.as_ref().map(|leader| leader.store_id);
            let leader = meta
                .peers
                .iter()
                .find(|peer| Some(peer.store_id) == store)
                .cloned();
            metas.push(meta.clone());
            topology.insert(start, Arc::new(Region::new(meta, leader, data)));
            start = bound;
        }
        let last = metapb::Region {
            start_key: start.clone(),
            region_epoch: Some(epoch),
            ..old
        };
        metas.push(last.clone());
        state.set_meta(last);
        topology.insert(start, Arc::clone(&region));
        self.tell(&state, RegionChange::Split { new: metas.clone() });
        Ok(metas)
    }

    /// Merges a region into a neighbour.
    pub(crate) fn merge_region(&self, source: u64, target: u64) -> Result<metapb::Region, ReshapeError> {
        let mut topology = self.topology.write();
        let find = |id| topology.by_id(id).ok_or(ReshapeError::NoRegion(id));
        let (from, into) = (find(source)?, find(target)?);
        if source == target {
            return Err(ReshapeError::NotNeighbours(source, target));
        }
        let mut source_state = from.state.lock();
        let mut target_state = into.state.lock();
        let below =
            !source_state.meta.end_key.is_empty() && source_state.meta.end_key == target_state.meta.start_key;
        let above =
            !target_state.meta.end_key.is_empty() && target_state.meta.end_key == source_state.meta.start_key;
        if !below && !above {
            return Err(ReshapeError::NotNeighbours(source, target));
        }
        // PrepareMerge raises the source's epoch, CommitMerge the target's above both.
        let version = (source_state.version() + 1).max(target_state.version()) + 1;
        let mut meta = target_state.meta.clone();
        let mut epoch = meta.region_epoch.unwrap_or_default();
        epoch.version = version;
        meta.region_epoch = Some(epoch);
        topology.remove_start(&source_state.meta.start_key);
        topology.remove_start(&target_state.meta.start_key);
        topology.remove_id(source);
        if below {
            meta.start_key = source_state.meta.start_key.clone();
        } else {
            meta.end_key = source_state.meta.end_key.clone();
        }
        topology.insert(meta.start_key.clone(), Arc::clone(&into));
        source_state.gone = true;
        target_state.set_meta(meta.clone());
        let data = std::mem::take(&mut source_state.data);
        target_state.data.absorb(data);
        self.tell(&source_state, RegionChange::PrepareMerge);
        self.tell(&target_state, RegionChange::CommitMerge);
        Ok(meta)
    }

    /// Makes the peer on a store the leader.
    pub(crate) fn move_leader(&self, id: u64, store: u64) -> Result<(), ReshapeError> {
        let alive = self.stores.get(&store).is_some_and(|store| store.is_alive());
        if !alive {
            return Err(ReshapeError::NoStore(store));
        }
        let region = self.topology.read().by_id(id).ok_or(ReshapeError::NoRegion(id))?;
        let mut state = region.state.lock();
        let peer = state.peer_on(store).cloned();
        let peer = peer.ok_or(ReshapeError::NoPeer { region: id, store })?;
        if state.leader.as_ref() != Some(&peer) {
            self.set_leader(&mut state, Some(peer));
        }
        Ok(())
    }

    /// Takes the leadership of its regions from a store that died: they have no leader until the election.
    pub(crate) fn drop_leaders_of(&self, store: u64) -> Vec<u64> {
        let regions: Vec<_> = self.topology.read().all().cloned().collect();
        let led = regions.iter().filter_map(|region| {
            let mut state = region.state.lock();
            let led = state.led_by(store) && !state.gone;
            if led {
                self.set_leader(&mut state, None);
            }
            led.then_some(region.id)
        });
        led.collect()
    }

    /// Gives each region that has none a leader among its living peers.
    pub(crate) fn elect(&self) {
        let regions: Vec<_> = self.topology.read().all().cloned().collect();
        for region in regions {
            let mut state = region.state.lock();
            let leaderless = state.leader.is_none() && !state.gone;
            let candidates: Vec<_> = if leaderless {
                self.living_peers(&state)
            } else {
                Vec::new()
            };
            if !candidates.is_empty() {
                let at = self.rng.lock().random_range(0..candidates.len());
                let leader = candidates.get(at).cloned();
                self.set_leader(&mut state, leader);
            }
        }
    }

    /// A quorum of living peers, or none.
    fn living_peers(&self, state: &RegionState) -> Vec<metapb::Peer> {
        let alive = |peer: &&metapb::Peer| {
            self.stores
                .get(&peer.store_id)
                .is_some_and(|store| store.is_alive())
        };
        let living: Vec<_> = state.meta.peers.iter().filter(alive).cloned().collect();
        if living.len() * 2 > state.meta.peers.len() {
            living
        } else {
            Vec::new()
        }
    }

    fn set_leader(&self, state: &mut MutexGuard<'_, RegionState>, leader: Option<metapb::Peer>) {
        self.tell(state, RegionChange::LeaderLost { new_leader: leader });
        if leader.is_some() {
            state.known_leader.clone_from(&leader);
        }
        state.leader = leader;
        state.term += 1;
    }

    /// Tells the observer of the store that leads the region.
    fn tell(&self, state: &RegionState, change: RegionChange) {
        if let Some(observer) = self.observer_of(state.leader.as_ref()) {
            observer.region_changed(state.meta.id, change);
        }
    }
}
