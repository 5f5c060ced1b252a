//! Prewrite: all kinds of two-phase commit, async commit, one-phase commit, and the pipelined flush.

use bytes::Bytes;
use tidemark_model::Ts;
use tidemark_proto::kvrpcpb::{
    Assertion, AssertionLevel, FlushRequest, KeyError, Mutation, Op, PrewriteRequest, PrewriteResponse,
    prewrite_request::PessimisticAction, write_conflict::Reason,
};

use super::apply::{Batch, Modify};
use super::error::{self, Conflict};
use super::model::{Lock, LockKind, Mvcc, Write, WriteKind};
use crate::tso::MaxTs;

/// What all mutations of a command share.
struct Txn {
    start_ts: Ts,
    for_update_ts: Ts,
    primary: Bytes,
    ttl: u64,
    txn_size: u64,
    min_commit_ts: Ts,
    max_commit_ts: Ts,
    txn_source: u64,
    is_retry: bool,
    skip_constraint_check: bool,
    assertions: bool,
    generation: u64,
    secondaries: Vec<Bytes>,
    /// Still true after no mutation fell back.
    async_commit: bool,
    one_pc: bool,
}

/// What became of one mutation.
enum Outcome {
    /// The lock is to be written; the flag says that it replaces a pessimistic one.
    Write(Lock, bool),
    /// Nothing is to be written: a repeated command, or a mere check. With the commit ts it allows.
    Nothing(Ts),
}

/// Prewrites. Nothing is written where one key fails.
pub fn prewrite(data: &Mvcc, max_ts: &MaxTs, request: PrewriteRequest) -> (Batch, PrewriteResponse) {
    let context = request.context.unwrap_or_default();
    let mut txn = Txn {
        start_ts: Ts(request.start_version),
        for_update_ts: Ts(request.for_update_ts),
        primary: request.primary_lock,
        ttl: request.lock_ttl,
        txn_size: request.txn_size,
        min_commit_ts: Ts(request.min_commit_ts),
        max_commit_ts: Ts(request.max_commit_ts),
        txn_source: context.txn_source,
        is_retry: context.is_retry_request,
        skip_constraint_check: request.skip_constraint_check,
        assertions: request.assertion_level != i32::from(AssertionLevel::Off),
        generation: 0,
        secondaries: request.secondaries,
        async_commit: request.use_async_commit,
        one_pc: request.try_one_pc,
    };
    let wanted_one_pc = txn.one_pc;
    let expected = |index: usize| {
        let mut all = request.for_update_ts_constraints.iter();
        let found = all.find(|constraint| usize::try_from(constraint.index) == Ok(index));
        found.map(|constraint| Ts(constraint.expected_for_update_ts))
    };
    let mut locks = Vec::with_capacity(request.mutations.len());
    let mut errors = Vec::new();
    let mut allowed = Ts::ZERO;
    for (index, mutation) in request.mutations.into_iter().enumerate() {
        let action = request
            .pessimistic_actions
            .get(index)
            .copied()
            .unwrap_or_default();
        let action = PessimisticAction::try_from(action).unwrap_or_default();
        let key = mutation.key.clone();
        let needs_ts = txn.async_commit || txn.one_pc;
        match txn.mutation(data, max_ts, &mutation, action, expected(index)) {
            Ok(outcome) => {
                let ts = match outcome {
                    Outcome::Write(lock, replaces) => {
                        let ts = if txn.async_commit || txn.one_pc {
                            lock.min_commit_ts
                        } else {
                            Ts::ZERO
                        };
                        locks.push((key, lock, replaces));
                        ts
                    }
                    Outcome::Nothing(ts) => ts,
                };
                if needs_ts && ts == Ts::ZERO {
                    txn.fall_back();
                }
                allowed = allowed.max(ts);
            }
            Err(error) if error.locked.is_some() => errors.push(error),
            Err(error) => {
                // A repeated prewrite of a transaction that has committed meanwhile is answered by that.
                let committed = data.commit_ts_of(&key, txn.start_ts);
                if let Some(commit_ts) = committed.filter(|_| error.already_exist.is_none()) {
                    return (Batch::default(), answer(commit_ts, wanted_one_pc));
                }
                return failed(vec![error]);
            }
        }
    }
    if !errors.is_empty() {
        return failed(errors);
    }
    if txn.one_pc {
        return (one_pc(locks, allowed), answer(allowed, true));
    }
    let changes = locks.into_iter().map(|(key, lock, _)| Modify::PutLock(key, lock));
    let batch = Batch {
        changes: changes.collect(),
        one_pc: false,
    };
    let allowed = if txn.async_commit { allowed } else { Ts::ZERO };
    (batch, answer(allowed, false))
}

/// Writes a generation of a pipelined transaction.
pub fn flush(data: &Mvcc, max_ts: &MaxTs, request: FlushRequest) -> (Batch, Vec<KeyError>) {
    let context = request.context.unwrap_or_default();
    let start_ts = Ts(request.start_ts);
    let mut txn = Txn {
        start_ts,
        for_update_ts: Ts::ZERO,
        primary: request.primary_key,
        ttl: request.lock_ttl,
        txn_size: u64::MAX,
        min_commit_ts: Ts(request.min_commit_ts).max(start_ts.next()),
        max_commit_ts: Ts::ZERO,
        txn_source: context.txn_source,
        is_retry: context.is_retry_request,
        skip_constraint_check: false,
        assertions: request.assertion_level != i32::from(AssertionLevel::Off),
        generation: request.generation,
        secondaries: Vec::new(),
        async_commit: false,
        one_pc: false,
    };
    let mut changes = Vec::with_capacity(request.mutations.len());
    let mut errors = Vec::new();
    for mutation in request.mutations {
        let key = mutation.key.clone();
        match txn.mutation(
            data,
            max_ts,
            &mutation,
            PessimisticAction::SkipPessimisticCheck,
            None,
        ) {
            Ok(Outcome::Write(lock, _)) => changes.push(Modify::PutLock(key, lock)),
            Ok(Outcome::Nothing(_)) => {}
            Err(error) if error.locked.is_some() => errors.push(error),
            Err(error) => return (Batch::default(), vec![error]),
        }
    }
    if !errors.is_empty() {
        return (Batch::default(), errors);
    }
    let batch = Batch {
        changes,
        one_pc: false,
    };
    (batch, errors)
}

fn failed(errors: Vec<KeyError>) -> (Batch, PrewriteResponse) {
    let response = PrewriteResponse {
        errors,
        ..Default::default()
    };
    (Batch::default(), response)
}

fn answer(ts: Ts, one_pc: bool) -> PrewriteResponse {
    PrewriteResponse {
        min_commit_ts: if one_pc { 0 } else { ts.0 },
        one_pc_commit_ts: if one_pc { ts.0 } else { 0 },
        ..Default::default()
    }
}

fn one_pc(locks: Vec<(Bytes, Lock, bool)>, commit_ts: Ts) -> Batch {
    let mut batch = Batch {
        changes: Vec::with_capacity(locks.len()),
        one_pc: true,
    };
    for (key, lock, replaces) in locks {
        batch.commit_lock(&key, &lock, commit_ts);
        if !replaces {
            // No lock was ever there to be removed.
            batch.changes.pop();
        }
    }
    batch
}

impl Txn {
    fn is_pessimistic(&self) -> bool {
        self.for_update_ts != Ts::ZERO
    }

    fn fall_back(&mut self) {
        self.async_commit = false;
        self.one_pc = false;
        self.secondaries.clear();
    }

    fn mutation(
        &mut self,
        data: &Mvcc,
        max_ts: &MaxTs,
        mutation: &Mutation,
        action: PessimisticAction,
        expected_for_update_ts: Option<Ts>,
    ) -> Result<Outcome, KeyError> {
        let op = Op::try_from(mutation.op).unwrap_or_default();
        let key = &mutation.key;
        let must_be_new = matches!(op, Op::Insert | Op::CheckNotExists);
        if must_be_new {
            max_ts.raise(self.start_ts);
        }
        let mut lock = self.new_lock(op, key, mutation.value.clone())?;
        let locked = action == PessimisticAction::DoPessimisticCheck;
        let mut replaces = false;
        let mut amended = false;
        match data.locks.get(key) {
            Some(old) if old.start_ts != self.start_ts && locked => {
                return Err(error::pessimistic_lock_not_found(key, self.start_ts));
            }
            Some(old) if old.start_ts != self.start_ts => return Err(error::locked(key, old)),
            Some(old) if old.kind == LockKind::Pessimistic => {
                if !self.is_pessimistic() || expected_for_update_ts.is_some_and(|ts| ts != old.for_update_ts)
                {
                    return Err(error::pessimistic_lock_not_found(key, self.start_ts));
                }
                lock.ttl = lock.ttl.max(old.ttl);
                lock.min_commit_ts = lock.min_commit_ts.max(old.min_commit_ts);
                replaces = true;
            }
            // A later generation of a flush replaces the earlier; all else is a repeated command.
            Some(old) if self.generation > old.generation => {}
            Some(old) => {
                let ts = if old.use_async_commit {
                    old.min_commit_ts
                } else {
                    Ts::ZERO
                };
                return Ok(Outcome::Nothing(ts));
            }
            None if locked => amended = true,
            None => {}
        }
        self.check_writes(data, mutation, action, must_be_new, amended)?;
        if op == Op::CheckNotExists {
            let needs_ts = self.async_commit || self.one_pc;
            let ts = if needs_ts {
                self.min_commit_ts.max(self.start_ts.next())
            } else {
                Ts::ZERO
            };
            return Ok(Outcome::Nothing(ts));
        }
        if self.async_commit || self.one_pc {
            let least = max_ts.get().max(self.start_ts).max(self.for_update_ts).next();
            lock.min_commit_ts = lock.min_commit_ts.max(least);
            if self.max_commit_ts != Ts::ZERO && lock.min_commit_ts > self.max_commit_ts {
                self.fall_back();
                lock.use_async_commit = false;
                lock.secondaries.clear();
                lock.min_commit_ts = self.min_commit_ts;
            }
        }
        Ok(Outcome::Write(lock, replaces))
    }

    fn new_lock(&self, op: Op, key: &Bytes, value: Bytes) -> Result<Lock, KeyError> {
        let (kind, value) = match op {
            Op::Put | Op::Insert => (LockKind::Put, value),
            Op::Del => (LockKind::Delete, Bytes::new()),
            Op::Lock | Op::CheckNotExists => (LockKind::Lock, Bytes::new()),
            other => return Err(error::abort(format!("prewrite knows no mutation {other:?}"))),
        };
        let is_primary = *key == self.primary;
        let secondaries = if self.async_commit && is_primary {
            self.secondaries.clone()
        } else {
            Vec::new()
        };
        Ok(Lock {
            kind,
            primary: self.primary.clone(),
            start_ts: self.start_ts,
            ttl: self.ttl,
            value,
            for_update_ts: self.for_update_ts,
            txn_size: self.txn_size,
            min_commit_ts: self.min_commit_ts,
            use_async_commit: self.async_commit,
            secondaries,
            rollback_ts: Vec::new(),
            txn_source: self.txn_source,
            generation: self.generation,
        })
    }

    fn check_writes(
        &self,
        data: &Mvcc,
        mutation: &Mutation,
        action: PessimisticAction,
        must_be_new: bool,
        amended: bool,
    ) -> Result<(), KeyError> {
        let key = &mutation.key;
        let writes = data.writes_of(key);
        let newest = writes.last();
        if amended {
            // The pessimistic lock was lost, which does no harm where nothing was written since.
            return match newest {
                Some(write) if write.commit_ts >= self.start_ts => {
                    Err(error::pessimistic_lock_not_found(key, self.start_ts))
                }
                _ => Ok(()),
            };
        }
        let skip = if self.is_pessimistic() {
            match action {
                PessimisticAction::DoConstraintCheck => false,
                PessimisticAction::DoPessimisticCheck => true,
                PessimisticAction::SkipPessimisticCheck => !self.is_retry,
            }
        } else {
            self.skip_constraint_check
        };
        if skip {
            return Ok(());
        }
        if let Some(newest) = newest {
            self.check_newest(writes, newest, key, action)?;
        }
        let version = data.version_at(key, Ts::MAX);
        let exists = version.is_some_and(|write| write.kind == WriteKind::Put);
        if must_be_new && exists {
            return Err(error::already_exist(key));
        }
        if self.assertions {
            let assertion = Assertion::try_from(mutation.assertion).unwrap_or_default();
            let holds = match assertion {
                Assertion::None => true,
                Assertion::Exist => exists,
                Assertion::NotExist => !exists,
            };
            if !holds {
                let existing = version.map(|write| (write.start_ts, write.commit_ts));
                return Err(error::assertion_failed(key, self.start_ts, assertion, existing));
            }
        }
        Ok(())
    }

    fn check_newest(
        &self,
        writes: &[Write],
        newest: &Write,
        key: &Bytes,
        action: PessimisticAction,
    ) -> Result<(), KeyError> {
        let conflict = |write: &Write, reason| {
            let what = Conflict {
                start_ts: self.start_ts,
                conflict_start_ts: write.start_ts,
                conflict_commit_ts: write.commit_ts,
                reason,
            };
            Err(error::conflict(key, &self.primary, &what))
        };
        // A rollback of this very transaction is told apart even where newer writes follow it.
        let own = writes.binary_search_by_key(&self.start_ts, |write| write.commit_ts);
        if let Some(write) = own.ok().and_then(|at| writes.get(at))
            && (write.kind == WriteKind::Rollback || write.overlapped_rollback)
        {
            return conflict(write, Reason::SelfRolledBack);
        }
        if !self.is_pessimistic() && newest.commit_ts > self.start_ts {
            return conflict(newest, Reason::Optimistic);
        }
        if self.is_pessimistic() {
            let constraint = action == PessimisticAction::DoConstraintCheck;
            if constraint && newest.commit_ts > self.start_ts || newest.commit_ts > self.for_update_ts {
                return conflict(newest, Reason::LazyUniquenessCheck);
            }
        }
        Ok(())
    }
}
