use bytes::Bytes;
use tidemark_proto::kvrpcpb::{
    BatchRollbackRequest, CheckTxnStatusRequest, CleanupRequest, CommitRequest, CommitRole, LockInfo,
    PessimisticRollbackRequest,
};

use super::locks::{Fate, refused};
use super::transaction::Prewritten;
use super::{Backoff, ClientError, CommitKind, Transaction};

/// How a transaction is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Commits.
    Commit,
    /// Is prewritten and then rolled back.
    RollBack,
    /// Is left where it stands, as if the client had died.
    Abandon(Abandon),
}

/// Where a client dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abandon {
    /// All is prewritten. Under async commit it has taken effect, in two phases it never will.
    Prewritten,
    /// The primary is committed, so all has taken effect; the other locks stay.
    PrimaryCommitted,
}

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Took effect at this ts.
    Committed(u64),
    /// Had no effect and never will.
    RolledBack(String),
}

impl Transaction {
    /// Carries the transaction out, and waits until its outcome is known for sure.
    ///
    /// # Errors
    /// If the cluster doesn't answer in time; the outcome is open then.
    pub async fn finish(mut self, ending: Ending) -> Result<Outcome, ClientError> {
        if self.writes.is_empty() {
            return Ok(Outcome::RolledBack("nothing is written".into()));
        }
        if self.kind.pessimistic
            && let Err(reason) = self.lock().await?
        {
            self.release_pessimistic().await?;
            self.roll_back().await?;
            return Ok(Outcome::RolledBack(reason));
        }
        if ending != Ending::Commit && self.kind.commit == CommitKind::OnePhase {
            self.kind.commit = CommitKind::TwoPhase;
        }
        if ending == Ending::RollBack {
            // An async commit takes effect by its prewrites and can't be rolled back behind them.
            self.kind.commit = CommitKind::TwoPhase;
        }
        match self.prewrite().await? {
            Prewritten::OnePhase(commit_ts) => Ok(Outcome::Committed(commit_ts)),
            Prewritten::Refused { reason, uncertain } => self.settle_refused(reason, uncertain).await,
            Prewritten::Async(commit_ts) => {
                if ending == Ending::Commit {
                    self.commit_keys(self.keys(), commit_ts, true).await?;
                }
                Ok(Outcome::Committed(commit_ts))
            }
            Prewritten::Locked => match ending {
                Ending::RollBack => {
                    self.roll_back().await?;
                    Ok(Outcome::RolledBack("by wish".into()))
                }
                Ending::Abandon(Abandon::Prewritten) => Ok(Outcome::RolledBack("left behind".into())),
                Ending::Commit | Ending::Abandon(Abandon::PrimaryCommitted) => {
                    let outcome = self.commit_primary().await?;
                    match outcome {
                        Outcome::Committed(commit_ts) if ending == Ending::Commit => {
                            let rest = self.keys().split_off(1);
                            self.commit_keys(rest, commit_ts, false).await?;
                        }
                        Outcome::Committed(_) => {}
                        Outcome::RolledBack(_) => self.roll_back().await?,
                    }
                    Ok(outcome)
                }
            },
        }
    }

    /// Commits the primary and with it the transaction; repeats until the answer is definite.
    async fn commit_primary(&self) -> Result<Outcome, ClientError> {
        let primary = self.primary();
        let mut backoff = Backoff::new();
        loop {
            let commit_ts = self.stores.pd.timestamp().await?;
            let request = CommitRequest {
                start_version: self.start_ts,
                keys: vec![primary.clone()],
                commit_version: commit_ts,
                commit_role: CommitRole::Primary as i32,
                primary_key: primary.clone(),
                ..CommitRequest::default()
            };
            let reply = self.stores.at_key(&primary, request).await?.reply;
            match reply.error {
                None => return Ok(Outcome::Committed(reply.commit_version.max(commit_ts))),
                // A reader pushed the smallest commit ts beyond ours.
                Some(error) if error.commit_ts_expired.is_some() => {}
                Some(error) => return self.settle(format!("{error:?}")).await,
            }
            if !backoff.wait().await {
                return self.settle("the commit ts is always too old".into()).await;
            }
        }
    }

    async fn commit_keys(
        &self,
        keys: Vec<Bytes>,
        commit_ts: u64,
        use_async: bool,
    ) -> Result<(), ClientError> {
        let primary = self.primary();
        let build = |part: &[Bytes]| CommitRequest {
            start_version: self.start_ts,
            keys: part.to_vec(),
            commit_version: commit_ts,
            commit_role: CommitRole::Secondary as i32,
            primary_key: primary.clone(),
            use_async_commit: use_async,
            ..CommitRequest::default()
        };
        for answer in self
            .stores
            .scatter(keys, |key| &key[..], Bytes::len, build)
            .await?
        {
            if let Some(error) = answer.reply.error {
                return Err(refused("kv_commit", &error));
            }
        }
        Ok(())
    }

    /// A refused prewrite has no effect, unless a lost answer hides that it was carried out before.
    async fn settle_refused(&self, reason: String, uncertain: bool) -> Result<Outcome, ClientError> {
        if !uncertain || self.kind.commit == CommitKind::TwoPhase {
            self.roll_back().await?;
            return Ok(Outcome::RolledBack(reason));
        }
        self.settle(reason).await
    }

    /// Finds out what became of the transaction, rolling it back if it is still open.
    async fn settle(&self, reason: String) -> Result<Outcome, ClientError> {
        let primary = self.primary();
        let now = self.stores.pd.timestamp().await?;
        let request = CheckTxnStatusRequest {
            primary_key: primary.clone(),
            lock_ts: self.start_ts,
            caller_start_ts: 0,
            current_ts: now,
            rollback_if_not_exist: true,
            ..CheckTxnStatusRequest::default()
        };
        let status = self.stores.at_key(&primary, request).await?.reply;
        if status.commit_version > 0 {
            self.commit_keys(self.keys(), status.commit_version, false)
                .await?;
            return Ok(Outcome::Committed(status.commit_version));
        }
        if let Some(lock) = status.lock_info.filter(|lock| lock.use_async_commit) {
            let own = LockInfo {
                primary_lock: primary.clone(),
                lock_version: self.start_ts,
                key: primary,
                ..LockInfo::default()
            };
            if let Fate::Committed(commit_ts) = self.stores.async_fate(&own, &lock, 0, now).await? {
                self.commit_keys(self.keys(), commit_ts, true).await?;
                return Ok(Outcome::Committed(commit_ts));
            }
            self.roll_back().await?;
            return Ok(Outcome::RolledBack(reason));
        }
        let request = CleanupRequest {
            key: primary.clone(),
            start_version: self.start_ts,
            current_ts: 0,
            ..CleanupRequest::default()
        };
        let reply = self.stores.at_key(&primary, request).await?.reply;
        if reply.commit_version > 0 {
            self.commit_keys(self.keys(), reply.commit_version, false).await?;
            return Ok(Outcome::Committed(reply.commit_version));
        }
        if let Some(error) = reply.error {
            return Err(refused("kv_cleanup", &error));
        }
        self.roll_back().await?;
        Ok(Outcome::RolledBack(reason))
    }

    async fn roll_back(&self) -> Result<(), ClientError> {
        let build = |part: &[Bytes]| BatchRollbackRequest {
            start_version: self.start_ts,
            keys: part.to_vec(),
            ..BatchRollbackRequest::default()
        };
        for answer in self
            .stores
            .scatter(self.keys(), |key| &key[..], Bytes::len, build)
            .await?
        {
            if let Some(error) = answer.reply.error {
                return Err(refused("kv_batch_rollback", &error));
            }
        }
        Ok(())
    }

    async fn release_pessimistic(&self) -> Result<(), ClientError> {
        let build = |part: &[Bytes]| PessimisticRollbackRequest {
            start_version: self.start_ts,
            for_update_ts: u64::MAX,
            keys: part.to_vec(),
            ..PessimisticRollbackRequest::default()
        };
        self.stores
            .scatter(self.keys(), |key| &key[..], Bytes::len, build)
            .await?;
        Ok(())
    }
}
