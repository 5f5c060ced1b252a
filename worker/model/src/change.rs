use bytes::Bytes;

use crate::Ts;

/// What a transaction did to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// Wrote a value.
    Put,
    /// Deleted the key.
    Delete,
}

/// One committed change of one key.
///
/// Keys and values share the memory of the frame that they arrived in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvChange {
    /// The user key.
    pub key: Bytes,
    /// The new value; empty for a delete.
    pub value: Bytes,
    /// The value before. Empty means "none" or "was empty": TiKV's protocol can't tell them apart.
    pub old_value: Bytes,
    /// When the transaction began; (`start_ts`, `commit_ts`) names the transaction.
    pub start_ts: Ts,
    /// When it took effect.
    pub commit_ts: Ts,
    /// Put or delete.
    pub op: Op,
}

impl KvChange {
    /// Bytes that the change pins in memory: its payload and this struct.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.key.len() + self.value.len() + self.old_value.len()
    }

    /// The order of the stream: commit ts, then start ts, then key.
    pub fn order(&self) -> (Ts, Ts, &[u8]) {
        (self.commit_ts, self.start_ts, &self.key)
    }
}
