//! Region look-ups.

use std::sync::Arc;

use tidemark_proto::{metapb, pdpb};

use crate::region::Region;
use crate::state::State;

/// The ranges of a batch look-up are not in order.
pub(super) struct Overlapped;

fn told(region: &Arc<Region>) -> pdpb::Region {
    let state = region.state.lock();
    pdpb::Region {
        region: Some(state.meta.clone()),
        leader: Some(state.known_leader.unwrap_or_default()),
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

    /// Regions of several ranges, each region once. A result cut by the limit is no error. Regions leave no gaps
    /// here, so every range is covered.
    pub(super) fn batch_scan_regions(
        &self,
        ranges: &[pdpb::KeyRange],
        limit: i32,
    ) -> Result<Vec<pdpb::Region>, Overlapped> {
        for pair in ranges.windows(2) {
            if pair[0].end_key.is_empty() || pair[0].end_key > pair[1].start_key {
                return Err(Overlapped);
            }
        }
        let limit = usize::try_from(limit)
            .ok()
            .filter(|limit| *limit > 0)
            .unwrap_or(usize::MAX);
        let mut found: Vec<pdpb::Region> = Vec::new();
        let topology = self.topology.read();
        for range in ranges {
            if !range.end_key.is_empty() && range.start_key > range.end_key {
                return Err(Overlapped);
            }
            for region in topology.overlapping(&range.start_key, &range.end_key) {
                if found.len() >= limit {
                    return Ok(found);
                }
                let region = told(&region);
                let known = found.last().is_some_and(|last| last.region == region.region);
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
