//! The second phase: commit, rollback, and what others do to a transaction that was left behind.

use bytes::Bytes;
use tidemark_model::Ts;
use tidemark_proto::kvrpcpb::{
    Action, CheckSecondaryLocksRequest, CheckSecondaryLocksResponse, CheckTxnStatusRequest,
    CheckTxnStatusResponse, CleanupRequest, CleanupResponse, KeyError, LockInfo, ResolveLockRequest,
    ScanLockRequest, TxnHeartBeatRequest, TxnHeartBeatResponse,
};

use super::apply::{Batch, Modify};
use super::error;
use super::model::{Lock, LockKind, Mvcc, WriteKind};
use super::record::Record;
use super::snapshot::bounds;
use crate::tso::MaxTs;

/// Commits the transaction on the keys: on all, or on none and an error.
///
/// # Errors
/// The commit ts is too low, or the transaction was rolled back or is unknown.
pub fn commit(data: &Mvcc, keys: &[Bytes], start_ts: Ts, commit_ts: Ts) -> Result<Batch, KeyError> {
    let mut batch = Batch::default();
    batch.changes.reserve(keys.len() * 2);
    for key in keys {
        match own_lock(data, key, start_ts) {
            Some(lock) if commit_ts < lock.min_commit_ts => {
                return Err(error::commit_ts_expired(key, lock, commit_ts));
            }
            Some(lock) => batch.commit_lock(key, lock, commit_ts),
            None if data.commit_ts_of(key, start_ts).is_some() => {}
            None => return Err(error::txn_lock_not_found(key, start_ts, commit_ts)),
        }
    }
    Ok(batch)
}

/// Rolls the transaction back on the keys.
///
/// # Errors
/// It has committed on one of them.
pub fn batch_rollback(data: &Mvcc, keys: &[Bytes], start_ts: Ts) -> Result<Batch, KeyError> {
    let mut batch = Batch::default();
    for key in keys {
        if let Some(commit_ts) = roll_back(&mut batch, data, key, start_ts, false) {
            return Err(committed(start_ts, commit_ts));
        }
    }
    Ok(batch)
}

/// Rolls the transaction back on one key unless its lock still lives at `current_ts`.
pub fn cleanup(data: &Mvcc, request: &CleanupRequest) -> (Batch, CleanupResponse) {
    let mut batch = Batch::default();
    let (key, start_ts, now) = (&request.key, Ts(request.start_version), Ts(request.current_ts));
    let mut response = CleanupResponse::default();
    match own_lock(data, key, start_ts) {
        Some(lock) if now != Ts::ZERO && !expired(lock, now) => {
            response.error = Some(error::locked(key, lock));
        }
        _ => {
            if let Some(commit_ts) = roll_back(&mut batch, data, key, start_ts, true) {
                response.commit_version = commit_ts.0;
            }
        }
    }
    (batch, response)
}

/// What became of a transaction, asked at its primary; expired locks are rolled back.
pub fn check_txn_status(
    data: &Mvcc,
    max_ts: &MaxTs,
    request: &CheckTxnStatusRequest,
) -> (Batch, CheckTxnStatusResponse) {
    let mut batch = Batch::default();
    let mut response = CheckTxnStatusResponse::default();
    let (key, start_ts) = (&request.primary_key, Ts(request.lock_ts));
    max_ts.raise(start_ts);
    max_ts.raise(Ts(request.caller_start_ts));
    max_ts.raise(Ts(request.current_ts));
    let lock = match own_lock(data, key, start_ts) {
        Some(lock) if request.verify_is_primary && lock.primary != *key => {
            if request.resolving_pessimistic_lock || lock.kind != LockKind::Pessimistic {
                response.error = Some(error::primary_mismatch(key, lock));
                return (batch, response);
            }
            batch.changes.push(Modify::Unlock(key.clone()));
            None
        }
        lock => lock,
    };
    match lock {
        Some(lock) => lock_status(&mut batch, &mut response, data, lock, request),
        None => missing_status(&mut batch, &mut response, data, request),
    }
    (batch, response)
}

fn lock_status(
    batch: &mut Batch,
    response: &mut CheckTxnStatusResponse,
    data: &Mvcc,
    lock: &Lock,
    request: &CheckTxnStatusRequest,
) {
    let key = &request.primary_key;
    let (caller, now) = (Ts(request.caller_start_ts), Ts(request.current_ts));
    if lock.use_async_commit && !request.force_sync_commit {
        response.lock_ttl = lock.ttl;
        response.lock_info = Some(error::lock_info(key, lock));
        return;
    }
    if expired(lock, now) {
        let action = if request.resolving_pessimistic_lock && lock.kind == LockKind::Pessimistic {
            batch.changes.push(Modify::Unlock(key.clone()));
            Action::TtlExpirePessimisticRollback
        } else {
            batch.rollback_lock(data, key, lock, true);
            Action::TtlExpireRollback
        };
        response.action = action.into();
        return;
    }
    let mut lock = lock.clone();
    if lock.min_commit_ts != Ts::ZERO && caller != Ts::MAX && caller >= lock.min_commit_ts {
        lock.min_commit_ts = caller.next().max(now);
        batch.changes.push(Modify::TouchLock(key.clone(), lock.clone()));
    }
    let pushed = caller == Ts::MAX || caller != Ts::ZERO && lock.min_commit_ts > caller;
    response.action = if pushed {
        Action::MinCommitTsPushed
    } else {
        Action::NoAction
    }
    .into();
    response.lock_ttl = lock.ttl;
    response.lock_info = Some(error::lock_info(key, &lock));
}

fn missing_status(
    batch: &mut Batch,
    response: &mut CheckTxnStatusResponse,
    data: &Mvcc,
    request: &CheckTxnStatusRequest,
) {
    let (key, start_ts) = (&request.primary_key, Ts(request.lock_ts));
    match data.record_of(key, start_ts) {
        Record::Own(write) if write.kind != WriteKind::Rollback => {
            response.commit_version = write.commit_ts.0;
        }
        Record::Own(_) | Record::OverlappedRollback => {}
        Record::None { .. } if !request.rollback_if_not_exist => {
            response.error = Some(error::txn_not_found(key, start_ts));
        }
        Record::None { .. } if request.resolving_pessimistic_lock => {
            response.action = Action::LockNotExistDoNothing.into();
        }
        Record::None { at_start } => {
            batch.rollback_missing(data, key, start_ts, true, at_start);
            response.action = Action::LockNotExistRollback.into();
        }
    }
}

/// What became of an async commit, asked at its secondaries; one that isn't locked is rolled back for good.
pub fn check_secondary_locks(
    data: &Mvcc,
    request: &CheckSecondaryLocksRequest,
) -> (Batch, CheckSecondaryLocksResponse) {
    let mut batch = Batch::default();
    let mut response = CheckSecondaryLocksResponse::default();
    let start_ts = Ts(request.start_version);
    for key in &request.keys {
        match own_lock(data, key, start_ts) {
            Some(lock) if lock.kind != LockKind::Pessimistic => {
                response.locks.push(error::lock_info(key, lock));
                continue;
            }
            Some(_) => batch.changes.push(Modify::Unlock(key.clone())),
            None => {}
        }
        match data.record_of(key, start_ts) {
            Record::Own(write) if write.kind != WriteKind::Rollback => {
                response.commit_ts = write.commit_ts.0;
            }
            Record::Own(_) | Record::OverlappedRollback => {}
            Record::None { at_start } => batch.rollback_missing(data, key, start_ts, true, at_start),
        }
        response.locks.clear();
        break;
    }
    (batch, response)
}

/// Locks of transactions that began at or before `max_version`, in key order, at most `limit` (0: all).
pub fn scan_lock(data: &Mvcc, max_ts: &MaxTs, request: &ScanLockRequest) -> Vec<LockInfo> {
    max_ts.raise(Ts(request.max_version));
    let Some(range) = bounds(&request.start_key, &request.end_key) else {
        return Vec::new();
    };
    let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0);
    data.locks
        .range::<[u8], _>(range)
        .filter(|(_, lock)| lock.start_ts <= Ts(request.max_version))
        .take(limit.unwrap_or(usize::MAX))
        .map(|(key, lock)| error::lock_info(key, lock))
        .collect()
}

/// Commits or rolls back what transactions left in the region: one, several, or one on some keys.
///
/// # Errors
/// The commit ts is below a lock's minimum.
pub fn resolve_lock(data: &Mvcc, request: &ResolveLockRequest) -> Result<Batch, KeyError> {
    let mut batch = Batch::default();
    let mut resolve = |key: &Bytes, start_ts: Ts, commit_ts: Ts| -> Result<(), KeyError> {
        let Some(lock) = own_lock(data, key, start_ts) else {
            // Resolved by somebody else meanwhile, or it must not be prewritten any more.
            if commit_ts == Ts::ZERO {
                roll_back(&mut batch, data, key, start_ts, false);
            }
            return Ok(());
        };
        if commit_ts == Ts::ZERO {
            batch.rollback_lock(data, key, lock, true);
        } else if commit_ts < lock.min_commit_ts {
            return Err(error::commit_ts_expired(key, lock, commit_ts));
        } else {
            batch.commit_lock(key, lock, commit_ts);
        }
        Ok(())
    };
    if !request.keys.is_empty() {
        for key in &request.keys {
            resolve(key, Ts(request.start_version), Ts(request.commit_version))?;
        }
        return Ok(batch);
    }
    for (key, lock) in &data.locks {
        let own = lock.start_ts.0 == request.start_version;
        let listed = request.txn_infos.iter().find(|txn| txn.txn == lock.start_ts.0);
        match listed {
            Some(txn) => resolve(key, lock.start_ts, Ts(txn.status))?,
            None if own => resolve(key, lock.start_ts, Ts(request.commit_version))?,
            None => {}
        }
    }
    Ok(batch)
}

/// Keeps the transaction's primary lock alive.
pub fn heart_beat(data: &Mvcc, request: &TxnHeartBeatRequest) -> (Batch, TxnHeartBeatResponse) {
    let mut batch = Batch::default();
    let mut response = TxnHeartBeatResponse::default();
    let (key, start_ts) = (&request.primary_lock, Ts(request.start_version));
    match own_lock(data, key, start_ts) {
        Some(lock) => {
            let mut lock = lock.clone();
            let least = Ts(request.min_commit_ts);
            let raises = request.advise_lock_ttl > lock.ttl || least > lock.min_commit_ts;
            lock.ttl = lock.ttl.max(request.advise_lock_ttl);
            lock.min_commit_ts = lock.min_commit_ts.max(least);
            response.lock_ttl = lock.ttl;
            if raises {
                batch.changes.push(Modify::TouchLock(key.clone(), lock));
            }
        }
        None => response.error = Some(error::txn_not_found(key, start_ts)),
    }
    (batch, response)
}

/// The transaction's own lock on the key.
pub fn own_lock<'a>(data: &'a Mvcc, key: &[u8], start_ts: Ts) -> Option<&'a Lock> {
    data.locks.get(key).filter(|lock| lock.start_ts == start_ts)
}

fn expired(lock: &Lock, now: Ts) -> bool {
    lock.start_ts.physical_ms().saturating_add(lock.ttl) < now.physical_ms()
}

/// Rolls back on one key; gives the commit ts where it has committed instead.
fn roll_back(batch: &mut Batch, data: &Mvcc, key: &Bytes, start_ts: Ts, protect: bool) -> Option<Ts> {
    if let Some(lock) = own_lock(data, key, start_ts) {
        batch.rollback_lock(data, key, lock, !protect);
        return None;
    }
    match data.record_of(key, start_ts) {
        Record::Own(write) if write.kind != WriteKind::Rollback => return Some(write.commit_ts),
        Record::Own(_) | Record::OverlappedRollback => {}
        Record::None { at_start } => batch.rollback_missing(data, key, start_ts, protect, at_start),
    }
    None
}

fn committed(start_ts: Ts, commit_ts: Ts) -> KeyError {
    error::abort(format!(
        "Committed {{ start_ts: {start_ts}, commit_ts: {commit_ts} }}"
    ))
}
