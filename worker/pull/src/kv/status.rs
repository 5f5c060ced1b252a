use bytes::Bytes;
use tidemark_model::Ts;
use tidemark_proto::kvrpcpb::{self, KeyError, LockInfo};

use super::{KvClient, KvError};

/// What became of a transaction.
#[derive(Clone, Debug)]
pub(super) enum TxnStatus {
    /// Its locks hold; its commit ts can't be at or below the reader's ts any more if `pushed`.
    Alive { pushed: bool },
    /// It took effect at this ts.
    Committed(Ts),
    /// It never took effect.
    RolledBack,
    /// An expired async commit: its locks on these keys decide.
    Async(Box<LockInfo>),
}

/// Transactions that a read may pass by.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    passed: Vec<u64>,
}

impl Resolved {
    /// The request context that tells TiKV of them.
    pub(super) fn context(&self, mut context: kvrpcpb::Context) -> kvrpcpb::Context {
        context.resolved_locks.clone_from(&self.passed);
        context
    }

    pub(super) fn pass(&mut self, start_ts: u64) {
        if !self.passed.contains(&start_ts) {
            self.passed.push(start_ts);
        }
    }
}

/// Whether a lock's time to live has run out at `now`.
fn expired(lock_ts: u64, ttl_ms: u64, now: Ts) -> bool {
    Ts(lock_ts).physical_ms().saturating_add(ttl_ms) < now.physical_ms()
}

/// The words of a key error that is not a lock.
pub(super) fn words(error: &KeyError) -> String {
    if !error.abort.is_empty() {
        error.abort.clone()
    } else if !error.retryable.is_empty() {
        error.retryable.clone()
    } else {
        format!("{error:?}")
    }
}

impl KvClient {
    /// What became of the transaction of a lock. Rolls it back where its time has run out.
    ///
    /// With `caller` zero nothing of a live transaction is changed.
    pub(super) async fn txn_status(
        &self,
        lock: &LockInfo,
        caller: Ts,
        force_sync: bool,
    ) -> Result<TxnStatus, KvError> {
        const WHAT: &str = "KvCheckTxnStatus";
        let now = self.inner.pd.tso().await?;
        // A lock without a time to live can be judged at once.
        let current = if lock.lock_ttl == 0 { Ts::MAX } else { now };
        let mut rollback_if_missing = false;
        loop {
            let target = self.target(&lock.primary_lock).await?;
            let request = kvrpcpb::CheckTxnStatusRequest {
                context: Some(target.context.clone()),
                primary_key: lock.primary_lock.clone(),
                lock_ts: lock.lock_version,
                caller_start_ts: caller.0,
                current_ts: current.0,
                rollback_if_not_exist: rollback_if_missing,
                force_sync_commit: force_sync,
                verify_is_primary: true,
                is_txn_file: lock.is_txn_file,
                ..Default::default()
            };
            let mut grpc = target.grpc.clone();
            let answer = grpc.kv_check_txn_status(request);
            let mut answer = self
                .send(WHAT, &target, answer, |answer| answer.region_error.take())
                .await?;
            if let Some(error) = answer.error.take() {
                if error.txn_not_found.is_some() && !rollback_if_missing {
                    // The primary may be prewritten yet; only time says that it won't.
                    if !expired(lock.lock_version, lock.lock_ttl, now) {
                        return Ok(TxnStatus::Alive { pushed: false });
                    }
                    rollback_if_missing = true;
                    continue;
                }
                return Err(KvError::Refused {
                    what: WHAT,
                    message: words(&error),
                });
            }
            if answer.commit_version > 0 {
                return Ok(TxnStatus::Committed(Ts(answer.commit_version)));
            }
            if answer.lock_ttl == 0 {
                return Ok(TxnStatus::RolledBack);
            }
            let primary = answer.lock_info.take();
            if let Some(primary) = primary
                && primary.use_async_commit
                && !force_sync
                && expired(lock.lock_version, answer.lock_ttl, now)
            {
                return Ok(TxnStatus::Async(Box::new(primary)));
            }
            let pushed = answer.action() == kvrpcpb::Action::MinCommitTsPushed;
            return Ok(TxnStatus::Alive { pushed });
        }
    }

    /// Decides an expired async commit by its secondaries: all locked means committed, at the highest of
    /// their ts; one missing means rolled back, unless it was committed already.
    ///
    /// `None`: not an async commit after all; the primary must be asked anew with `force_sync`.
    pub(super) async fn async_outcome(&self, primary: &LockInfo) -> Result<Option<TxnStatus>, KvError> {
        const WHAT: &str = "KvCheckSecondaryLocks";
        let mut commit_ts = primary.min_commit_ts;
        let mut keys = primary.secondaries.clone();
        keys.sort();
        let mut from = 0;
        while from < keys.len() {
            let target = self.target(&keys[from]).await?;
            let group = target.region.span.clone();
            let upto = from + keys[from..].iter().take_while(|key| group.contains(key)).count();
            let asked: Vec<Bytes> = keys[from..upto].to_vec();
            let count = asked.len();
            let request = kvrpcpb::CheckSecondaryLocksRequest {
                context: Some(target.context.clone()),
                keys: asked,
                start_version: primary.lock_version,
            };
            let mut grpc = target.grpc.clone();
            let answer = grpc.kv_check_secondary_locks(request);
            let mut answer = self
                .send(WHAT, &target, answer, |answer| answer.region_error.take())
                .await?;
            if let Some(error) = answer.error.take() {
                return Err(KvError::Refused {
                    what: WHAT,
                    message: words(&error),
                });
            }
            if answer.locks.len() < count {
                return Ok(Some(match answer.commit_ts {
                    0 => TxnStatus::RolledBack,
                    ts => TxnStatus::Committed(Ts(ts)),
                }));
            }
            for lock in &answer.locks {
                if !lock.use_async_commit {
                    return Ok(None);
                }
                commit_ts = commit_ts.max(lock.min_commit_ts);
            }
            from = upto.max(from + 1);
        }
        Ok(Some(TxnStatus::Committed(Ts(commit_ts))))
    }
}
