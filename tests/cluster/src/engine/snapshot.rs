//! What an initial scan of the change feed reads: locks and versions of a range at one moment.

use std::ops::Bound;

use bytes::Bytes;
use tidemark_model::{Op, Ts};

use super::model::{LockKind, Mvcc, Write, WriteKind, version_at};

/// A put or delete lock found by a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanLock {
    /// When the transaction began.
    pub start_ts: Ts,
    /// Put or delete.
    pub op: Op,
    /// The value to be put; empty for a delete.
    pub value: Bytes,
    /// The value visible at `max(start_ts, for_update_ts)`.
    pub old_value: Bytes,
    /// Who wrote it.
    pub txn_source: u64,
}

/// A committed put or delete found by a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanVersion {
    /// When the transaction began.
    pub start_ts: Ts,
    /// When it took effect.
    pub commit_ts: Ts,
    /// Put or delete.
    pub op: Op,
    /// The value; empty for a delete.
    pub value: Bytes,
    /// The value before it; empty where there is none.
    pub old_value: Bytes,
    /// Who wrote it.
    pub txn_source: u64,
}

/// What a scan found at one key: the lock, if any, and the versions, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanEntry {
    /// The user key.
    pub key: Bytes,
    /// The put or delete lock.
    pub lock: Option<ScanLock>,
    /// Versions above the checkpoint, newest first.
    pub versions: Vec<ScanVersion>,
}

/// Bounds of a range of keys, as maps take them.
pub type KeyBounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Bounds of `[start, end)` for a map; an empty end means no bound. `None` where the range holds nothing.
pub fn bounds<'a>(start: &'a [u8], end: &'a [u8]) -> Option<KeyBounds<'a>> {
    if end.is_empty() {
        return Some((Bound::Included(start), Bound::Unbounded));
    }
    (start < end).then_some((Bound::Included(start), Bound::Excluded(end)))
}

impl Mvcc {
    /// All put and delete locks of `[start, end)`, and all versions above the checkpoint, by key.
    pub fn scan_changes(&self, start: &[u8], end: &[u8], checkpoint: Ts) -> Vec<ScanEntry> {
        let Some(range) = bounds(start, end) else {
            return Vec::new();
        };
        let mut locks = self.locks.range::<[u8], _>(range).peekable();
        let mut found = Vec::new();
        for (key, writes) in self.writes.range::<[u8], _>(range) {
            while let Some((locked, _)) = locks.next_if(|(locked, _)| *locked < key) {
                found.extend(self.entry(locked, &[], checkpoint));
            }
            locks.next_if(|(locked, _)| *locked == key);
            found.extend(self.entry(key, writes, checkpoint));
        }
        for (locked, _) in locks {
            found.extend(self.entry(locked, &[], checkpoint));
        }
        found
    }

    /// Start ts of every put and delete lock of `[start, end)`.
    pub fn change_locks(&self, start: &[u8], end: &[u8]) -> Vec<(Bytes, Ts)> {
        let locks = bounds(start, end).map(|range| self.locks.range::<[u8], _>(range));
        let changes = locks.into_iter().flatten();
        changes
            .filter(|(_, lock)| matches!(lock.kind, LockKind::Put | LockKind::Delete))
            .map(|(key, lock)| (key.clone(), lock.start_ts))
            .collect()
    }

    fn entry(&self, key: &Bytes, writes: &[Write], checkpoint: Ts) -> Option<ScanEntry> {
        let lock = self.locks.get(key).and_then(|lock| {
            let op = match lock.kind {
                LockKind::Put => Op::Put,
                LockKind::Delete => Op::Delete,
                LockKind::Lock | LockKind::Pessimistic => return None,
            };
            Some(ScanLock {
                start_ts: lock.start_ts,
                op,
                value: lock.value.clone(),
                old_value: put_value(version_at(writes, lock.start_ts.max(lock.for_update_ts))),
                txn_source: lock.txn_source,
            })
        });
        let newest_first = writes
            .iter()
            .rev()
            .take_while(|write| write.commit_ts > checkpoint);
        let versions: Vec<_> = newest_first.filter_map(|write| version(writes, write)).collect();
        (lock.is_some() || !versions.is_empty()).then(|| ScanEntry {
            key: key.clone(),
            lock,
            versions,
        })
    }
}

fn version(writes: &[Write], write: &Write) -> Option<ScanVersion> {
    let op = match write.kind {
        WriteKind::Put => Op::Put,
        WriteKind::Delete => Op::Delete,
        WriteKind::Lock | WriteKind::Rollback => return None,
    };
    Some(ScanVersion {
        start_ts: write.start_ts,
        commit_ts: write.commit_ts,
        op,
        value: write.value.clone(),
        old_value: put_value(version_at(writes, write.commit_ts.prev())),
        txn_source: write.txn_source,
    })
}

fn put_value(version: Option<&Write>) -> Bytes {
    let put = version.filter(|write| write.kind == WriteKind::Put);
    put.map(|write| write.value.clone()).unwrap_or_default()
}
