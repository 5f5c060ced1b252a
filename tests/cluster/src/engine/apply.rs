//! Changes of records: commands collect them, then they are applied as one, and the effects are told.

use bytes::Bytes;
use tidemark_model::{Op, Ts};

use super::model::{Lock, LockKind, Mvcc, SHORT_VALUE, Write, WriteKind};
use super::observe::Applied;

/// One change of one record.
#[derive(Clone, Debug)]
pub enum Modify {
    /// Writes a new lock.
    PutLock(Bytes, Lock),
    /// Rewrites a lock with other times; its value, where long, is not written again.
    TouchLock(Bytes, Lock),
    /// Removes the lock.
    Unlock(Bytes),
    /// Writes a record, or replaces the one with the same commit ts.
    PutWrite(Bytes, Write),
    /// Removes the record with this commit ts.
    DropWrite(Bytes, Ts),
}

/// The changes of one command.
#[derive(Debug, Default)]
pub struct Batch {
    /// In the order in which they are applied.
    pub changes: Vec<Modify>,
    /// The writes are committed without prewrite (1PC).
    pub one_pc: bool,
}

impl Batch {
    /// Applies the changes; effects are made only where somebody observes the region.
    pub fn apply(self, data: &mut Mvcc, observed: bool) -> Vec<Applied> {
        let mut effects = Vec::with_capacity(if observed { self.changes.len() } else { 0 });
        for change in self.changes {
            if observed {
                effects.extend(effect(data, &change, self.one_pc));
            }
            match change {
                Modify::PutLock(key, lock) | Modify::TouchLock(key, lock) => {
                    data.locks.insert(key, lock);
                }
                Modify::Unlock(key) => {
                    data.locks.remove(&key);
                }
                Modify::PutWrite(key, write) => put_write(data, key, write),
                Modify::DropWrite(key, commit_ts) => drop_write(data, &key, commit_ts),
            }
        }
        effects
    }
}

fn put_write(data: &mut Mvcc, key: Bytes, write: Write) {
    let writes = data.writes.entry(key).or_default();
    match writes.binary_search_by_key(&write.commit_ts, |old| old.commit_ts) {
        Ok(at) => writes[at] = write,
        Err(at) => writes.insert(at, write),
    }
}

fn drop_write(data: &mut Mvcc, key: &Bytes, commit_ts: Ts) {
    if let Some(writes) = data.writes.get_mut(key) {
        writes.retain(|write| write.commit_ts != commit_ts);
        if writes.is_empty() {
            data.writes.remove(key);
        }
    }
}

fn effect(data: &Mvcc, change: &Modify, one_pc: bool) -> Option<Applied> {
    match change {
        Modify::PutLock(key, lock) => prewrite(data, key, lock),
        // A long value stands in the default column family, which such a rewrite doesn't touch.
        Modify::TouchLock(key, lock) if lock.value.len() <= SHORT_VALUE => prewrite(data, key, lock),
        Modify::TouchLock(..) | Modify::Unlock(_) | Modify::DropWrite(..) => None,
        Modify::PutWrite(_, write) if write.overlapped_rollback && !has_lock(data, change) => None,
        Modify::PutWrite(key, write) => Some(committed(data, key, write, one_pc)),
    }
}

/// A commit record that inherits a rollback mark from its lock is a commit still.
fn has_lock(data: &Mvcc, change: &Modify) -> bool {
    let Modify::PutWrite(key, write) = change else {
        return false;
    };
    let lock = data.locks.get(key);
    lock.is_some_and(|lock| lock.start_ts == write.start_ts)
}

fn prewrite(data: &Mvcc, key: &Bytes, lock: &Lock) -> Option<Applied> {
    let op = match lock.kind {
        LockKind::Put => Op::Put,
        LockKind::Delete => Op::Delete,
        LockKind::Lock | LockKind::Pessimistic => return None,
    };
    Some(Applied::Prewrite {
        key: key.clone(),
        start_ts: lock.start_ts,
        op,
        value: lock.value.clone(),
        old_value: data.value_at(key, lock.start_ts.max(lock.for_update_ts)),
        for_update_ts: lock.for_update_ts,
        txn_source: lock.txn_source,
    })
}

fn committed(data: &Mvcc, key: &Bytes, write: &Write, one_pc: bool) -> Applied {
    let op = match write.kind {
        WriteKind::Put => Op::Put,
        WriteKind::Delete => Op::Delete,
        WriteKind::Lock => return Applied::CommitLockOnly { key: key.clone() },
        WriteKind::Rollback => {
            return Applied::Rollback {
                key: key.clone(),
                start_ts: write.start_ts,
                protected: write.protected,
            };
        }
    };
    let (key, start_ts, commit_ts) = (key.clone(), write.start_ts, write.commit_ts);
    if one_pc {
        return Applied::Committed {
            old_value: data.value_at(&key, commit_ts.prev()),
            value: write.value.clone(),
            key,
            start_ts,
            commit_ts,
            op,
            txn_source: write.txn_source,
        };
    }
    let short = write.value.len() <= SHORT_VALUE;
    Applied::Commit {
        key,
        start_ts,
        commit_ts,
        op,
        short_value: if short { write.value.clone() } else { Bytes::new() },
        txn_source: write.txn_source,
    }
}
