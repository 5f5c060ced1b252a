//! Reads at a timestamp.

use std::collections::btree_map;
use std::iter::{Peekable, Rev};

use bytes::Bytes;
use tidemark_model::Ts;
use tidemark_proto::kvrpcpb::{Context, IsolationLevel, KeyError, KvPair};

use super::error;
use super::model::{Lock, LockKind, Mvcc, Write, WriteKind, version_at};
use super::snapshot::bounds;
use crate::tso::MaxTs;

/// How a read treats the locks it meets.
#[derive(Debug)]
pub struct Reader<'a> {
    data: &'a Mvcc,
    ts: Ts,
    /// Read committed: locks don't matter.
    ignore_locks: bool,
    /// Transactions known to commit above `ts`, or to be rolled back.
    resolved: Vec<u64>,
    /// Transactions known to have committed below `ts`.
    committed: Vec<u64>,
}

/// A value found, with its commit ts (zero where it was read through a lock).
type Found = Option<(Bytes, Ts)>;

impl<'a> Reader<'a> {
    /// A reader at `ts`; raises the newest ts read at.
    pub fn new(data: &'a Mvcc, max_ts: &MaxTs, ts: Ts, context: Option<&Context>) -> Self {
        max_ts.raise(ts);
        let context = context.cloned().unwrap_or_default();
        Self {
            data,
            ts,
            ignore_locks: context.isolation_level == i32::from(IsolationLevel::Rc),
            resolved: context.resolved_locks,
            committed: context.committed_locks,
        }
    }

    /// Reads one key.
    ///
    /// # Errors
    /// The key is locked by a transaction that may commit at or below the read's ts.
    pub fn get(&self, key: &Bytes) -> Result<Found, KeyError> {
        self.read(key, self.data.locks.get(key), self.data.writes_of(key))
    }

    /// Reads the range, at most `limit` keys; a locked key is a pair with an error.
    pub fn scan(&self, start: &[u8], end: &[u8], limit: usize, reverse: bool, key_only: bool) -> Vec<KvPair> {
        let Some(range) = bounds(start, end) else {
            return Vec::new();
        };
        let locks = self.data.locks.range::<[u8], _>(range);
        let writes = self.data.writes.range::<[u8], _>(range);
        let merged: Box<dyn Iterator<Item = (&Bytes, Option<&Lock>, &[Write])>> = if reverse {
            let (locks, writes) = (locks.rev().peekable(), writes.rev().peekable());
            Box::new(Descending { locks, writes })
        } else {
            let (locks, writes) = (locks.peekable(), writes.peekable());
            Box::new(Ascending { locks, writes })
        };
        let pairs = merged.filter_map(|(key, lock, writes)| match self.read(key, lock, writes) {
            Ok(found) => found.map(|(value, commit_ts)| KvPair {
                key: key.clone(),
                value: if key_only { Bytes::new() } else { value },
                commit_ts: commit_ts.0,
                ..Default::default()
            }),
            Err(error) => Some(KvPair {
                key: key.clone(),
                error: Some(error),
                ..Default::default()
            }),
        });
        pairs.take(limit).collect()
    }

    fn read(&self, key: &Bytes, lock: Option<&Lock>, writes: &[Write]) -> Result<Found, KeyError> {
        if let Some(lock) = lock.filter(|lock| self.blocks(key, lock)) {
            if !self.committed.contains(&lock.start_ts.0) {
                return Err(error::locked(key, lock));
            }
            let put = lock.kind == LockKind::Put;
            return Ok(put.then(|| (lock.value.clone(), Ts::ZERO)));
        }
        let version = version_at(writes, self.ts).filter(|write| write.kind == WriteKind::Put);
        Ok(version.map(|write| (write.value.clone(), write.commit_ts)))
    }

    fn blocks(&self, key: &Bytes, lock: &Lock) -> bool {
        let own_primary = self.ts == Ts::MAX && *key == lock.primary && !lock.use_async_commit;
        matches!(lock.kind, LockKind::Put | LockKind::Delete)
            && !self.ignore_locks
            && lock.start_ts <= self.ts
            && lock.min_commit_ts <= self.ts
            && !own_primary
            && !self.resolved.contains(&lock.start_ts.0)
    }
}

type Locks<'a> = btree_map::Range<'a, Bytes, Lock>;
type Writes<'a> = btree_map::Range<'a, Bytes, Vec<Write>>;

struct Ascending<'a> {
    locks: Peekable<Locks<'a>>,
    writes: Peekable<Writes<'a>>,
}

struct Descending<'a> {
    locks: Peekable<Rev<Locks<'a>>>,
    writes: Peekable<Rev<Writes<'a>>>,
}

/// Takes the next key of two ordered sources; `forward` says which of two keys comes first.
fn next_of<'a>(
    locks: &mut Peekable<impl Iterator<Item = (&'a Bytes, &'a Lock)>>,
    writes: &mut Peekable<impl Iterator<Item = (&'a Bytes, &'a Vec<Write>)>>,
    forward: bool,
) -> Option<(&'a Bytes, Option<&'a Lock>, &'a [Write])> {
    let locked = locks.peek().map(|(key, _)| *key);
    let written = writes.peek().map(|(key, _)| *key);
    let key = match (locked, written) {
        (Some(a), Some(b)) => {
            if forward {
                a.min(b)
            } else {
                a.max(b)
            }
        }
        (one, other) => one.or(other)?,
    };
    let lock = locks.next_if(|(at, _)| *at == key).map(|(_, lock)| lock);
    let writes = writes
        .next_if(|(at, _)| *at == key)
        .map(|(_, writes)| writes.as_slice());
    Some((key, lock, writes.unwrap_or_default()))
}

impl<'a> Iterator for Ascending<'a> {
    type Item = (&'a Bytes, Option<&'a Lock>, &'a [Write]);

    fn next(&mut self) -> Option<Self::Item> {
        next_of(&mut self.locks, &mut self.writes, true)
    }
}

impl<'a> Iterator for Descending<'a> {
    type Item = (&'a Bytes, Option<&'a Lock>, &'a [Write]);

    fn next(&mut self) -> Option<Self::Item> {
        next_of(&mut self.locks, &mut self.writes, false)
    }
}
