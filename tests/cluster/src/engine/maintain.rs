//! Housekeeping: garbage collection, range deletion, and a look at one key's records.

use bytes::Bytes;
use tidemark_model::Ts;
use tidemark_proto::kvrpcpb::{MvccInfo, MvccLock, MvccValue, MvccWrite, Op};

use super::error;
use super::model::{Mvcc, SHORT_VALUE, Write, WriteKind};
use super::snapshot::bounds;

impl Mvcc {
    /// Drops versions that no read at or above the safe point can see; the number dropped.
    pub fn collect_garbage(&mut self, safe_point: Ts) -> usize {
        let mut dropped = 0;
        self.writes.retain(|_, writes| {
            let before = writes.len();
            let below = writes.partition_point(|write| write.commit_ts <= safe_point);
            let mut seen = false;
            let mut keep: Vec<bool> = writes[..below]
                .iter()
                .rev()
                .map(|write| keeps(write, &mut seen))
                .collect();
            keep.reverse();
            let mut at = 0;
            writes.retain(|_| {
                at += 1;
                keep.get(at - 1).copied().unwrap_or(true)
            });
            dropped += before - writes.len();
            !writes.is_empty()
        });
        dropped
    }

    /// Removes keys of the range with all their records, as if they had never been.
    pub fn delete_range(&mut self, start: &[u8], end: &[u8]) {
        remove_range(&mut self.writes, start, end);
        remove_range(&mut self.locks, start, end);
    }

    /// The key's records, newest first.
    pub fn info(&self, key: &Bytes) -> Option<MvccInfo> {
        let lock = self.locks.get(key).map(|lock| MvccLock {
            r#type: error::lock_info(key, lock).lock_type,
            start_ts: lock.start_ts.0,
            primary: lock.primary.clone(),
            short_value: short(&lock.value),
            ttl: lock.ttl,
            for_update_ts: lock.for_update_ts.0,
            txn_size: lock.txn_size,
            use_async_commit: lock.use_async_commit,
            secondaries: lock.secondaries.clone(),
            rollback_ts: lock.rollback_ts.iter().map(|ts| ts.0).collect(),
            ..Default::default()
        });
        let newest_first = self.writes_of(key).iter().rev();
        let writes: Vec<_> = newest_first.clone().map(mvcc_write).collect();
        let long = newest_first.filter(|write| write.value.len() > SHORT_VALUE);
        let values = long.map(|write| MvccValue {
            start_ts: write.start_ts.0,
            value: write.value.clone(),
        });
        (lock.is_some() || !writes.is_empty()).then(|| MvccInfo {
            lock,
            writes,
            values: values.collect(),
        })
    }
}

/// Of writes at or below the safe point, newest first: only the newest version stays, and only if it is a put.
fn keeps(write: &Write, seen: &mut bool) -> bool {
    match write.kind {
        WriteKind::Put => !std::mem::replace(seen, true),
        WriteKind::Delete => {
            *seen = true;
            false
        }
        WriteKind::Lock | WriteKind::Rollback => false,
    }
}

fn short(value: &Bytes) -> Bytes {
    if value.len() <= SHORT_VALUE {
        value.clone()
    } else {
        Bytes::new()
    }
}

fn mvcc_write(write: &Write) -> MvccWrite {
    let op = match write.kind {
        WriteKind::Put => Op::Put,
        WriteKind::Delete => Op::Del,
        WriteKind::Lock => Op::Lock,
        WriteKind::Rollback => Op::Rollback,
    };
    let mark = Bytes::from_static(if write.protected { b"p" } else { b"" });
    MvccWrite {
        r#type: op.into(),
        start_ts: write.start_ts.0,
        commit_ts: write.commit_ts.0,
        short_value: if write.kind == WriteKind::Rollback {
            mark
        } else {
            short(&write.value)
        },
        has_overlapped_rollback: write.overlapped_rollback,
        ..Default::default()
    }
}

/// Removes the keys of `[start, end)`; an empty end means no bound.
pub fn remove_range<V>(map: &mut std::collections::BTreeMap<Bytes, V>, start: &[u8], end: &[u8]) {
    if bounds(start, end).is_none() {
        return;
    }
    let mut inside = map.split_off(start);
    if !end.is_empty() {
        map.append(&mut inside.split_off(end));
    }
}
