//! Locks of pessimistic transactions, taken before prewrite.

use bytes::Bytes;
use tidemark_model::Ts;
use tidemark_proto::kvrpcpb::{
    Assertion, KeyError, Mutation, PessimisticLockKeyResult, PessimisticLockKeyResultType,
    PessimisticLockRequest, PessimisticLockResponse, PessimisticLockWakeUpMode, PessimisticRollbackRequest,
    write_conflict::Reason,
};

use super::apply::{Batch, Modify};
use super::error::{self, Conflict};
use super::finish::own_lock;
use super::model::{Lock, LockKind, Mvcc, WriteKind};

/// One key locked: its value where it exists, and the commit ts of a newer write that was locked over.
struct Locked {
    value: Option<Bytes>,
    conflict: Option<Ts>,
}

/// Locks the keys: all, or none and an error.
pub fn pessimistic_lock(data: &Mvcc, request: &PessimisticLockRequest) -> (Batch, PessimisticLockResponse) {
    let mut batch = Batch::default();
    let mut response = PessimisticLockResponse::default();
    let force = request.wake_up_mode == i32::from(PessimisticLockWakeUpMode::WakeUpModeForceLock);
    let wants_answer = request.return_values || request.check_existence;
    for mutation in &request.mutations {
        match lock_key(&mut batch, data, request, mutation, force) {
            Ok(locked) => {
                let exists = locked.value.is_some();
                let wants_value = request.return_values || locked.conflict.is_some();
                let value = locked.value.filter(|_| wants_value).unwrap_or_default();
                if force {
                    response.results.push(key_result(value, exists, locked.conflict));
                } else if wants_answer {
                    response.not_founds.push(!exists);
                    if request.return_values {
                        response.values.push(value);
                    }
                }
            }
            Err(error) => {
                let response = PessimisticLockResponse {
                    errors: vec![error],
                    results: if force { vec![failed_result()] } else { Vec::new() },
                    ..Default::default()
                };
                return (Batch::default(), response);
            }
        }
    }
    (batch, response)
}

/// Gives up pessimistic locks; prewritten locks and those taken later stay.
pub fn pessimistic_rollback(data: &Mvcc, request: &PessimisticRollbackRequest) -> Batch {
    let (start_ts, for_update_ts) = (Ts(request.start_version), Ts(request.for_update_ts));
    let mut batch = Batch::default();
    let mut give_up = |key: &Bytes, lock: &Lock| {
        if lock.kind == LockKind::Pessimistic && lock.for_update_ts <= for_update_ts {
            batch.changes.push(Modify::Unlock(key.clone()));
        }
    };
    if request.keys.is_empty() {
        let own = data.locks.iter().filter(|(_, lock)| lock.start_ts == start_ts);
        own.for_each(|(key, lock)| give_up(key, lock));
    }
    for key in &request.keys {
        if let Some(lock) = own_lock(data, key, start_ts) {
            give_up(key, lock);
        }
    }
    batch
}

fn lock_key(
    batch: &mut Batch,
    data: &Mvcc,
    request: &PessimisticLockRequest,
    mutation: &Mutation,
    force: bool,
) -> Result<Locked, KeyError> {
    let key = &mutation.key;
    let (start_ts, mut for_update_ts) = (Ts(request.start_version), Ts(request.for_update_ts));
    let mut min_commit_ts = Ts(request.min_commit_ts);
    let mut ttl = request.lock_ttl;
    let own = match data.locks.get(key) {
        Some(lock) if lock.start_ts != start_ts => return Err(error::locked(key, lock)),
        Some(lock) if lock.kind != LockKind::Pessimistic => {
            return Err(error::abort(format!(
                "LockTypeNotMatch {{ start_ts: {start_ts}, key: {key:?} }}"
            )));
        }
        own => own,
    };
    let mut conflict = None;
    if let Some(own) = own {
        min_commit_ts = min_commit_ts.max(own.min_commit_ts);
        ttl = ttl.max(own.ttl);
    } else {
        conflict = check_writes(data, request, key, force)?;
    }
    if let Some(newer) = conflict {
        for_update_ts = newer;
    }
    let version = data.version_at(
        key,
        for_update_ts.max(own.map_or(Ts::ZERO, |lock| lock.for_update_ts)),
    );
    let put = version.filter(|write| write.kind == WriteKind::Put);
    if put.is_some() && mutation.assertion == i32::from(Assertion::NotExist) {
        return Err(error::already_exist(key));
    }
    let value = put.map(|write| write.value.clone());
    let older = own.is_some_and(|own| own.for_update_ts >= for_update_ts);
    let skip = request.lock_only_if_exists && value.is_none();
    if !older && !skip {
        let lock = Lock {
            kind: LockKind::Pessimistic,
            primary: request.primary_lock.clone(),
            start_ts,
            ttl,
            value: Bytes::new(),
            for_update_ts,
            txn_size: 0,
            min_commit_ts,
            use_async_commit: false,
            secondaries: Vec::new(),
            rollback_ts: Vec::new(),
            txn_source: 0,
            generation: 0,
        };
        batch.changes.push(Modify::PutLock(key.clone(), lock));
    }
    Ok(Locked { value, conflict })
}

/// The commit ts of a newer write that is locked over, where the client allows that.
fn check_writes(
    data: &Mvcc,
    request: &PessimisticLockRequest,
    key: &Bytes,
    force: bool,
) -> Result<Option<Ts>, KeyError> {
    let (start_ts, for_update_ts) = (Ts(request.start_version), Ts(request.for_update_ts));
    let writes = data.writes_of(key);
    let at_start = writes.binary_search_by_key(&start_ts, |write| write.commit_ts);
    if let Some(write) = at_start.ok().and_then(|at| writes.get(at))
        && (write.kind == WriteKind::Rollback || write.overlapped_rollback)
    {
        return Err(error::abort(format!(
            "PessimisticLockRolledBack {{ start_ts: {start_ts}, key: {key:?} }}"
        )));
    }
    let Some(newest) = writes.last().filter(|write| write.commit_ts > for_update_ts) else {
        return Ok(None);
    };
    if force {
        return Ok(Some(newest.commit_ts));
    }
    let what = Conflict {
        start_ts,
        conflict_start_ts: newest.start_ts,
        conflict_commit_ts: newest.commit_ts,
        reason: Reason::PessimisticRetry,
    };
    Err(error::conflict(key, &request.primary_lock, &what))
}

fn key_result(value: Bytes, existence: bool, conflict: Option<Ts>) -> PessimisticLockKeyResult {
    let kind = match conflict {
        Some(_) => PessimisticLockKeyResultType::LockResultLockedWithConflict,
        None => PessimisticLockKeyResultType::LockResultNormal,
    };
    PessimisticLockKeyResult {
        r#type: kind.into(),
        value,
        existence,
        locked_with_conflict_ts: conflict.unwrap_or_default().0,
        skip_resolving_lock: false,
    }
}

fn failed_result() -> PessimisticLockKeyResult {
    PessimisticLockKeyResult {
        r#type: PessimisticLockKeyResultType::LockResultFailed.into(),
        ..Default::default()
    }
}
