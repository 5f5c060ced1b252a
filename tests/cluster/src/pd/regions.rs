//! Region look-ups.

use std::sync::Arc;

use tidemark_proto::{metapb, pdpb};

use crate::region::Region;
use crate::state::State;

/// Why a batch look-up fails.
pub(super) enum ScanError {
    /// The ranges are not in order.
    Overlapped,
    /// They can't all be covered.
    Incomplete,
}

fn told(region: &Arc<Region>) -> pdpb::Region {
    let state = region.state.lock();
    pdpb::Region {
        region: Some(state.meta.clone()),
        // During an election PD knows of no leader: an empty peer.
        leader: Some(state.leader.clone().unwrap_or_default()),
        ..Default::default()
    }
}

impl State {
    pub(super) fn region_at(&self, key: &[u8]) -> Option<pdpb::Region> {
        self.topology.read().at(key).as_ref().map(told)
    }

    pub(super) fn region_before(&self, key: &[u8]) -> Option<pdpb::Region> {
        self.topology.read().before(key).as_ref().map(told)
    }

    pub(super) fn region_by_id(&self, id: u64) -> Option<pdpb::Region> {
        self.topology.read().by_id(id).as_ref().map(told)
    }

    /// Regions of a range in key order; a limit of 0 or less is none.
    pub(super) fn scan_regions(&self, start: &[u8], end: &[u8], limit: i32) -> Vec<pdpb::Region> {
        let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0);
        let topology = self.topology.read();
        let regions = topology.overlapping(start, end).take(limit.unwrap_or(usize::MAX));
        regions.map(|region| told(&region)).collect()
    }

    /// Regions of several ranges, each region once. A result cut by the limit is no error.
    pub(super) fn batch_scan_regions(
        &self,
        ranges: &[pdpb::KeyRange],
        limit: i32,
        contain_all: bool,
    ) -> Result<Vec<pdpb::Region>, ScanError> {
        for pair in ranges.windows(2) {
            if pair[0].end_key.is_empty() || pair[0].end_key > pair[1].start_key {
                return Err(ScanError::Overlapped);
            }
        }
        let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let mut found: Vec<pdpb::Region> = Vec::new();
        let topology = self.topology.read();
        for range in ranges {
            if !range.end_key.is_empty() && range.start_key > range.end_key {
                return Err(ScanError::Overlapped);
            }
            for region in topology.overlapping(&range.start_key, &range.end_key) {
                if found.len() >= limit {
                    return Ok(found);
                }
                let region = told(&region);
                let known = found.last().is_some_and(|last| last.region == region.region);
                // Regions have no gaps here, but PD may not know a leader yet, which is a hole to it.
                let led = region.leader.as_ref().is_some_and(|leader| leader.id != 0);
                if contain_all && !led {
                    return Err(ScanError::Incomplete);
                }
                if !known {
                    found.push(region);
                }
            }
        }
        Ok(found)
    }

    /// The store as PD tells it.
    pub(super) fn store_meta(&self, id: u64) -> Option<metapb::Store> {
        let store = self.stores.get(&id)?;
        let now = i64::try_from(self.config.clock.now_ms()).unwrap_or(0) * 1_000_000;
        Some(metapb::Store {
            id,
            address: store.address.clone(),
            version: self.config.version.clone(),
            peer_address: store.address.clone(),
            status_address: store.address.clone(),
            git_hash: "0000000000000000000000000000000000000000".to_owned(),
            last_heartbeat: if store.is_alive() { now } else { 0 },
            node_state: metapb::NodeState::Serving.into(),
            ..Default::default()
        })
    }
}
