use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::pd::Region;

/// Regions by their first key. Entries never overlap: a newer one drives out what it overlaps.
#[derive(Debug, Default)]
pub(super) struct RegionCache {
    by_start: BTreeMap<Bytes, Arc<Region>>,
}

impl RegionCache {
    /// The region that holds the key, if known.
    pub(super) fn find(&self, key: &[u8]) -> Option<Arc<Region>> {
        let upto = (Bound::Unbounded, Bound::Included(key));
        let (_, region) = self.by_start.range::<[u8], _>(upto).next_back()?;
        region.span.contains(key).then(|| Arc::clone(region))
    }

    /// Remembers a region.
    pub(super) fn insert(&mut self, region: Region) -> Arc<Region> {
        let below_end = match &region.span.end {
            end if end.is_empty() => Bound::Unbounded,
            end => Bound::Excluded(end.clone()),
        };
        let overlapped: Vec<Bytes> = self
            .by_start
            .range((Bound::<Bytes>::Unbounded, below_end))
            .rev()
            .take_while(|(_, known)| known.span.end.is_empty() || known.span.end > region.span.start)
            .map(|(start, _)| start.clone())
            .collect();
        for start in overlapped {
            self.by_start.remove(&start);
        }
        let region = Arc::new(region);
        self.by_start
            .insert(region.span.start.clone(), Arc::clone(&region));
        region
    }

    /// Forgets a region, unless a newer one has taken its place.
    pub(super) fn forget(&mut self, region: &Arc<Region>) {
        if self
            .by_start
            .get(&region.span.start)
            .is_some_and(|known| Arc::ptr_eq(known, region))
        {
            self.by_start.remove(&region.span.start);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tidemark_model::Span;

    use super::*;

    fn region(id: u64, start: &'static str, end: &'static str) -> Region {
        Region {
            id,
            span: Span::new(start, end),
            epoch: Default::default(),
            leader: None,
            peers: Vec::new(),
        }
    }

    #[test]
    fn a_newer_region_drives_out_what_it_overlaps() {
        let mut cache = RegionCache::default();
        cache.insert(region(1, "", "m"));
        let tail = cache.insert(region(2, "m", ""));
        assert_eq!(cache.find(b"a").unwrap().id, 1);
        assert_eq!(cache.find(b"z").unwrap().id, 2);
        cache.insert(region(3, "f", "p"));
        assert_eq!(cache.find(b"m").unwrap().id, 3);
        assert!(cache.find(b"a").is_none() && cache.find(b"z").is_none());
        cache.insert(region(4, "p", ""));
        cache.forget(&tail);
        assert_eq!(cache.find(b"z").unwrap().id, 4);
    }
}
