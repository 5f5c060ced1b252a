//! Which regions there are, by id and by key.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::region::Region;

/// All regions. They cover the whole key space without gap or overlap.
#[derive(Debug, Default)]
pub(crate) struct Topology {
    by_id: HashMap<u64, Arc<Region>>,
    /// By start bound, as in the metadata.
    by_start: BTreeMap<Bytes, Arc<Region>>,
}

impl Topology {
    pub(crate) fn insert(&mut self, start: Bytes, region: Arc<Region>) {
        self.by_id.insert(region.id, Arc::clone(&region));
        self.by_start.insert(start, region);
    }

    /// Forgets a region under its start bound (its id too, unless it lives on under another bound).
    pub(crate) fn remove_start(&mut self, start: &Bytes) {
        self.by_start.remove(start);
    }

    pub(crate) fn remove_id(&mut self, id: u64) {
        self.by_id.remove(&id);
    }

    pub(crate) fn by_id(&self, id: u64) -> Option<Arc<Region>> {
        self.by_id.get(&id).cloned()
    }

    /// The region that holds the bound.
    pub(crate) fn at(&self, bound: &[u8]) -> Option<Arc<Region>> {
        let mut below = self
            .by_start
            .range::<[u8], _>((Bound::Unbounded, Bound::Included(bound)));
        below.next_back().map(|(_, region)| Arc::clone(region))
    }

    /// The region before the one that holds the bound.
    pub(crate) fn before(&self, bound: &[u8]) -> Option<Arc<Region>> {
        let mut below = self
            .by_start
            .range::<[u8], _>((Bound::Unbounded, Bound::Included(bound)));
        below.next_back();
        below.next_back().map(|(_, region)| Arc::clone(region))
    }

    /// Regions that overlap `[start, end)`, in key order; an empty end means no bound.
    pub(crate) fn overlapping(&self, start: &[u8], end: &[u8]) -> impl Iterator<Item = Arc<Region>> {
        let end = (!end.is_empty()).then(|| Bytes::copy_from_slice(end));
        let first = self
            .by_start
            .range::<[u8], _>((Bound::Unbounded, Bound::Included(start)))
            .next_back();
        let from = first.map_or_else(Bytes::new, |(key, _)| key.clone());
        self.by_start
            .range(from..)
            .take_while(move |(key, _)| end.as_ref().is_none_or(|end| key < &end))
            .map(|(_, region)| Arc::clone(region))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Region>> {
        self.by_start.values()
    }
}
