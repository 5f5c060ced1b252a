//! What became of a transaction on one key, and how it is rolled back there.

use bytes::Bytes;
use tidemark_model::Ts;

use super::apply::{Batch, Modify};
use super::model::{Lock, LockKind, Mvcc, Write, WriteKind};

/// The trace of a transaction on a key.
#[derive(Clone, Copy, Debug)]
pub enum Record<'a> {
    /// Committed (put, delete or lock-only), or rolled back by a record of its own.
    Own(&'a Write),
    /// Its rollback is marked on another transaction's record.
    OverlappedRollback,
    /// None; another transaction may have committed just at its start ts.
    None {
        /// That other record.
        at_start: Option<&'a Write>,
    },
}

impl Mvcc {
    /// Finds the trace of the transaction.
    pub fn record_of(&self, key: &[u8], start_ts: Ts) -> Record<'_> {
        let mut at_start = None;
        for write in self.writes_of(key).iter().rev() {
            if write.commit_ts < start_ts {
                break;
            }
            if write.start_ts == start_ts {
                return Record::Own(write);
            }
            if write.commit_ts == start_ts {
                if write.overlapped_rollback {
                    return Record::OverlappedRollback;
                }
                at_start = Some(write);
            }
        }
        Record::None { at_start }
    }

    /// The commit ts of the transaction on the key, if it committed there.
    pub fn commit_ts_of(&self, key: &[u8], start_ts: Ts) -> Option<Ts> {
        match self.record_of(key, start_ts) {
            Record::Own(write) if write.kind != WriteKind::Rollback => Some(write.commit_ts),
            _ => None,
        }
    }
}

impl Batch {
    /// Writes the rollback record of a transaction; where another transaction committed at its start ts, a
    /// protected rollback is marked on that record, and an unprotected one leaves no trace.
    pub fn put_rollback(&mut self, key: &Bytes, start_ts: Ts, protected: bool, at_start: Option<&Write>) {
        let write = match at_start {
            Some(other) if protected => Write {
                overlapped_rollback: true,
                ..other.clone()
            },
            Some(_) => return,
            None => Write {
                commit_ts: start_ts,
                start_ts,
                kind: WriteKind::Rollback,
                value: Bytes::new(),
                txn_source: 0,
                overlapped_rollback: false,
                protected,
            },
        };
        self.changes.push(Modify::PutWrite(key.clone(), write));
    }

    /// Removes the rollback record just below, unless it is protected: the newer one covers it.
    pub fn collapse_rollback(&mut self, data: &Mvcc, key: &Bytes, start_ts: Ts) {
        let writes = data.writes_of(key);
        let below = writes.partition_point(|write| write.commit_ts <= start_ts);
        let last = writes[..below].last();
        if let Some(write) = last.filter(|write| write.kind == WriteKind::Rollback && !write.protected) {
            self.changes.push(Modify::DropWrite(key.clone(), write.commit_ts));
        }
    }

    /// Rolls back the transaction that holds the lock. Only the primary of a pessimistic transaction is
    /// protected.
    pub fn rollback_lock(&mut self, data: &Mvcc, key: &Bytes, lock: &Lock, collapse: bool) {
        match data.record_of(key, lock.start_ts) {
            Record::None { at_start } => {
                let protected = lock.is_pessimistic_txn() && *key == lock.primary;
                if collapse {
                    self.collapse_rollback(data, key, lock.start_ts);
                }
                self.put_rollback(key, lock.start_ts, protected, at_start);
            }
            Record::Own(_) | Record::OverlappedRollback => {}
        }
        self.changes.push(Modify::Unlock(key.clone()));
    }

    /// Records the rollback of a transaction that holds no lock on the key, so that its late prewrite fails.
    pub fn rollback_missing(
        &mut self,
        data: &Mvcc,
        key: &Bytes,
        start_ts: Ts,
        protected: bool,
        at_start: Option<&Write>,
    ) {
        if !protected {
            self.collapse_rollback(data, key, start_ts);
        }
        let other = data.locks.get(key);
        if let Some(other) = other.filter(|_| protected && at_start.is_none()) {
            // An async commit chooses its commit ts itself, and might land just here.
            if other.use_async_commit && start_ts >= other.min_commit_ts {
                let mut marked = other.clone();
                marked.rollback_ts.push(start_ts);
                self.changes.push(Modify::TouchLock(key.clone(), marked));
            }
        }
        self.put_rollback(key, start_ts, protected, at_start);
    }

    /// Turns the transaction's lock into its commit record. A pessimistic lock that was left over only goes.
    pub fn commit_lock(&mut self, key: &Bytes, lock: &Lock, commit_ts: Ts) {
        let kind = match lock.kind {
            LockKind::Put => Some(WriteKind::Put),
            LockKind::Delete => Some(WriteKind::Delete),
            LockKind::Lock => Some(WriteKind::Lock),
            LockKind::Pessimistic => None,
        };
        if let Some(kind) = kind {
            self.changes.push(Modify::PutWrite(
                key.clone(),
                Write {
                    commit_ts,
                    start_ts: lock.start_ts,
                    kind,
                    value: lock.value.clone(),
                    txn_source: lock.txn_source,
                    overlapped_rollback: lock.rollback_ts.contains(&commit_ts),
                    protected: false,
                },
            ));
        }
        self.changes.push(Modify::Unlock(key.clone()));
    }
}
