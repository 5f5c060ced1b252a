//! One region: its metadata, its leader and its data, behind one lock that is the apply order.

use bytes::Bytes;
use parking_lot::Mutex;
use tidemark_model::Ts;
use tidemark_proto::{errorpb, kvrpcpb, metapb};

use crate::engine::model::Mvcc;
use crate::engine::snapshot::ScanEntry;
use crate::keys;

/// A region; all replicas share one copy of the data.
#[derive(Debug)]
pub(crate) struct Region {
    pub(crate) id: u64,
    pub(crate) state: Mutex<RegionState>,
}

/// What the region's lock guards.
#[derive(Debug)]
pub(crate) struct RegionState {
    /// As PD tells it.
    pub(crate) meta: metapb::Region,
    /// The peer that leads; `None` during an election.
    pub(crate) leader: Option<metapb::Peer>,
    /// The leader that PD knows of: the last one, until it hears of another.
    pub(crate) known_leader: Option<metapb::Peer>,
    /// Counts elections.
    pub(crate) term: u64,
    /// Merged into a neighbour: whoever still holds this region must look it up again.
    pub(crate) gone: bool,
    pub(crate) data: Mvcc,
    /// Bounds as user keys; no end means to the last key.
    user_start: Bytes,
    user_end: Option<Bytes>,
}

impl Region {
    pub(crate) fn new(meta: metapb::Region, leader: Option<metapb::Peer>, data: Mvcc) -> Self {
        let mut state = RegionState {
            known_leader: leader,
            leader,
            term: 6,
            gone: false,
            data,
            user_start: Bytes::new(),
            user_end: None,
            meta: metapb::Region::default(),
        };
        let id = meta.id;
        state.set_meta(meta);
        Self {
            id,
            state: Mutex::new(state),
        }
    }
}

impl RegionState {
    /// Replaces the metadata and the bounds that follow from it.
    pub(crate) fn set_meta(&mut self, meta: metapb::Region) {
        self.user_start = keys::first_key_at(&meta.start_key);
        self.user_end = (!meta.end_key.is_empty()).then(|| keys::first_key_at(&meta.end_key));
        self.meta = meta;
    }

    /// The first user key inside.
    pub(crate) fn user_start(&self) -> &Bytes {
        &self.user_start
    }

    /// The first user key outside, or empty for none.
    pub(crate) fn user_end(&self) -> Bytes {
        self.user_end.clone().unwrap_or_default()
    }

    pub(crate) fn version(&self) -> u64 {
        self.meta.region_epoch.as_ref().map_or(0, |epoch| epoch.version)
    }

    /// Whether the user key lies inside.
    pub(crate) fn holds(&self, key: &[u8]) -> bool {
        key >= &self.user_start[..] && self.user_end.as_ref().is_none_or(|end| key < &end[..])
    }

    /// Whether the raw key lies inside: raw keys are compared with the bounds as they are.
    pub(crate) fn holds_raw(&self, key: &[u8]) -> bool {
        let (start, end) = (&self.meta.start_key, &self.meta.end_key);
        key >= &start[..] && (end.is_empty() || key < &end[..])
    }

    /// The peer on a store.
    pub(crate) fn peer_on(&self, store: u64) -> Option<&metapb::Peer> {
        self.meta.peers.iter().find(|peer| peer.store_id == store)
    }

    /// Whether the store leads the region.
    pub(crate) fn led_by(&self, store: u64) -> bool {
        self.leader
            .as_ref()
            .is_some_and(|leader| leader.store_id == store)
    }

    /// The checks of a request's header, in TiKV's order.
    pub(crate) fn check(&self, store: u64, context: &kvrpcpb::Context) -> Result<(), errorpb::Error> {
        let Some(own) = self.peer_on(store).filter(|_| !self.gone) else {
            return Err(region_not_found(self.meta.id));
        };
        let peer = context.peer.unwrap_or_default();
        if peer.store_id != store {
            return Err(errorpb::Error {
                message: format!("peer asks for store {} but this is store {store}", peer.store_id),
                store_not_match: Some(errorpb::StoreNotMatch {
                    request_store_id: peer.store_id,
                    actual_store_id: store,
                }),
                ..Default::default()
            });
        }
        if peer.id != own.id {
            return Err(errorpb::Error {
                message: format!("peer id {} asked for, this is {}", peer.id, own.id),
                mismatch_peer_id: Some(errorpb::MismatchPeerId {
                    request_peer_id: peer.id,
                    store_peer_id: own.id,
                }),
                ..Default::default()
            });
        }
        if !self.led_by(store) {
            return Err(self.not_leader());
        }
        if context.term != 0 && context.term + 1 < self.term {
            return Err(errorpb::Error {
                message: "stale command".to_owned(),
                stale_command: Some(errorpb::StaleCommand {}),
                ..Default::default()
            });
        }
        let version = context.region_epoch.as_ref().map_or(0, |epoch| epoch.version);
        if version != self.version() {
            return Err(self.epoch_not_match());
        }
        Ok(())
    }

    /// The error for a user key outside.
    pub(crate) fn check_key(&self, key: &[u8]) -> Result<(), errorpb::Error> {
        if self.holds(key) {
            Ok(())
        } else {
            Err(self.key_not_in_region(&keys::encode(key)))
        }
    }

    /// The error for a raw key outside.
    pub(crate) fn check_raw_key(&self, key: &[u8]) -> Result<(), errorpb::Error> {
        if self.holds_raw(key) {
            Ok(())
        } else {
            Err(self.key_not_in_region(key))
        }
    }

    pub(crate) fn not_leader(&self) -> errorpb::Error {
        errorpb::Error {
            message: format!("peer is not leader for region {}", self.meta.id),
            not_leader: Some(errorpb::NotLeader {
                region_id: self.meta.id,
                leader: self.leader,
            }),
            ..Default::default()
        }
    }

    pub(crate) fn epoch_not_match(&self) -> errorpb::Error {
        errorpb::Error {
            message: format!("epoch of region {} is another", self.meta.id),
            epoch_not_match: Some(errorpb::EpochNotMatch {
                current_regions: vec![self.meta.clone()],
            }),
            ..Default::default()
        }
    }

    fn key_not_in_region(&self, key: &[u8]) -> errorpb::Error {
        errorpb::Error {
            message: format!("key is not in region {}", self.meta.id),
            key_not_in_region: Some(errorpb::KeyNotInRegion {
                key: Bytes::copy_from_slice(key),
                region_id: self.meta.id,
                start_key: self.meta.start_key.clone(),
                end_key: self.meta.end_key.clone(),
            }),
            ..Default::default()
        }
    }
}

/// The error for a region that isn't on the store.
pub(crate) fn region_not_found(region_id: u64) -> errorpb::Error {
    errorpb::Error {
        message: format!("region {region_id} not found"),
        region_not_found: Some(errorpb::RegionNotFound { region_id }),
        ..Default::default()
    }
}

/// A region as its leader sees it, held still: nothing is applied while the view lives.
#[derive(Debug)]
pub struct RegionView<'a> {
    pub(crate) state: &'a RegionState,
}

impl RegionView<'_> {
    /// The region's metadata; bounds are memcomparable.
    pub fn meta(&self) -> &metapb::Region {
        &self.state.meta
    }

    /// Locks and versions above the checkpoint in the user-key range `[start, end)`, cut to the region; an
    /// empty end means to the region's end. Keys ascending; per key the lock, then versions newest first.
    pub fn scan(&self, start: &[u8], end: &[u8], checkpoint: Ts) -> Vec<ScanEntry> {
        let (start, end) = self.cut(start, end);
        self.state.data.scan_changes(&start, &end, checkpoint)
    }

    /// Keys and start ts of the put and delete locks in the range.
    pub fn locks(&self, start: &[u8], end: &[u8]) -> Vec<(Bytes, Ts)> {
        let (start, end) = self.cut(start, end);
        self.state.data.change_locks(&start, &end)
    }

    fn cut(&self, start: &[u8], end: &[u8]) -> (Bytes, Bytes) {
        let start = Bytes::copy_from_slice(start.max(&self.state.user_start[..]));
        let end = match &self.state.user_end {
            Some(last) if end.is_empty() || end > &last[..] => last.clone(),
            _ => Bytes::copy_from_slice(end),
        };
        (start, end)
    }
}
