//! Answers to a key that can't be had, as TiKV words them.

use bytes::Bytes;
use tidemark_model::Ts;
use tidemark_proto::kvrpcpb::{self, KeyError, LockInfo, write_conflict::Reason};

use super::model::{Lock, LockKind};

/// A lock as clients see it.
pub fn lock_info(key: &Bytes, lock: &Lock) -> LockInfo {
    let lock_type = match lock.kind {
        LockKind::Put => kvrpcpb::Op::Put,
        LockKind::Delete => kvrpcpb::Op::Del,
        LockKind::Lock => kvrpcpb::Op::Lock,
        LockKind::Pessimistic => kvrpcpb::Op::PessimisticLock,
    };
    LockInfo {
        primary_lock: lock.primary.clone(),
        lock_version: lock.start_ts.0,
        key: key.clone(),
        lock_ttl: lock.ttl,
        txn_size: lock.txn_size,
        lock_type: lock_type.into(),
        lock_for_update_ts: lock.for_update_ts.0,
        use_async_commit: lock.use_async_commit,
        min_commit_ts: lock.min_commit_ts.0,
        secondaries: lock.secondaries.clone(),
        ..Default::default()
    }
}

/// The key is locked by another transaction.
pub fn locked(key: &Bytes, lock: &Lock) -> KeyError {
    KeyError {
        locked: Some(lock_info(key, lock)),
        ..Default::default()
    }
}

/// A newer write or an earlier rollback stands in the way.
pub struct Conflict {
    /// The transaction that fails.
    pub start_ts: Ts,
    /// Begin of the transaction in its way.
    pub conflict_start_ts: Ts,
    /// Commit of the transaction in its way.
    pub conflict_commit_ts: Ts,
    /// Which rule failed.
    pub reason: Reason,
}

/// The key was written by another transaction in between.
pub fn conflict(key: &Bytes, primary: &Bytes, what: &Conflict) -> KeyError {
    KeyError {
        conflict: Some(kvrpcpb::WriteConflict {
            start_ts: what.start_ts.0,
            conflict_ts: what.conflict_start_ts.0,
            key: key.clone(),
            primary: primary.clone(),
            conflict_commit_ts: what.conflict_commit_ts.0,
            reason: what.reason.into(),
        }),
        ..Default::default()
    }
}

/// The key exists though it must not.
pub fn already_exist(key: &Bytes) -> KeyError {
    KeyError {
        already_exist: Some(kvrpcpb::AlreadyExist { key: key.clone() }),
        ..Default::default()
    }
}

/// The transaction must give up.
pub fn abort(text: impl Into<String>) -> KeyError {
    KeyError {
        abort: text.into(),
        ..Default::default()
    }
}

/// The pessimistic lock that prewrite counts on is not there.
pub fn pessimistic_lock_not_found(key: &Bytes, start_ts: Ts) -> KeyError {
    abort(format!(
        "PessimisticLockNotFound {{ start_ts: {start_ts}, key: {key:?} }}"
    ))
}

/// Commit finds neither lock nor commit record.
pub fn txn_lock_not_found(key: &Bytes, start_ts: Ts, commit_ts: Ts) -> KeyError {
    KeyError {
        retryable: format!(
            "TxnLockNotFound {{ start_ts: {start_ts}, commit_ts: {commit_ts}, key: {key:?} }}"
        ),
        txn_lock_not_found: Some(kvrpcpb::TxnLockNotFound { key: key.clone() }),
        ..Default::default()
    }
}

/// The commit ts lies below what readers were promised.
pub fn commit_ts_expired(key: &Bytes, lock: &Lock, commit_ts: Ts) -> KeyError {
    KeyError {
        commit_ts_expired: Some(kvrpcpb::CommitTsExpired {
            start_ts: lock.start_ts.0,
            attempted_commit_ts: commit_ts.0,
            key: key.clone(),
            min_commit_ts: lock.min_commit_ts.0,
        }),
        ..Default::default()
    }
}

/// The transaction has left no trace.
pub fn txn_not_found(key: &Bytes, start_ts: Ts) -> KeyError {
    KeyError {
        txn_not_found: Some(kvrpcpb::TxnNotFound {
            start_ts: start_ts.0,
            primary_key: key.clone(),
        }),
        ..Default::default()
    }
}

/// The lock names another primary.
pub fn primary_mismatch(key: &Bytes, lock: &Lock) -> KeyError {
    KeyError {
        primary_mismatch: Some(kvrpcpb::PrimaryMismatch {
            lock_info: Some(lock_info(key, lock)),
        }),
        ..Default::default()
    }
}

/// The key exists, or doesn't, against the client's assertion.
pub fn assertion_failed(
    key: &Bytes,
    start_ts: Ts,
    assertion: kvrpcpb::Assertion,
    existing: Option<(Ts, Ts)>,
) -> KeyError {
    let (existing_start, existing_commit) = existing.unwrap_or_default();
    KeyError {
        assertion_failed: Some(kvrpcpb::AssertionFailed {
            start_ts: start_ts.0,
            key: key.clone(),
            assertion: assertion.into(),
            existing_start_ts: existing_start.0,
            existing_commit_ts: existing_commit.0,
        }),
        ..Default::default()
    }
}
