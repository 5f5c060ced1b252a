use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tidemark_proto::kvrpcpb::Context;
use tidemark_proto::metapb;

use super::{ClientError, Pd};
use crate::encode::encode_bytes;

/// A region and its leader, as last known.
#[derive(Debug)]
pub(super) struct Region {
    pub(super) meta: metapb::Region,
    pub(super) leader: metapb::Peer,
}

impl Region {
    pub(super) fn context(&self) -> Context {
        Context {
            region_id: self.meta.id,
            region_epoch: self.meta.region_epoch,
            peer: Some(self.leader),
            ..Context::default()
        }
    }

    fn contains(&self, encoded_key: &[u8]) -> bool {
        encoded_key >= &self.meta.start_key[..]
            && (self.meta.end_key.is_empty() || encoded_key < &self.meta.end_key[..])
    }
}

/// The regions met so far, by their encoded start keys.
#[derive(Default)]
pub(super) struct Regions {
    known: Mutex<BTreeMap<Bytes, Arc<Region>>>,
}

impl Regions {
    /// The region of a key, asked of PD if it isn't known.
    pub(super) async fn locate(&self, pd: &Pd, key: &[u8]) -> Result<Arc<Region>, ClientError> {
        let encoded = encode_bytes(key);
        if let Some(region) = self.cached(&encoded) {
            return Ok(region);
        }
        let reply = pd.region(&encoded).await?;
        let region = Arc::new(Region {
            meta: reply.region.unwrap_or_default(),
            leader: reply.leader.unwrap_or_default(),
        });
        let start = region.meta.start_key.clone();
        self.known.lock().insert(start, Arc::clone(&region));
        Ok(region)
    }

    fn cached(&self, encoded: &[u8]) -> Option<Arc<Region>> {
        let known = self.known.lock();
        let before = known.range::<[u8], _>((std::ops::Bound::Unbounded, std::ops::Bound::Included(encoded)));
        let region = before.last().map(|(_, region)| region)?;
        region.contains(encoded).then(|| Arc::clone(region))
    }

    /// Forgets a region that turned out to be stale.
    pub(super) fn forget(&self, region: &Region) {
        let mut known = self.known.lock();
        if known
            .get(&region.meta.start_key)
            .is_some_and(|other| other.meta.id == region.meta.id)
        {
            known.remove(&region.meta.start_key);
        }
    }

    /// Notes a region's new leader.
    pub(super) fn move_leader(&self, region: &Region, leader: metapb::Peer) {
        let moved = Region {
            meta: region.meta.clone(),
            leader,
        };
        self.known
            .lock()
            .insert(region.meta.start_key.clone(), Arc::new(moved));
    }
}
