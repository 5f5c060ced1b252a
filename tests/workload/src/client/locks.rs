use bytes::Bytes;
use tidemark_proto::kvrpcpb::{
    CheckSecondaryLocksRequest, CheckTxnStatusRequest, CheckTxnStatusResponse, LockInfo, Op,
    PessimisticRollbackRequest, ResolveLockRequest, ScanLockRequest,
};

use super::{Backoff, ClientError, Stores, hex_text};

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Took effect at this ts.
    Committed(u64),
    /// Never will.
    RolledBack,
    /// Its lock's time to live hasn't ended.
    Alive,
}

impl Stores {
    /// Waits until the locks' transactions are settled and removes the locks.
    pub(super) async fn resolve(&self, locks: &[LockInfo], caller_start_ts: u64) -> Result<(), ClientError> {
        for lock in locks {
            let mut backoff = Backoff::new();
            loop {
                match self.fate(lock, caller_start_ts).await? {
                    Fate::Committed(commit_ts) => {
                        self.remove(lock, commit_ts).await?;
                        break;
                    }
                    Fate::RolledBack => {
                        self.remove(lock, 0).await?;
                        break;
                    }
                    Fate::Alive if !backoff.wait().await => {
                        return Err(ClientError::Locked {
                            start_ts: lock.lock_version,
                            key: hex_text(&lock.key),
                        });
                    }
                    Fate::Alive => {}
                }
            }
        }
        Ok(())
    }

    /// Removes every lock of a key range whose transaction is settled or out of time, waiting for the rest.
    ///
    /// # Errors
    /// If the cluster doesn't answer, or a lock stays held.
    pub async fn resolve_range(&self, start: &[u8], end: &[u8]) -> Result<usize, ClientError> {
        let max_version = self.pd.timestamp().await?;
        let mut resolved = 0;
        let mut from = Bytes::copy_from_slice(start);
        loop {
            // Regions are walked by key: the scan of one region ends at its bound.
            let (locks, next) = self.scan_locks(&from, end, max_version).await?;
            self.resolve(&locks, 0).await?;
            resolved += locks.len();
            match next {
                Some(next) => from = next,
                None => return Ok(resolved),
            }
        }
    }

    async fn scan_locks(
        &self,
        start: &Bytes,
        end: &[u8],
        max_version: u64,
    ) -> Result<(Vec<LockInfo>, Option<Bytes>), ClientError> {
        const LIMIT: u32 = 512;
        let request = ScanLockRequest {
            max_version,
            start_key: start.clone(),
            end_key: Bytes::copy_from_slice(end),
            limit: LIMIT,
            ..ScanLockRequest::default()
        };
        let answer = self.at_key(start, request).await?;
        let (reply, bound) = (answer.reply, answer.region_end);
        if let Some(lock) = reply.error.and_then(|error| error.locked) {
            self.resolve(&[lock], 0).await?;
            return Ok((Vec::new(), Some(start.clone())));
        }
        let next = if reply.locks.len() >= LIMIT as usize {
            Some(start.clone())
        } else {
            bound.filter(|bound| end.is_empty() || &bound[..] < end)
        };
        Ok((reply.locks, next))
    }

    /// What became of the transaction that left a lock; rolls it back if its time is up.
    pub(super) async fn fate(&self, lock: &LockInfo, caller_start_ts: u64) -> Result<Fate, ClientError> {
        let now = self.pd.timestamp().await?;
        let expired = (lock.lock_version >> 18) + lock.lock_ttl < now >> 18;
        let status = self.check(lock, caller_start_ts, now, expired, false).await?;
        if let Some(error) = &status.error {
            // The primary may still be on its way; the lock's own time decides.
            return if error.txn_not_found.is_some() {
                Ok(Fate::Alive)
            } else if error.primary_mismatch.is_some() {
                Ok(Fate::RolledBack)
            } else {
                Err(refused("kv_check_txn_status", error))
            };
        }
        if status.commit_version > 0 {
            return Ok(Fate::Committed(status.commit_version));
        }
        let primary = status.lock_info.as_ref().filter(|info| info.use_async_commit);
        match primary {
            _ if status.lock_ttl == 0 => Ok(Fate::RolledBack),
            Some(primary) if expired => self.async_fate(lock, primary, caller_start_ts, now).await,
            _ => Ok(Fate::Alive),
        }
    }

    /// The fate of an async-commit transaction whose primary lock still stands: committed if all
    /// secondaries are locked, at the largest of their smallest commit ts.
    pub(super) async fn async_fate(
        &self,
        lock: &LockInfo,
        primary: &LockInfo,
        caller_start_ts: u64,
        now: u64,
    ) -> Result<Fate, ClientError> {
        let start_version = primary.lock_version;
        let build = |keys: &[Bytes]| CheckSecondaryLocksRequest {
            keys: keys.to_vec(),
            start_version,
            ..CheckSecondaryLocksRequest::default()
        };
        let secondaries = primary.secondaries.clone();
        let total = secondaries.len();
        let answers = self
            .scatter(secondaries, |key| &key[..], Bytes::len, build)
            .await?;
        let mut commit_ts = primary.min_commit_ts;
        let mut locked = 0;
        let mut plain = false;
        let mut found = None;
        for answer in answers {
            if let Some(error) = &answer.reply.error {
                return Err(refused("kv_check_secondary_locks", error));
            }
            if answer.reply.commit_ts > 0 {
                found = Some(answer.reply.commit_ts);
            }
            locked += answer.reply.locks.len();
            for secondary in &answer.reply.locks {
                plain |= !secondary.use_async_commit;
                commit_ts = commit_ts.max(secondary.min_commit_ts);
            }
        }
        if let Some(found) = found {
            return Ok(Fate::Committed(found));
        }
        if plain {
            // One part fell back to two phases, so the primary alone decides.
            let status = self.check(lock, caller_start_ts, now, true, true).await?;
            return Ok(match status.commit_version {
                0 if status.lock_ttl > 0 => Fate::Alive,
                0 => Fate::RolledBack,
                commit_ts => Fate::Committed(commit_ts),
            });
        }
        Ok(if locked == total {
            Fate::Committed(commit_ts)
        } else {
            Fate::RolledBack
        })
    }

    async fn check(
        &self,
        lock: &LockInfo,
        caller_start_ts: u64,
        current_ts: u64,
        rollback_if_not_exist: bool,
        force_sync_commit: bool,
    ) -> Result<CheckTxnStatusResponse, ClientError> {
        let request = CheckTxnStatusRequest {
            primary_key: lock.primary_lock.clone(),
            lock_ts: lock.lock_version,
            caller_start_ts,
            current_ts,
            rollback_if_not_exist,
            force_sync_commit,
            resolving_pessimistic_lock: lock.lock_type == Op::PessimisticLock as i32,
            ..CheckTxnStatusRequest::default()
        };
        Ok(self.at_key(&lock.primary_lock, request).await?.reply)
    }

    async fn remove(&self, lock: &LockInfo, commit_ts: u64) -> Result<(), ClientError> {
        if lock.lock_type == Op::PessimisticLock as i32 {
            let request = PessimisticRollbackRequest {
                start_version: lock.lock_version,
                for_update_ts: lock.lock_for_update_ts.max(lock.lock_version),
                keys: vec![lock.key.clone()],
                ..PessimisticRollbackRequest::default()
            };
            self.at_key(&lock.key, request).await?;
            return Ok(());
        }
        let mut keys = vec![lock.key.clone()];
        if lock.use_async_commit && lock.key == lock.primary_lock {
            keys.extend(lock.secondaries.iter().cloned());
        }
        let start_version = lock.lock_version;
        let build = |keys: &[Bytes]| ResolveLockRequest {
            start_version,
            commit_version: commit_ts,
            keys: keys.to_vec(),
            ..ResolveLockRequest::default()
        };
        for answer in self.scatter(keys, |key| &key[..], Bytes::len, build).await? {
            if let Some(error) = &answer.reply.error {
                return Err(refused("kv_resolve_lock", error));
            }
        }
        Ok(())
    }
}

pub(super) fn refused(command: &'static str, error: &tidemark_proto::kvrpcpb::KeyError) -> ClientError {
    ClientError::Refused {
        command,
        problem: format!("{error:?}"),
    }
}
