//! What a region tells its observer: the effects of each applied command, in apply order.

use bytes::Bytes;
use tidemark_model::{Op, Ts};
use tidemark_proto::metapb;

/// One effect of an applied command on one region.
///
/// Made where a record is written, as TiKV's own CDC reads it from the applied write batch: so a lock that is
/// rewritten by a heartbeat appears again, and a rollback that writes no record doesn't appear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// A put or delete lock was written (prewrite, flush, or a rewrite of the lock whose value is at hand).
    /// Pessimistic and lock-only locks give nothing.
    Prewrite {
        /// The user key.
        key: Bytes,
        /// When the transaction began.
        start_ts: Ts,
        /// Put or delete.
        op: Op,
        /// The value to be put; empty for a delete.
        value: Bytes,
        /// The value visible at `max(start_ts, for_update_ts)`; empty where there is none.
        old_value: Bytes,
        /// The pessimistic transaction's newest lock ts, or zero.
        for_update_ts: Ts,
        /// Who wrote it (`Context.txn_source`).
        txn_source: u64,
    },
    /// A put or delete was committed and its lock removed.
    Commit {
        /// The user key.
        key: Bytes,
        /// When the transaction began.
        start_ts: Ts,
        /// When it took effect.
        commit_ts: Ts,
        /// Put or delete.
        op: Op,
        /// The value where it has at most 255 bytes, else empty.
        short_value: Bytes,
        /// Who wrote it.
        txn_source: u64,
    },
    /// A lock-only record was committed: CDC sends an all-zero row for it.
    CommitLockOnly {
        /// The user key, for the filter of sub-ranges only.
        key: Bytes,
    },
    /// A change was written and committed at once (1PC).
    Committed {
        /// The user key.
        key: Bytes,
        /// When the transaction began.
        start_ts: Ts,
        /// When it took effect.
        commit_ts: Ts,
        /// Put or delete.
        op: Op,
        /// The value, however long; empty for a delete.
        value: Bytes,
        /// The value before `commit_ts`; empty where there is none.
        old_value: Bytes,
        /// Who wrote it.
        txn_source: u64,
    },
    /// A rollback record was written. A rollback that coincides with another transaction's commit gives nothing.
    Rollback {
        /// The user key.
        key: Bytes,
        /// The transaction that was rolled back.
        start_ts: Ts,
        /// Whether the record is protected (it then carries the short value `p`).
        protected: bool,
    },
}

impl Applied {
    /// The user key that the effect is about.
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Prewrite { key, .. }
            | Self::Commit { key, .. }
            | Self::CommitLockOnly { key }
            | Self::Committed { key, .. }
            | Self::Rollback { key, .. } => key,
        }
    }
}

/// Why a region is no longer what its observer thinks.
#[derive(Clone, Debug, PartialEq)]
pub enum RegionChange {
    /// The region was split; all resulting regions in key order, the last keeps the id.
    Split {
        /// The regions that replace it.
        new: Vec<metapb::Region>,
    },
    /// The region is about to be merged into its neighbour and then destroyed.
    PrepareMerge,
    /// The region took its neighbour in.
    CommitMerge,
    /// This store leads the region no longer.
    LeaderLost {
        /// The new leader, where known.
        new_leader: Option<metapb::Peer>,
    },
    /// The region is gone from the store.
    Destroyed,
}

/// Follows what one store's regions apply. Registered once per store; implemented by the CDC part.
pub trait Observer: Send + Sync {
    /// Whether effects of this region are of interest; where not, none are made for it.
    fn wants(&self, region_id: u64) -> bool;

    /// Effects of one command, called under the region's apply lock: in order, without gaps.
    ///
    /// It must not call back into the cluster.
    fn applied(&self, region: &metapb::Region, effects: Vec<Applied>);

    /// The region changed, called under the same lock.
    fn region_changed(&self, region_id: u64, why: RegionChange);
}
