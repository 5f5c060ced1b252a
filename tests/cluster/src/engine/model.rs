//! The records of the store: locks and writes of each user key, and plain raw values.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidemark_model::Ts;

/// Values up to so many bytes are kept inside lock and write records by TiKV.
pub const SHORT_VALUE: usize = 255;

/// What a lock is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// A prewritten put.
    Put,
    /// A prewritten delete.
    Delete,
    /// A prewritten lock without a change.
    Lock,
    /// A pessimistic lock, before prewrite.
    Pessimistic,
}

/// A lock record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// What the lock is for.
    pub kind: LockKind,
    /// The transaction's primary key.
    pub primary: Bytes,
    /// When the transaction began; its name.
    pub start_ts: Ts,
    /// Milliseconds after `start_ts` when others may roll it back.
    pub ttl: u64,
    /// The value to be put; empty for other kinds.
    pub value: Bytes,
    /// Newest ts of a pessimistic transaction's locks, zero for an optimistic one.
    pub for_update_ts: Ts,
    /// Keys of the transaction in this region, as the client said.
    pub txn_size: u64,
    /// The transaction commits at this ts or later.
    pub min_commit_ts: Ts,
    /// Whether the transaction is committed once all its keys are locked.
    pub use_async_commit: bool,
    /// Of the primary of an async commit: all other keys.
    pub secondaries: Vec<Bytes>,
    /// Other transactions' protected rollbacks that this lock may come to overlap.
    pub rollback_ts: Vec<Ts>,
    /// Who wrote it.
    pub txn_source: u64,
    /// Generation of a pipelined flush, zero for others.
    pub generation: u64,
}

impl Lock {
    /// Whether the transaction is pessimistic.
    pub fn is_pessimistic_txn(&self) -> bool {
        self.for_update_ts != Ts::ZERO
    }
}

/// What a write record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteKind {
    /// A value was put.
    Put,
    /// The key was deleted.
    Delete,
    /// The key was only locked.
    Lock,
    /// The transaction was rolled back; `commit_ts` is its `start_ts`.
    Rollback,
}

/// A write record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// When the transaction took effect.
    pub commit_ts: Ts,
    /// When it began.
    pub start_ts: Ts,
    /// What happened.
    pub kind: WriteKind,
    /// The value of a put.
    pub value: Bytes,
    /// Who wrote it.
    pub txn_source: u64,
    /// A protected rollback of the transaction that began at `commit_ts` shares this record.
    pub overlapped_rollback: bool,
    /// Of a rollback: it must not be collapsed.
    pub protected: bool,
}

/// The data of one region.
///
/// Keys are user keys. A key's writes are in ascending order of commit ts, so the newest is appended.
#[derive(Debug, Default)]
pub struct Mvcc {
    /// At most one lock a key.
    pub locks: BTreeMap<Bytes, Lock>,
    /// Never an empty list.
    pub writes: BTreeMap<Bytes, Vec<Write>>,
    /// Raw values by column family; raw keys live in a space of their own.
    pub raw: BTreeMap<String, BTreeMap<Bytes, Bytes>>,
}

impl Mvcc {
    /// The key's writes in ascending order of commit ts.
    pub fn writes_of(&self, key: &[u8]) -> &[Write] {
        self.writes.get(key).map_or(&[], Vec::as_slice)
    }

    /// The newest put or delete at or below `ts`.
    pub fn version_at(&self, key: &[u8], ts: Ts) -> Option<&Write> {
        version_at(self.writes_of(key), ts)
    }

    /// The value visible at `ts`; empty where there is none.
    pub fn value_at(&self, key: &[u8], ts: Ts) -> Bytes {
        self.version_at(key, ts)
            .filter(|write| write.kind == WriteKind::Put)
            .map(|write| write.value.clone())
            .unwrap_or_default()
    }

    /// Parts the data: what lies at or above the bounds is returned. Transactional keys are parted by the user
    /// key, raw ones by the plain bound.
    pub fn split_off(&mut self, user_key: &[u8], raw_key: &[u8]) -> Self {
        let raw = self.raw.iter_mut();
        Self {
            locks: self.locks.split_off(user_key),
            writes: self.writes.split_off(user_key),
            raw: raw
                .map(|(cf, map)| (cf.clone(), map.split_off(raw_key)))
                .collect(),
        }
    }

    /// Takes a neighbour's data in.
    pub fn absorb(&mut self, mut other: Self) {
        self.locks.append(&mut other.locks);
        self.writes.append(&mut other.writes);
        for (cf, mut map) in other.raw {
            self.raw.entry(cf).or_default().append(&mut map);
        }
    }
}

/// The newest put or delete at or below `ts` among writes in ascending order.
pub fn version_at(writes: &[Write], ts: Ts) -> Option<&Write> {
    let visible = writes.partition_point(|write| write.commit_ts <= ts);
    let mut newest_first = writes[..visible].iter().rev();
    newest_first.find(|write| matches!(write.kind, WriteKind::Put | WriteKind::Delete))
}
